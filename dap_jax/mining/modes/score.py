"""Mode score: margin and cosine of every pair of aligned texts, as the mode score of LASER.

score_i = margin(cos(x_i, y_i), (mean of x_i's k largest cosines among all y
                                 + mean of y_i's k largest cosines among all x) / 2)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dap_jax.mining import pairs_file
from dap_jax.mining.exact_search import Neighbours
from dap_jax.mining.margins import score_margin
from dap_jax.mining.modes.aligned import align, cosines_of
from dap_jax.mining.options import Options
from dap_jax.mining.pairing import Mined, mean_cosines
from dap_jax.mining.work_folder import Sentences


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
  cosines = scores = cosines_of(pairs, source, target)
  if found:
    around = (mean_cosines(found[0])[pairs.source] + mean_cosines(found[1])[pairs.target]) / 2
    scores = score_margin(cosines, around, margin=options.margin)
    scores = np.where(np.isnan(scores), -np.inf, scores)  # an index may find no neighbour
  kept = (scores >= options.threshold) & (cosines >= options.min_cosine)
  rows = np.stack([pairs.source[kept], pairs.target[kept]], axis=1)
  scored = Mined(rows, scores[kept], cosines[kept])
  return pairs_file.write_pairs(scored, source, target, path, lines=pairs.lines[kept])
