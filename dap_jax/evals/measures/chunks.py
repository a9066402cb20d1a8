"""F1 of chunks of tagged words, by the rules of seqeval 0.0.12 (and of CoNLL-2000's script).

A chunk is (type, first word, last word). Of a tag the first letter is the prefix and what follows
the last hyphen the type. B and S begin a chunk; I and E begin one where nothing of the same type
goes before; E and S end one. So an I- without a B- is a chunk too, and tags without prefixes are
read by their first letter: a run of NOUN is one chunk, every SCONJ one of its own. XTREME scores
parts of speech so. Later versions of seqeval cut the first letter off a type that has no prefix, so
that `X` is no chunk after O: on parts of speech their scores are others, on entities the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dap_jax.evals.measures.counts import Counts, f1_of

OUTSIDE = "O"
Chunk = tuple[str, int, int]


def chunks(sentences: Iterable[Sequence[str]]) -> Iterator[Chunk]:
  """The chunks of sentences of tags, whose words are counted through from 0.

  Examples:
    >>> list(chunks([["B-PER", "I-PER", "I-LOC", "O"], ["I-LOC"]]))
    [('PER', 0, 1), ('LOC', 2, 2), ('LOC', 5, 5)]
    >>> list(chunks([["NOUN", "NOUN", "SCONJ", "SCONJ"]]))
    [('NOUN', 0, 1), ('SCONJ', 2, 2), ('SCONJ', 3, 3)]
  """
  prefix, kind, first, place = OUTSIDE, "", 0, 0
  for sentence in sentences:
    for tag in (*sentence, OUTSIDE):
      next_prefix, next_kind = tag[:1], tag.rsplit("-", 1)[-1]
      if ends(prefix, next_prefix) or prefix not in "O." and kind != next_kind:
        yield kind, first, place - 1
      if begins(prefix, next_prefix) or next_prefix not in "O." and kind != next_kind:
        first = place
      prefix, kind, place = next_prefix, next_kind, place + 1


def ends(prefix: str, following: str) -> bool:
  """Whether a chunk ends behind a tag with this prefix, whatever the types are."""
  return prefix in "ES" or prefix in "BI" and following in "BSO"


def begins(prefix: str, following: str) -> bool:
  """Whether a chunk begins with the tag that follows, whatever the types are."""
  return following in "BS" or prefix in "ESO" and following in "EI"


def chunk_scores(gold: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]) -> Counts:
  """F1, precision and recall over all chunks of a language.

  Args:
    gold, predicted: tags of the same sentences.

  Examples:
    >>> chunk_scores([["B-PER", "I-PER"], ["B-PER"]], [["B-PER", "I-PER"], ["O"]])
    Counts(f1=66.66666666666666, precision=100.0, recall=50.0)
  """
  true, guessed = set(chunks(gold)), set(chunks(predicted))
  return f1_of(hits=len(true & guessed), predicted=len(guessed), gold=len(true))
