"""Nearest neighbours by cosine and by margin, numpy in, numpy out.

N queries, M candidates, D width. Margin (arXiv 1811.01136): with a = cos(x, y), and b the mean of
x's k largest cosines and of y's, each taken among the other side's vectors,

    absolute a          distance a - b          ratio a / b

The ratio means nothing where b is not positive: such a pair has score -inf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

MARGINS = ("absolute", "distance", "ratio")


def encode_lists(
  lists: Sequence[Sequence[str]], encode: Callable[[Sequence[str]], np.ndarray]
) -> list[np.ndarray]:
  """Unit vectors of several lists of texts, by one call of `encode`, which sorts by length."""
  vectors = unit(encode([text for texts in lists for text in texts]))
  return np.split(vectors, np.cumsum([len(texts) for texts in lists])[:-1])


def unit(vectors: np.ndarray) -> np.ndarray:
  """[N, D] -> the same directions with length 1; a vector of zeros stays one."""
  return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def neighbourhood(cosines: np.ndarray, k: int) -> np.ndarray:
  """[N, M] -> [N], the mean of each row's k largest entries; of all where there are fewer."""
  k = min(k, cosines.shape[1])
  return np.partition(cosines, -k, axis=1)[:, -k:].mean(1)


def nearest(
  queries: np.ndarray, candidates: np.ndarray, *, neighbours: int, block: int = 2048
) -> tuple[np.ndarray, np.ndarray]:
  """The nearest candidates of each query, exactly; never more than a block's cosines are held.

  Args:
    queries, candidates: unit vectors [N, D], [M, D].
    neighbours: k; all M where there are fewer.
    block: queries at a time.

  Returns:
    Cosines [N, k], falling, and rows of `candidates` int [N, k].
  """
  k = min(neighbours, len(candidates))
  cosines, rows = [], []
  for start in range(0, len(queries), block):
    all_of_them = queries[start : start + block] @ candidates.T
    chosen = np.argpartition(all_of_them, -k, axis=1)[:, -k:]
    found = np.take_along_axis(all_of_them, chosen, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    cosines.append(np.take_along_axis(found, order, axis=1))
    rows.append(np.take_along_axis(chosen, order, axis=1))
  return np.concatenate(cosines), np.concatenate(rows)


def score_margin(cosine: np.ndarray, around: np.ndarray, *, margin: str) -> np.ndarray:
  """a and b of the module's docstring, of one shape -> a's margin score."""
  if margin == "absolute":
    return cosine
  if margin == "distance":
    return cosine - around
  return np.divide(cosine, around, out=np.full_like(around, -np.inf), where=around > 0)


def margins(cosines: np.ndarray, *, margin: str, neighbours: int) -> np.ndarray:
  """Cosines [N, M] of all pairs -> their margin scores [N, M].

  Args:
    cosines: all pairs of the two sides, since either side's neighbourhood counts.
    margin: one of `MARGINS`.
    neighbours: k.
  """
  rows = neighbourhood(cosines, neighbours)
  columns = neighbourhood(cosines.T, neighbours)
  return score_margin(cosines, (rows[:, None] + columns[None]) / 2, margin=margin)
