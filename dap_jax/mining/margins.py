"""The margin score of a pair of sentences. numpy in, numpy out.

Margin (arXiv 1811.01136): with a = cos(x, y), and b the mean of x's k largest cosines and of y's,
each taken among the other side's vectors,

    absolute a          distance a - b          ratio a / b

The ratio means nothing where b is not positive: such a pair has score -inf.
"""

from __future__ import annotations

import numpy as np

MARGINS = ("absolute", "distance", "ratio")


def score_margin(cosine: np.ndarray, around: np.ndarray, *, margin: str) -> np.ndarray:
  """a and b of the module's docstring, of one shape -> a's margin score."""
  if margin == "absolute":
    return cosine
  if margin == "distance":
    return cosine - around
  return np.divide(cosine, around, out=np.full_like(around, -np.inf), where=around > 0)
