"""Rows of more than two views: the pairs of all languages that share a pivot text.

A row is one example: a pivot and its translations, of some languages several. An element is the
pivot with K - 1 of the row's languages, drawn anew each time the row comes. Whatever is drawn must
fit, so a row goes to the bucket of its longest text; on the embedded default at K = 4 that leaves
46% padding, where single pairs have 39%.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import grain
import numpy as np

from dap_jax.data.elements import Layout, Pairs, element
from dap_jax.utils.errors import UserError

logger = logging.getLogger(__name__)


class Rows(NamedTuple):
  """R rows over N pairs; those of row r stand at `offsets[r]` to `offsets[r + 1]`.

  Attributes:
    offsets: int [R + 1].
    of: int [N], which language's pairs, rising within a row.
    index: int [N], which of its pairs.
  """

  offsets: np.ndarray
  of: np.ndarray
  index: np.ndarray

  def numbers(self) -> np.ndarray:
    """int [N], the row of every pair."""
    return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

  def first_of_language(self) -> np.ndarray:
    """bool [N], whether a pair is its row's first one in its language."""
    first = np.ones(len(self.of), bool)
    first[1:] = np.diff(self.of) != 0
    first[self.offsets[:-1]] = True
    return first

  def languages(self) -> np.ndarray:
    """int [R], how many languages a row has beside the pivot's."""
    return np.bincount(self.numbers()[self.first_of_language()], minlength=len(self.offsets) - 1)


def group(pairs: Sequence[Pairs]) -> Rows:
  """Pairs of all languages -> rows of equal pivot ids, in the order in which they first occur.

  Pivots that were cut to equal ids are one text for the model, so they are one row.
  """
  known: dict[bytes, int] = {}
  numbers = [
    [known.setdefault(own.pivot[i].tobytes(), len(known)) for i in range(len(own.pivot))]
    for own in pairs
  ]
  of = np.repeat(np.arange(len(pairs)), [len(own) for own in numbers])
  index = np.concatenate([np.arange(len(own)) for own in numbers])
  row = np.array(list(itertools.chain.from_iterable(numbers)), int)
  order = np.argsort(row, kind="stable")
  offsets = np.searchsorted(row[order], np.arange(len(known) + 1))
  return Rows(offsets, of[order], index[order])


class RowSource:
  """Rows that have at least K - 1 languages beside the pivot's, or some of them.

  Args:
    pairs: of every language.
    rows: see `Rows`.
    layout: see there.
    views: K of the elements.
    weights: float [len(pairs)], of every language in the draw.
    chosen: which rows; None means all that have enough languages.
  """

  def __init__(
    self,
    pairs: Sequence[Pairs],
    rows: Rows,
    layout: Layout,
    *,
    views: int,
    weights: np.ndarray,
    chosen: np.ndarray | None = None,
  ):
    self._pairs, self._rows, self._layout = pairs, rows, layout
    self._views, self._weights = views, weights
    if chosen is None:
      chosen = np.flatnonzero(rows.languages() >= views - 1)
    self._chosen = chosen

  def __len__(self) -> int:
    return len(self._chosen)

  @property
  def sequences(self) -> int:
    """Sequences of an element, K + n."""
    return self._views + self._layout.negatives

  def draw(self, row: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """A row's pivot with K - 1 languages: without replacement, by weight; then a pair of each."""
    start, stop = self._rows.offsets[row : row + 2]
    languages, first, counts = np.unique(
      self._rows.of[start:stop], return_index=True, return_counts=True
    )
    weights = self._weights[languages]
    drawn = generator.choice(
      len(languages), self._views - 1, replace=False, p=weights / weights.sum()
    )
    places = [start + first[i] + generator.integers(counts[i]) for i in drawn]
    example = [(self._pairs[self._rows.of[i]], self._rows.index[i]) for i in places]
    return element(example, self._layout)

  def dataset(self, seed: int) -> grain.MapDataset:
    """Endless epochs, each in its own order; the draw is keyed by the seed and the index."""
    rows = grain.MapDataset.source(self._chosen).seed(seed).shuffle().repeat()
    return rows.random_map(self.draw)

  def longest(self) -> np.ndarray:
    """int [n], ids of the longest sequence of any draw from every row."""
    return np.maximum.reduceat(self._lengths().max(1), self._rows.offsets[:-1])[self._chosen]

  def real_tokens(self) -> np.ndarray:
    """float [n], ids of all sequences of an element, about: the mean by the draw's weights."""
    lengths = self._lengths()
    lengths[:, 1] *= self._views - 1
    return np.bincount(self._rows.numbers(), self._shares() * lengths.sum(1))[self._chosen]

  def between(self, shorter: int, longest: int) -> RowSource:
    """The rows whose longest sequence has over `shorter` and at most `longest` ids."""
    lengths = self.longest()
    return RowSource(
      self._pairs,
      self._rows,
      self._layout._replace(max_tokens=longest),
      views=self._views,
      weights=self._weights,
      chosen=self._chosen[(shorter < lengths) & (lengths <= longest)],
    )

  def language_shares(self) -> np.ndarray:
    """float [len(pairs)], each language's share of the drawn translations, about; sum 1."""
    inside = np.isin(self._rows.numbers(), self._chosen)
    shares = np.bincount(self._rows.of[inside], self._shares()[inside], minlength=len(self._pairs))
    return shares / shares.sum()

  def _lengths(self) -> np.ndarray:
    """int [N, 2 + n], `Pairs.lengths` of every pair in the order of the rows."""
    lengths = [own.lengths(self._layout.negatives) for own in self._pairs]
    starts = np.cumsum([0, *map(len, lengths)])[:-1]
    return np.concatenate(lengths)[starts[self._rows.of] + self._rows.index]

  def _shares(self) -> np.ndarray:
    """float [N], each pair's share of its row's first draw: its language's weight, divided.

    For the draws after the first it is exact where the weights are equal.
    """
    rows, first = self._rows.numbers(), self._rows.first_of_language()
    weights = self._weights[self._rows.of]
    total = np.bincount(rows[first], weights[first])
    repeats = np.bincount(np.cumsum(first) - 1)  # pairs of each row in each of its languages
    return weights / total[rows] / repeats[np.cumsum(first) - 1]


def source_of(
  pairs: Mapping[str, Pairs], layout: Layout, *, rates: Mapping[str, float], views: int
) -> RowSource:
  """The pairs of all languages as rows of `views`; says how many rows have too few."""
  if views < 2:
    raise UserError(f"data.views={views}: expected 2 (pairs) or more")
  rows = group(list(pairs.values()))
  # At temperature 1 these are equal; above it, a row's rarer languages are drawn more often.
  weights = np.array([rates[language] / len(own.pivot) for language, own in pairs.items()])
  source = RowSource(list(pairs.values()), rows, layout, views=views, weights=weights)
  found, most = len(rows.offsets) - 1, rows.languages().max()
  if not len(source):
    raise UserError(
      f"data.views={views}: none of {found} pivot texts has translations into"
      f" {views - 1} languages, the most is {most}: set {most + 1} or less"
    )
  logger.info(
    "%d of %d rows have %d languages or more; the others are left out",
    *(len(source), found, views),
  )
  return source
