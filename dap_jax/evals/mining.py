"""Mining of parallel sentences by margin, and its scores: BUCC's protocol. numpy in, numpy out.

Margin-based mining (arXiv 1811.01136): every sentence proposes its best partner among its k nearest
by margin score (`neighbours.margins`, each side's neighbourhood being its k nearest). `forward`
keeps what side x proposes, `backward` what side y does, `intersection` what both do, and `max` goes
through both from the best score down and takes a pair whose two sentences are still free.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dap_jax.evals.neighbours import nearest, score_margin

RETRIEVALS = ("forward", "backward", "intersection", "max")

Pair = tuple[int, int]


class Mined(NamedTuple):
  """Proposed pairs, best first.

  Attributes:
    pairs: int [C, 2], rows of x and of y.
    scores: [C], their margin scores, falling.
    cosines: [C].
  """

  pairs: np.ndarray
  scores: np.ndarray
  cosines: np.ndarray


def mine(x: np.ndarray, y: np.ndarray, *, margin: str, neighbours: int, retrieval: str) -> Mined:
  """Proposes pairs.

  Args:
    x, y: unit vectors [N, D], [M, D].
    margin: one of `neighbours.MARGINS`.
    neighbours: k.
    retrieval: one of `RETRIEVALS`.
  """
  near_x, of_x = nearest(x, y, neighbours=neighbours)
  near_y, of_y = nearest(y, x, neighbours=neighbours)
  mean_x, mean_y = near_x.mean(1), near_y.mean(1)
  forward = best(near_x, of_x, mean_x, mean_y, margin=margin)
  backward = best(near_y, of_y, mean_y, mean_x, margin=margin)
  backward = {(i, j): found for (j, i), found in backward.items()}
  proposed = {
    "forward": forward,
    "backward": backward,
    "intersection": {pair: found for pair, found in forward.items() if pair in backward},
    "max": forward | backward,
  }[retrieval]
  ranked = sorted(proposed.items(), key=lambda item: (-item[1][0], item[0]))
  if retrieval == "max":
    ranked = one_to_one(ranked)
  pairs = np.array([pair for pair, _ in ranked], int).reshape(-1, 2)
  values = np.array([found for _, found in ranked], float).reshape(-1, 2)
  return Mined(pairs, values[:, 0], values[:, 1])


def best(
  cosines: np.ndarray, rows: np.ndarray, own: np.ndarray, others: np.ndarray, *, margin: str
) -> dict[Pair, tuple[float, float]]:
  """Each query's partner of the largest margin: (query, row) -> score and cosine."""
  scores = score_margin(cosines, (own[:, None] + others[rows]) / 2, margin=margin)
  chosen = scores.argmax(1)
  return {
    (i, int(rows[i, c])): (float(scores[i, c]), float(cosines[i, c])) for i, c in enumerate(chosen)
  }


def one_to_one(ranked: list) -> list:
  """Best first, what uses a sentence a second time left out."""
  seen_x, seen_y, kept = set(), set(), []
  for (i, j), found in ranked:
    if i not in seen_x and j not in seen_y:
      seen_x.add(i)
      seen_y.add(j)
      kept.append(((i, j), found))
  return kept


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
      found = ((scores[n - 1] + lower) / 2, Counts(precision, recall, f1))
  return float(found[0]), found[1]


def kept(mined: Mined, threshold: float) -> set[Pair]:
  """The pairs whose score is at least the threshold."""
  return {(int(i), int(j)) for i, j in mined.pairs[mined.scores >= threshold]}
