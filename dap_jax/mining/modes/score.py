"""Mode score: margin and cosine of every pair of aligned texts, as the mode score of LASER.

score_i = margin(cos(x_i, y_i), (mean of x_i's k largest cosines among all y
                                 + mean of y_i's k largest cosines among all x) / 2)

Where a threshold should lie depends on the model and the texts. So the log compares the scores with
those of wrong pairs of the same texts: each source with the target of the next pair.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dap_jax.mining import pairs_file
from dap_jax.mining.exact_search import Neighbours
from dap_jax.mining.margins import score_margin
from dap_jax.mining.modes.aligned import Aligned, align, cosines_of
from dap_jax.mining.options import Options
from dap_jax.mining.pairing import Mined, mean_cosines
from dap_jax.mining.work_folder import Sentences

logger = logging.getLogger(__name__)

SHIFTED = 100_000  # wrong pairs to score, at most: their quantiles need no more
MOST_BELOW = 0.5  # of the pairs may score as wrong ones do, for a threshold to be of use


def write(
  source: Sentences,
  target: Sentences,
  path: Path,
  *,
  found: Sequence[Neighbours],
  options: Options,
) -> int:
  """Writes the pairs in the order of the input. Returns how many there are.

  `found` are the neighbours of both sides; () for the absolute margin, which compares with none.
  """
  pairs = align(source, target)
  means = [mean_cosines(near) for near in found]

  def scores_of(chosen: Aligned) -> tuple[np.ndarray, np.ndarray]:
    cosines = cosines_of(chosen, source, target)
    if not means:
      return cosines, cosines
    around = (means[0][chosen.source] + means[1][chosen.target]) / 2
    scores = score_margin(cosines, around, margin=options.margin)
    return cosines, np.where(np.isnan(scores), -np.inf, scores)  # an index may find no neighbour

  cosines, scores = scores_of(pairs)
  kept = (scores >= options.threshold) & (cosines >= options.min_cosine)
  rows = np.stack([pairs.source[kept], pairs.target[kept]], axis=1)
  scored = Mined(rows, scores[kept], cosines[kept])
  count = pairs_file.write_pairs(scored, source, target, path, lines=pairs.lines[kept])
  log_levels(scores, scores_of(shifted(pairs))[1])
  return count


def shifted(pairs: Aligned) -> Aligned:
  """Each source with the target of the next pair, the last with the first's; or some of them.

  Pairs whose targets are equal are left out: the shifted one would be a right pair.
  """
  following = np.roll(pairs.target, -1)
  places = np.arange(0, len(following), -(-len(following) // SHIFTED) or 1)
  places = places[following[places] != pairs.target[places]]
  return Aligned(pairs.lines[places], pairs.source[places], following[places])


def log_levels(scores: np.ndarray, wrong: np.ndarray) -> None:
  """Logs quantiles of the scores, and how they compare with those of wrong pairs."""
  if not len(scores):
    return
  logger.info("scores: 5%% %.3f, 50%% %.3f, 95%% %.3f", *quantiles(scores))
  if not len(wrong):
    return
  _, middle, high = quantiles(wrong)
  advice = "read some of them, and set --threshold about there"
  if (below := np.mean(scores <= high)) > MOST_BELOW:
    advice = "this model hardly tells the pairs from wrong ones, and no threshold will"
  logger.info(
    "wrong pairs, the targets shifted by a line: 50%% %.3f, 95%% %.3f; %.1f%% of the pairs score no"
    " more than the latter: %s",
    middle,
    high,
    100 * below,
    advice,
  )


def quantiles(scores: np.ndarray) -> np.ndarray:
  """The scores with 5, 50 and 95% of all below; none is between two, as a score may be -inf."""
  return np.quantile(scores, [0.05, 0.5, 0.95], method="lower")
