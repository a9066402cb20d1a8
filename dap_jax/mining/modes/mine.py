"""Mode mine: the pairs of translations in two texts, the best first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dap_jax.mining import pairing, pairs_file
from dap_jax.mining.exact_search import Neighbours
from dap_jax.mining.options import Options
from dap_jax.mining.work_folder import Sentences


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
  return pairs_file.write_pairs(mined, source, target, path)
