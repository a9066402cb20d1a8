"""Pairs of translations out of nearest neighbours, by margin. numpy in, numpy out.

Margin-based mining (arXiv 1811.01136): every sentence proposes, among its k nearest neighbours, the
partner with the best margin score (`margins.score_margin`; a sentence's neighbourhood are its k
nearest). Four ways to turn the proposals of both sides into pairs (`RETRIEVALS`):

    forward        what side x proposes
    backward       what side y proposes
    intersection   what both propose
    max            both sides' proposals from the best score down, each sentence in one pair only

N sentences x and M sentences y, C pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dap_jax.mining import exact_search
from dap_jax.mining.margins import score_margin

RETRIEVALS = ("forward", "backward", "intersection", "max")
BLOCK_PAIRS = 1 << 20  # turned into Python numbers at a time


class Mined(NamedTuple):
  """Pairs with scores: the best first, among equal scores the lower rows, unless said otherwise.

  Attributes:
    pairs: int [C, 2], rows of x and of y.
    scores: float [C], their margin scores.
    cosines: float [C].
  """

  pairs: np.ndarray
  scores: np.ndarray
  cosines: np.ndarray


class Proposals(NamedTuple):
  """The partner that each of N sentences proposes.

  Attributes:
    partners: int [N], rows of the other side.
    scores: float [N], their margin scores; -inf where a sentence proposes nothing.
    cosines: float [N].
  """

  partners: np.ndarray
  scores: np.ndarray
  cosines: np.ndarray


def mine(x: np.ndarray, y: np.ndarray, *, margin: str, neighbours: int, retrieval: str) -> Mined:
  """Mines two sets of vectors.

  Args:
    x, y: vectors [N, D] and [M, D], of any length but 0.
    margin: one of `margins.MARGINS`.
    neighbours: k; all sentences of a side that has fewer.
    retrieval: one of `RETRIEVALS`.
  """
  sides = exact_search.Side.whole(x), exact_search.Side.whole(y)
  forward, backward = propose(*exact_search.nearest(*sides, neighbours=neighbours), margin=margin)
  return combine(forward, backward, retrieval=retrieval)


def propose(
  of_x: exact_search.Neighbours, of_y: exact_search.Neighbours, *, margin: str
) -> tuple[Proposals, Proposals]:
  """Both sides' neighbours -> the proposals of x, and those of y."""
  mean_x, mean_y = mean_cosines(of_x), mean_cosines(of_y)
  return (
    best_partners(of_x, mean_x, mean_y, margin=margin),
    best_partners(of_y, mean_y, mean_x, margin=margin),
  )


def mean_cosines(nearest: exact_search.Neighbours) -> np.ndarray:
  """float [N], the mean cosine of each query's neighbours; NaN where it has none."""
  exists = np.isfinite(nearest.cosines)
  total, count = np.where(exists, nearest.cosines, 0.0).sum(1), exists.sum(1)
  return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def best_partners(
  nearest: exact_search.Neighbours,
  query_means: np.ndarray,
  candidate_means: np.ndarray,
  *,
  margin: str,
) -> Proposals:
  """Each query's neighbour with the largest margin; of equal ones the nearer.

  Args:
    nearest: the neighbours of N queries among M candidates.
    query_means, candidate_means: float [N] and [M], see `mean_cosines`.
    margin: one of `margins.MARGINS`.
  """
  around = (query_means[:, None] + candidate_means[nearest.rows]) / 2
  scores = score_margin(nearest.cosines, around, margin=margin)
  scores = np.where(np.isnan(scores) | ~np.isfinite(nearest.cosines), -np.inf, scores)
  chosen = (np.arange(len(scores)), scores.argmax(1))
  return Proposals(nearest.rows[chosen], scores[chosen], nearest.cosines[chosen])


def at_least(proposals: Proposals, *, score: float, cosine: float) -> Proposals:
  """The proposals without those of a lower score or cosine."""
  good = (proposals.scores >= score) & (proposals.cosines >= cosine)
  return proposals._replace(scores=np.where(good, proposals.scores, -np.inf))


def combine(forward: Proposals, backward: Proposals, *, retrieval: str) -> Mined:
  """Both sides' proposals -> pairs.

  Args:
    forward, backward: the proposals of the N sentences of x, and of the M of y.
    retrieval: one of `RETRIEVALS`.
  """
  x, y = np.arange(len(forward.partners)), np.arange(len(backward.partners))
  agreed = backward.partners[forward.partners] == x  # both propose the pair
  new = forward.partners[backward.partners] != y  # only y does
  of_x = [x, *forward]  # columns: rows of x, rows of y, scores, cosines
  of_y = [backward.partners, y, backward.scores, backward.cosines]
  parts = {
    "forward": [of_x],
    "backward": [of_y],
    "intersection": [[column[agreed] for column in of_x]],
    "max": [of_x, [column[new] for column in of_y]],
  }[retrieval]
  i, j, scores, cosines = (np.concatenate(columns) for columns in zip(*parts, strict=True))
  order = np.lexsort((j, i, -scores))
  order = order[np.isfinite(scores[order])]
  if retrieval == "max":
    order = order[one_to_one(i[order], j[order], sizes=(len(x), len(y)))]
  return Mined(np.stack([i[order], j[order]], axis=1), scores[order], cosines[order])


def one_to_one(i: np.ndarray, j: np.ndarray, *, sizes: tuple[int, int]) -> np.ndarray:
  """Greedy matching: a pair stays if neither of its sentences is in an earlier pair that stays.

  Args:
    i, j: int [C], rows of x and of y, the best pair first.
    sizes: N and M.

  Returns:
    bool [C], whether the pair stays.
  """
  taken_x, taken_y = bytearray(sizes[0]), bytearray(sizes[1])
  stays = bytearray(len(i))
  for start in range(0, len(i), BLOCK_PAIRS):
    block = slice(start, start + BLOCK_PAIRS)
    pairs = zip(i[block].tolist(), j[block].tolist(), strict=True)
    for place, (a, b) in enumerate(pairs, start):
      if not (taken_x[a] or taken_y[b]):
        taken_x[a] = taken_y[b] = stays[place] = 1
  return np.frombuffer(stays, bool)
