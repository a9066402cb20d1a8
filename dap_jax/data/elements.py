"""One element of a batch: an example as padded arrays, and the stored pairs that it is made of.

B examples, K views (0 the pivot), n hard negatives, L tokens.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np


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

  def __iter__(self) -> Iterator[np.ndarray]:
    return (self[index] for index in range(len(self)))

  def __getitem__(self, index: int) -> np.ndarray:
    return self.tokens[self.offsets[index] : self.offsets[index + 1]]


class Table:
  """Values that recur, each stored once: `values` [N, n], and `rows` int32, which of them."""

  def __init__(self, values: np.ndarray, rows: np.ndarray):
    self.values, self.rows = values, rows

  def __getitem__(self, index: int) -> np.ndarray:
    return self.values[self.rows[index]]


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

  def pad(self, values: np.ndarray, *, max_tokens: int) -> np.ndarray:
    """Stored values, flat -> an array [length] or [length, columns]: padded or cut."""
    length = max_tokens if self.length is None else self.length
    shape = (length, self.columns) if self.columns else (length,)
    padded = np.full(shape, self.fill, self.dtype)
    values = values.reshape(-1, *shape[1:])[: len(padded)]
    padded[: len(values)] = values
    return padded


class Layout(NamedTuple):
  """How elements look.

  Attributes:
    max_tokens: L, the padded length of ids.
    pad_id: the id of padding.
    features: the arrays beside ids.
    negatives: n, how many hard negatives an element holds.
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

    A missing negative has 2: see `element`.
    """
    lengths = np.full((len(self.pivot), 2 + negatives), 2)
    lengths[:, 0], lengths[:, 1] = np.diff(self.pivot.offsets), np.diff(self.translation.offsets)
    if self.negative_offsets is not None:
      of_negatives = np.diff(self.negatives.offsets)
      for k in range(negatives):
        place = self.negative_offsets[:-1] + k
        there = place < self.negative_offsets[1:]
        lengths[there, 2 + k] = of_negatives[place[there]]
    return lengths


def element(example: Sequence[tuple[Pairs, int]], layout: Layout) -> dict[str, np.ndarray]:
  """One example as padded arrays: the pivot, then a translation from each of some pairs.

  Args:
    example: (pairs of a language, index); all with the same pivot text, which the first gives.
    layout: how it looks.

  Returns:
    `ids` int32 [K, L], `mask` bool [K, L], `text_hash` int32 [K], `language` int32 [K] and the
    features, [K, ...] of views and [K - 1, ...] of pairs. The hash is of the ids: equal texts
    have equal ids, and texts that are cut to equal ids are one text for the model too.
    With hard negatives, ids, mask and text_hash have n more rows: the first n different ones among
    the first n of each pair; `has_negative` bool [n] says which rows hold one. A missing one is
    [CLS] [SEP], since a sequence without a token has no mean.
  """
  first, index = example[0]
  views = [(first, "pivot", index)] + [(pairs, "translation", i) for pairs, i in example]
  sequences = [getattr(pairs, side)[i] for pairs, side, i in views]
  languages = [0, *(pairs.language for pairs, _ in example)]
  made: dict[str, np.ndarray] = {"language": np.array(languages, np.int32)}
  if layout.negatives:
    n = layout.negatives
    candidates = [ids for pairs, i in example for ids in pairs.negatives_of(i)[:n]]
    negatives = list({ids.tobytes(): ids for ids in candidates}.values())[:n]
    missing = sequences[0][[0, -1]]  # [CLS] and [SEP], which every sequence begins and ends with
    sequences += negatives + [missing] * (n - len(negatives))
    made["has_negative"] = np.arange(n) < len(negatives)
  made |= padded(sequences, layout)
  for feature in layout.features:
    places = views
    if feature.of == "pair":
      places = [(pairs, "pair", i) for pairs, i in example]
    values = [pairs.extras[side, feature.name][i] for pairs, side, i in places]
    arrays = [feature.pad(value, max_tokens=layout.max_tokens) for value in values]
    made[feature.name] = np.stack(arrays)
  return made


def blank(layout: Layout, *, views: int) -> dict[str, np.ndarray]:
  """An element of texts of two tokens, for its shapes and dtypes."""
  nothing = Ragged.of([np.zeros(0)])  # one entry without values
  extras = {
    (side, feature.name): nothing
    for feature in layout.features
    for side in (("pair",) if feature.of == "pair" else ("pivot", "translation"))
  }
  text = Ragged.of([np.zeros(2, np.int32)])
  return element([(Pairs(1, text, text, extras), 0)] * (views - 1), layout)


def padded(sequences: Sequence[np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
  """Sequences of ids -> `ids` int32 [S, L], `mask` bool [S, L], `text_hash` int32 [S]."""
  ids = np.full((len(sequences), layout.max_tokens), layout.pad_id, np.int32)
  mask = np.zeros(ids.shape, bool)
  text_hash = np.zeros(len(ids), np.int32)
  for k, tokens in enumerate(sequences):
    ids[k, : len(tokens)] = tokens
    mask[k, : len(tokens)] = True
    text_hash[k] = np.uint32(zlib.crc32(tokens.tobytes())).view(np.int32)
  return {"ids": ids, "mask": mask, "text_hash": text_hash}
