"""Which source gives the next element of a mixture: Grain's rule, for many elements at once.

`grain.MapDataset.mix` asks element by element, and every time goes through all sources: with 90
of them that takes most of a batch's time. Equality with Grain's is tested.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SMALLEST = 100  # the smallest share as a whole number
MOST = 2**63 - 1


class Interleaving:
  """Endless sources, interleaved evenly by their shares.

  Among the first k elements of sources i, i + 1, ... are floor(k p_i / (p_i + p_{i+1} + ...)) of
  source i, rounded up; the others are those of the sources after it.

  Args:
    shares: of each source, positive.
  """

  def __init__(self, shares: Sequence[float]):
    scale = SMALLEST / min(shares)
    self._shares = [int(share * scale) for share in shares]

  def span(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Elements `first` to `first + count` -> int [count] their sources, and their places there."""
    total = sum(self._shares)
    # Python's whole numbers where a product could be too large for 64 bits.
    dtype = np.int64 if (first + count) * total <= MOST else object
    before = np.arange(first, first + count).astype(dtype)  # elements left, without this one
    after = before + 1  # and with it
    sources = np.zeros(count, int)
    places = np.zeros(count, int)
    waiting = np.arange(count)
    for source, share in enumerate(self._shares):
      rest_before = before * (total - share) // total
      rest_after = after * (total - share) // total
      of_source = after - rest_after
      here = before - rest_before != of_source
      sources[waiting[here]], places[waiting[here]] = source, of_source[here] - 1
      waiting, before, after = waiting[~here], rest_before[~here], rest_after[~here]
      total -= share
    return sources, places
