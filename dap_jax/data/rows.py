"""Rows of more than two views: the pairs of all languages that share a pivot text.

A row is a pivot and its translations, several of them in some languages. An example is the pivot
with translations into K - 1 of the row's languages, drawn anew each time the row comes. Whatever is
drawn must fit, so a row goes to the bucket of its longest text: on the demo's data at K = 4 that
leaves 46% padding, where single pairs have 39%.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import grain
import numpy as np

from dap_jax.data.elements import Layout, Pairs
from dap_jax.data.examples import gather
from dap_jax.utils.errors import UserError

logger = logging.getLogger(__name__)


class Rows(NamedTuple):
  """R rows over N pairs; those of row r are at `offsets[r]` to `offsets[r + 1]`.

  Attributes:
    offsets: int [R + 1].
    language: int [N], the number of each pair's language, rising within a row.
    pair: int [N], the number of the pair among those of its language.
  """

  offsets: np.ndarray
  language: np.ndarray
  pair: np.ndarray

  def numbers(self) -> np.ndarray:
    """int [N], the row of every pair."""
    return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

  def first_of_language(self) -> np.ndarray:
    """bool [N], whether a pair is the first of its language in its row."""
    first = np.ones(len(self.language), bool)
    first[1:] = np.diff(self.language) != 0
    first[self.offsets[:-1]] = True
    return first

  def languages(self) -> np.ndarray:
    """int [R], how many languages each row has beside the pivot's."""
    return np.bincount(self.numbers()[self.first_of_language()], minlength=len(self.offsets) - 1)


def group(pairs: Sequence[Pairs]) -> Rows:
  """Pairs of all languages -> rows of equal pivot ids, in the order in which they first occur.

  Pivots that were cut to equal ids are one text for the model, so they are one row.
  """
  number_of_pivot: dict[bytes, int] = {}
  row = np.array(
    [
      number_of_pivot.setdefault(ids.tobytes(), len(number_of_pivot))
      for pairs_of_language in pairs
      for ids in pairs_of_language.pivot
    ],
    int,
  )
  counts = [len(pairs_of_language.pivot) for pairs_of_language in pairs]
  language = np.repeat(np.arange(len(pairs)), counts)
  pair = np.concatenate([np.arange(count) for count in counts])
  order = np.argsort(row, kind="stable")
  offsets = np.searchsorted(row[order], np.arange(len(number_of_pivot) + 1))
  return Rows(offsets, language[order], pair[order])


class RowSource:
  """Rows that have at least K - 1 languages beside the pivot's, or some of them.

  Args:
    pairs: of every language.
    rows: which of them share a pivot.
    layout: how examples look.
    views: K of the examples.
    weights: float [len(pairs)], the weight of every language in the draw.
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
    """How many sequences an example has, K + n."""
    return self._views + self._layout.negatives

  def draw(self, index: int, generator: np.random.Generator) -> np.ndarray:
    """K - 1 languages of a row, drawn by weight without replacement, and of each one pair.

    Args:
      index: of the row, below len(self).
      generator: for the draw.

    Returns:
      int [K - 1], places in `Rows.pair`.
    """
    row = self._chosen[index]
    start, stop = self._rows.offsets[row : row + 2]
    languages, first, counts = np.unique(
      self._rows.language[start:stop], return_index=True, return_counts=True
    )
    weights = self._weights[languages]
    drawn = generator.choice(
      len(languages), self._views - 1, replace=False, p=weights / weights.sum()
    )
    return np.array([start + first[i] + generator.integers(counts[i]) for i in drawn])

  def dataset(self, seed: int) -> grain.MapDataset:
    """Endless epochs, each in an order of its own; the draw depends on the seed and the index."""
    rows = grain.MapDataset.range(len(self)).seed(seed).shuffle().repeat()
    return rows.random_map(self.draw)

  def gather(self, elements: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    places = np.stack(elements)
    return gather(self._pairs, self._rows.language[places], self._rows.pair[places], self._layout)

  def longest(self) -> np.ndarray:
    """int [len(self)], the number of ids of the longest sequence that a row's draw may hold."""
    return np.maximum.reduceat(self._lengths().max(1), self._rows.offsets[:-1])[self._chosen]

  def real_tokens(self) -> np.ndarray:
    """float [len(self)], the number of ids of an example, about: the mean by the draw's weights."""
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
    """float [len(pairs)], about each language's share of the drawn translations; their sum is 1."""
    inside = np.isin(self._rows.numbers(), self._chosen)
    shares = np.bincount(
      self._rows.language[inside], self._shares()[inside], minlength=len(self._pairs)
    )
    return shares / shares.sum()

  def _lengths(self) -> np.ndarray:
    """int [N, 2 + n], `Pairs.lengths` of every pair in the order of the rows."""
    lengths = [pairs.lengths(self._layout.negatives) for pairs in self._pairs]
    starts = np.cumsum([0, *map(len, lengths)])[:-1]
    return np.concatenate(lengths)[starts[self._rows.language] + self._rows.pair]

  def _shares(self) -> np.ndarray:
    """float [N], the probability that a row's first draw is this pair.

    The later draws have the same one where the weights are equal, about the same otherwise.
    """
    rows, first = self._rows.numbers(), self._rows.first_of_language()
    weights = self._weights[self._rows.language]
    total = np.bincount(rows[first], weights[first])
    repeats = np.bincount(np.cumsum(first) - 1)  # pairs of each row in each of its languages
    return weights / total[rows] / repeats[np.cumsum(first) - 1]


def source_of(
  pairs: Mapping[str, Pairs], layout: Layout, *, rates: Mapping[str, float], views: int
) -> RowSource:
  """The pairs of all languages as rows of `views`; logs how many rows have too few.

  Raises:
    UserError: `views` is below 2, or no row has translations into `views - 1` languages.
  """
  if views < 2:
    raise UserError(f"data.views={views}: expected 2 (pairs) or more")
  rows = group(list(pairs.values()))
  # Equal at temperature 1; above it, a row's rarer languages are drawn more often.
  weights = np.array([rates[code] / len(of_language.pivot) for code, of_language in pairs.items()])
  source = RowSource(list(pairs.values()), rows, layout, views=views, weights=weights)
  total, most = len(rows.offsets) - 1, rows.languages().max()
  if not len(source):
    raise UserError(
      f"data.views={views}: none of {total} pivot texts has translations into"
      f" {views - 1} languages, the most is {most}: set {most + 1} or less"
    )
  logger.info(
    "%d of %d rows have %d languages or more; the others are left out",
    *(len(source), total, views),
  )
  return source
