"""Shares of what is right, in [0, 100]: accuracy; precision, recall and F1 of counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Counts(NamedTuple):
  """f1, precision, recall: in [0, 100]."""

  f1: float
  precision: float
  recall: float


def f1_of(*, hits: int, predicted: int, gold: int) -> Counts:
  """The scores of `hits` right ones among `predicted`, where `gold` are to be found.

  Examples:
    >>> f1_of(hits=1, predicted=2, gold=4)
    Counts(f1=33.33333333333333, precision=50.0, recall=25.0)
    >>> f1_of(hits=0, predicted=0, gold=4)
    Counts(f1=0.0, precision=0.0, recall=0.0)
  """
  if not hits:
    return Counts(0.0, 0.0, 0.0)
  precision, recall = hits / predicted, hits / gold
  f1 = 2 * precision * recall / (precision + recall)
  return Counts(100 * f1, 100 * precision, 100 * recall)


def accuracy(gold: Sequence[str], predicted: Sequence[str]) -> float:
  """The share of the N predictions that equal their label. Raises ValueError: not equally many."""
  hits = sum(label == guess for label, guess in zip(gold, predicted, strict=True))
  return 100 * hits / len(gold)
