"""Mining of parallel sentences by margin, and its scores: BUCC's protocol. numpy in, numpy out.

Margin-based mining (arXiv 1811.01136): every sentence proposes its best partner among its k nearest
by margin score (`margins.score_margin`, each side's neighbourhood being its k nearest).
`forward` keeps what side x proposes, `backward` what side y does, `intersection` what both do, and
`max` goes through both from the best score down and takes a pair whose two sentences are still
free. N and M sentences, C pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dap_jax.mining import exact_search
from dap_jax.mining.margins import score_margin

RETRIEVALS = ("forward", "backward", "intersection", "max")
PIECE = 1 << 20  # pairs that are Python numbers at a time

Pair = tuple[int, int]


class Mined(NamedTuple):
  """Proposed pairs, best first; of equal scores the lower rows go first.

  Attributes:
    pairs: int [C, 2], rows of x and of y.
    scores: [C], their margin scores, falling.
    cosines: [C].
  """

  pairs: np.ndarray
  scores: np.ndarray
  cosines: np.ndarray


class Proposals(NamedTuple):
  """What each of N sentences proposes.

  Attributes:
    partners: int [N], rows of the other side.
    scores: [N], their margin scores; -inf: nothing is proposed.
    cosines: [N].
  """

  partners: np.ndarray
  scores: np.ndarray
  cosines: np.ndarray


def mine(x: np.ndarray, y: np.ndarray, *, margin: str, neighbours: int, retrieval: str) -> Mined:
  """Proposes pairs.

  Args:
    x, y: vectors [N, D], [M, D], none of them 0.
    margin: one of `margins.MARGINS`.
    neighbours: k; all of a side where it has fewer.
    retrieval: one of `RETRIEVALS`.
  """
  sides = exact_search.Side.whole(x), exact_search.Side.whole(y)
  forward, backward = propose(*exact_search.nearest(*sides, neighbours=neighbours), margin=margin)
  return combine(forward, backward, retrieval=retrieval)


def propose(
  of_x: exact_search.Neighbours, of_y: exact_search.Neighbours, *, margin: str
) -> tuple[Proposals, Proposals]:
  """The nearest of either side -> what side x proposes, and side y."""
  mean_x, mean_y = neighbourhood(of_x), neighbourhood(of_y)
  return (
    best(of_x, mean_x, mean_y, margin=margin),
    best(of_y, mean_y, mean_x, margin=margin),
  )


def neighbourhood(nearest: exact_search.Neighbours) -> np.ndarray:
  """[N], the mean cosine of the neighbours; NaN where there is none."""
  found = np.isfinite(nearest.cosines)
  total, count = np.where(found, nearest.cosines, 0.0).sum(1), found.sum(1)
  return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def best(
  nearest: exact_search.Neighbours, own: np.ndarray, others: np.ndarray, *, margin: str
) -> Proposals:
  """Each query's partner of the largest margin, the nearer of equals.

  Args:
    nearest: of N queries.
    own, others: [N], [M], the neighbourhoods' means.
    margin: one of `margins.MARGINS`.
  """
  scores = score_margin(nearest.cosines, (own[:, None] + others[nearest.rows]) / 2, margin=margin)
  scores = np.where(np.isnan(scores) | ~np.isfinite(nearest.cosines), -np.inf, scores)
  chosen = (np.arange(len(scores)), scores.argmax(1))
  return Proposals(nearest.rows[chosen], scores[chosen], nearest.cosines[chosen])


def at_least(proposals: Proposals, *, score: float, cosine: float) -> Proposals:
  """Those of a lower score or cosine propose nothing."""
  good = (proposals.scores >= score) & (proposals.cosines >= cosine)
  return proposals._replace(scores=np.where(good, proposals.scores, -np.inf))


def combine(forward: Proposals, backward: Proposals, *, retrieval: str) -> Mined:
  """Both sides' proposals -> pairs.

  Args:
    forward, backward: of the N sentences of x, and of the M of y.
    retrieval: one of `RETRIEVALS`.
  """
  x, y = np.arange(len(forward.partners)), np.arange(len(backward.partners))
  agreed = backward.partners[forward.partners] == x  # both propose the pair
  new = forward.partners[backward.partners] != y  # only y does
  of_x = (x, *forward)
  of_y = (backward.partners, y, backward.scores, backward.cosines)
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
  """Which pairs remain, bool [C], when from the first on each takes its two sentences away.

  Args:
    i, j: int [C], rows of x and of y, best first.
    sizes: N and M.
  """
  taken_x, taken_y = bytearray(sizes[0]), bytearray(sizes[1])
  remains = bytearray(len(i))
  for start in range(0, len(i), PIECE):
    piece = slice(start, start + PIECE)
    both = zip(i[piece].tolist(), j[piece].tolist(), strict=True)
    for place, (a, b) in enumerate(both, start):
      if not (taken_x[a] or taken_y[b]):
        taken_x[a] = taken_y[b] = remains[place] = 1
  return np.frombuffer(remains, bool)


class Counts(NamedTuple):
  """precision, recall, f1: in [0, 1]."""

  precision: float
  recall: float
  f1: float


def evaluate(pairs: set[Pair], gold: set[Pair]) -> Counts:
  """What was mined against what there is."""
  hits = len(pairs & gold)
  precision = hits / len(pairs) if pairs else 0.0
  recall = hits / len(gold) if gold else 0.0
  both = precision + recall
  return Counts(precision, recall, 2 * precision * recall / both if both else 0.0)


def best_threshold(mined: Mined, gold: set[Pair]) -> tuple[float, Counts]:
  """The threshold of the best F1 on a split, halfway between two scores, and the scores there.

  A pair is kept where its score is at least the threshold. Equal scores are kept or left together.
  """
  found, hits = (float("inf"), Counts(0.0, 0.0, 0.0)), 0
  scores = mined.scores
  for n, (i, j) in enumerate(mined.pairs, 1):
    hits += (int(i), int(j)) in gold
    if n < len(scores) and scores[n] == scores[n - 1]:
      continue
    precision, recall = hits / n, hits / len(gold)
    f1 = 2 * hits / (n + len(gold))
    if f1 > found[1].f1:
      lower = scores[n] if n < len(scores) else scores[n - 1]
      middle = (scores[n - 1] + lower) / 2
      # Of two neighbouring floats the middle is the lower: that pair is not to be kept.
      found = (middle if middle > lower else scores[n - 1], Counts(precision, recall, f1))
  return float(found[0]), found[1]


def kept(mined: Mined, threshold: float) -> set[Pair]:
  """The pairs whose score is at least the threshold."""
  return {(int(i), int(j)) for i, j in mined.pairs[mined.scores >= threshold]}
