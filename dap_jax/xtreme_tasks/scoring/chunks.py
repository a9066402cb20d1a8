"""Chunk F1 as seqeval 0.0.12 has it, and token accuracy beside it.

A chunk is a type with its first and last token; F1 is over all chunks of a language (micro). The
sentences form one sequence with O between them. Later versions of seqeval cut the first letter off
a type that has no prefix, so that `X` is no chunk after O: on part-of-speech tags their scores are
others, on entities they are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dap_jax.xtreme_tasks.scoring.counts import Counts, accuracy, f1_of

OUTSIDE = "O"


class Chunk(NamedTuple):
  """kind: LOC, VERB, ...; first, last: its tokens, from 0."""

  kind: str
  first: int
  last: int


def chunks_of(tags: Sequence[str]) -> set[Chunk]:
  """The chunks of one sequence.

  A chunk opens at a tag other than O that begins with B or S, or whose type is not that of the tag
  before; so an I- after O or after another type opens one, too. It closes before the next chunk or
  O. A tag without a prefix is its own type: a run of one part of speech is one chunk, but SCONJ and
  SYM begin with S, and each of them is its own.

  Args:
    tags: O, B-TYPE, I-TYPE, or parts of speech, none of which begins with E.

  Examples:
    >>> sorted(chunks_of(["I-PER", "I-PER", "I-LOC", "O", "B-LOC", "B-LOC"]))[:2]
    [Chunk(kind='LOC', first=2, last=2), Chunk(kind='LOC', first=4, last=4)]
    >>> sorted(chunks_of(["NOUN", "NOUN", "SYM", "SYM"]))[1:]
    [Chunk(kind='SYM', first=2, last=2), Chunk(kind='SYM', first=3, last=3)]
  """
  chunks, first, previous = set[Chunk](), 0, OUTSIDE
  for place, tag in enumerate([*tags, OUTSIDE]):
    kind = tag.rpartition("-")[2]
    if tag == OUTSIDE or tag[0] in "BS" or kind != previous:
      if previous != OUTSIDE:
        chunks.add(Chunk(previous, first, place - 1))
      first = place
    previous = kind
  return chunks


def chunk_scores(gold: Sequence[str], predicted: Sequence[str]) -> Counts:
  """F1, precision and recall of the chunks of a language.

  Args:
    gold, predicted: tags, and "" between sentences; equally many, and "" at the same places.

  Examples:
    >>> chunk_scores(["B-PER", "I-PER", "", "B-PER"], ["B-PER", "I-PER", "", "O"])
    Counts(f1=66.66666666666666, precision=100.0, recall=50.0)
  """
  true, guessed = (chunks_of([tag or OUTSIDE for tag in tags]) for tags in (gold, predicted))
  return f1_of(hits=len(true & guessed), predicted=len(guessed), gold=len(true))


def token_accuracy(gold: Sequence[str], predicted: Sequence[str]) -> float:
  """The share of right tags in [0, 100], of tags as `chunk_scores` takes them."""
  return accuracy([tag for tag in gold if tag], [tag for tag in predicted if tag])
