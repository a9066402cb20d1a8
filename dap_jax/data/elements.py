"""What examples are made of: the stored pairs of a language, and how an example looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

SIDES = ("pivot", "translation")  # of a pair


class Ragged:
  """n sequences in two flat arrays: their `tokens`, and the `offsets` int [n + 1] into these."""

  def __init__(self, tokens: np.ndarray, offsets: np.ndarray):
    self.tokens, self.offsets = tokens, offsets

  @classmethod
  def of(cls, sequences: Sequence[np.ndarray]) -> Ragged:
    """Joins sequences; the dtype is theirs."""
    offsets = np.cumsum([0, *map(len, sequences)])
    values = np.concatenate(sequences) if sequences else np.zeros(0, np.int32)
    return cls(values, offsets)

  def __len__(self) -> int:
    return len(self.offsets) - 1

  def lengths(self) -> np.ndarray:
    """int [n], of each sequence."""
    return np.diff(self.offsets)

  def __iter__(self) -> Iterator[np.ndarray]:
    return (self[index] for index in range(len(self)))

  def __getitem__(self, index: int) -> np.ndarray:
    return self.tokens[self.offsets[index] : self.offsets[index + 1]]


class Table(NamedTuple):
  """Values that recur, each stored once: `values` [N, n], and `rows` int32, which of them."""

  values: np.ndarray
  rows: np.ndarray


class Feature(NamedTuple):
  """A further array of a batch beside ids: of each view, or of each pair (pivot, translation).

  Attributes:
    name: its key in the batch.
    of: "view" or "pair".
    length: of the padded array; None means L, the length of the ids.
    columns: 0 if an entry is a number, n if it is a vector of n numbers.
    fill: the value of padding.
    dtype: int32, float32 or bool.
  """

  name: str
  of: str
  length: int | None
  columns: int
  fill: int
  dtype: str


class Layout(NamedTuple):
  """How examples look.

  Attributes:
    max_tokens: L, the padded length of ids.
    pad_id: the id of padding.
    features: the arrays beside ids.
    negatives: n, how many hard negatives an example holds.
  """

  max_tokens: int
  pad_id: int
  features: tuple[Feature, ...] = ()
  negatives: int = 0


class Pairs(NamedTuple):
  """The pairs of one language.

  Attributes:
    language: its number; the pivot's is 0.
    pivot, translation: ids of the two sides.
    extras: (side, name of a `Feature`) -> its values; the side is "pivot" or "translation" for a
      feature of views, "pair" for one of pairs.
    negatives: ids of the hard negatives of all pairs, texts in the pivot's language.
    negative_offsets: int [pairs + 1] into `negatives`: pair i has those from offset i to i + 1.
  """

  language: int
  pivot: Ragged
  translation: Ragged
  extras: Mapping[tuple[str, str], Ragged | Table] = {}
  negatives: Ragged = Ragged.of([])
  negative_offsets: np.ndarray | None = None

  def negatives_of(self, index: int) -> list[np.ndarray]:
    """The ids of each hard negative of a pair."""
    if self.negative_offsets is None:
      return []
    return [self.negatives[i] for i in range(*self.negative_offsets[index : index + 2])]

  def negative_counts(self) -> np.ndarray:
    """int [pairs], how many hard negatives each pair has."""
    if self.negative_offsets is None:
      return np.zeros(len(self.pivot), int)
    return np.diff(self.negative_offsets)

  def lengths(self, negatives: int = 0) -> np.ndarray:
    """int [pairs, 2 + negatives], the numbers of ids of pivot, translation, first hard negatives.

    A missing negative has 2: see `examples.gather`.
    """
    lengths = np.full((len(self.pivot), 2 + negatives), 2)
    lengths[:, 0], lengths[:, 1] = self.pivot.lengths(), self.translation.lengths()
    if self.negative_offsets is not None:
      of_negatives = self.negatives.lengths()
      for k in range(negatives):
        place = self.negative_offsets[:-1] + k
        there = place < self.negative_offsets[1:]
        lengths[there, 2 + k] = of_negatives[place[there]]
    return lengths
