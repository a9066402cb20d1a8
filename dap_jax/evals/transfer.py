"""Scores of zero-shot transfer: F1 of chunks of tags, exact match and F1 of answers.

Chunks are by the rules of seqeval 0.0.12 (and of CoNLL-2000's script). A chunk is (type, first
word, last word). Of a tag the first letter is the prefix and what follows the last hyphen the type.
B and S begin a chunk; I and E begin one where nothing of the same type goes before; E and S end
one. So an I- without a B- is a chunk too, and tags without prefixes are read by their first letter:
a run of NOUN is one chunk, every SCONJ one of its own. XTREME scores parts of speech so.

Answers are by the rules of SQuAD 1.1's script (arXiv 1606.05250): they are compared in lower case,
without ASCII punctuation and without the English articles; F1 is that of their words, split at
white space. Of several right answers the best counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dap_jax.evals import Result, by_row

MEAN = "zero_shot_mean"
OUTSIDE = "O"
Chunk = tuple[str, int, int]
PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")


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


def chunk_f1(
  gold: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]
) -> tuple[float, float, float]:
  """F1, precision and recall over all chunks, in [0, 1]; 0 where there are none.

  Args:
    gold, predicted: tags of the same sentences.
  """
  true, guessed = set(chunks(gold)), set(chunks(predicted))
  hits = len(true & guessed)
  precision = hits / len(guessed) if guessed else 0.0
  recall = hits / len(true) if true else 0.0
  total = precision + recall
  return (2 * precision * recall / total if total else 0.0), precision, recall


def words_of(answer: str) -> list[str]:
  """The words that are compared.

  Examples:
    >>> words_of("The U.S. Senate, an office")
    ['us', 'senate', 'office']
  """
  return ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split()


def f1(right: str, predicted: str) -> float:
  """F1 of the words of two answers, in [0, 1]; 0 where they share none."""
  gold, guess = words_of(right), words_of(predicted)
  shared = sum((Counter(gold) & Counter(guess)).values())
  return 2 * shared / (len(gold) + len(guess)) if shared else 0.0


def answer_scores(
  right: Mapping[str, Sequence[str]], predicted: Mapping[str, str]
) -> dict[str, float]:
  """`exact_match` and `f1`, means over the questions, in [0, 1].

  Args:
    right: id of a question -> its right answers.
    predicted: id -> the answer; a question without one has 0.
  """
  exact, overlap = 0.0, 0.0
  for name, answers in right.items():
    guess = predicted.get(name)
    if guess is not None:
      exact += best(words_of(answer) == words_of(guess) for answer in answers)
      overlap += best(f1(answer, guess) for answer in answers)
  return {"exact_match": exact / max(len(right), 1), "f1": overlap / max(len(right), 1)}


def best(values: Iterable[float]) -> float:
  """The largest, 0 where there are none."""
  return float(max(values, default=0.0))


def transfer_result(
  scores: Mapping[str, Mapping[str, float]], protocol: Mapping[str, Any], *, train_language: str
) -> Result:
  """A result with a row a language.

  Args:
    scores: metric -> language -> value; the first metric orders the rows.
    protocol: what the scores mean.
    train_language: its row stands before the others, behind their mean.
  """
  named = {}
  for metric, values in scores.items():
    others = [value for code, value in values.items() if code != train_language]
    if others:
      named[f"{metric}/{MEAN}"] = float(np.mean(others))
    named |= {f"{metric}/{code}": value for code, value in values.items()}
  columns = {metric: by_row(named, metric) for metric in scores}
  of_rows = next(iter(columns.values()))
  first = [row for row in (MEAN, train_language) if row in of_rows]
  rest = sorted(set(of_rows) - set(first), key=lambda row: (-of_rows[row], row))
  return Result(protocol, named, columns, [*first, *rest])
