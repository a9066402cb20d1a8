"""Mode mine: the pairs of translations in two texts, the best first."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from dap_jax.mining import pairing, pairs_file
from dap_jax.mining.exact_search import Neighbours
from dap_jax.mining.options import Options
from dap_jax.mining.work_folder import Sentences

logger = logging.getLogger(__name__)

CCMATRIX = 1.06  # a score by margin, of the ratio


def write(
  source: Sentences,
  target: Sentences,
  path: Path,
  *,
  found: Sequence[Neighbours],
  options: Options,
) -> int:
  """Turns the neighbours of both sides into pairs, writes them, and warns of hubs.

  Returns how many pairs there are.
  """
  forward, backward = (
    pairing.at_least(proposals, score=options.threshold, cosine=options.min_cosine)
    for proposals in pairing.propose(*found, margin=options.margin)
  )
  pairs_file.warn_of_hubs(forward, target)
  pairs_file.warn_of_hubs(backward, source)
  mined = pairing.combine(forward, backward, retrieval=options.retrieval)
  if options.margin == "ratio" and options.threshold == -math.inf:
    logger.info(
      "%d of %d pairs score %.2f or more, the threshold of CCMatrix (arXiv 1911.04944);"
      " --threshold keeps these alone",
      int((mined.scores >= CCMATRIX).sum()),
      len(mined.scores),
      CCMATRIX,
    )
  return pairs_file.write_pairs(mined, source, target, path)
