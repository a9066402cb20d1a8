"""The margin score of a pair of sentences (arXiv 1811.01136). numpy in, numpy out.

With a = cos(x, y), and b the mean of x's k largest cosines and y's k largest cosines, each taken
among the vectors of the other side:

    absolute a          distance a - b          ratio a / b

A ratio has no meaning where b is not positive: such a pair has the score -inf.
"""

from __future__ import annotations

import numpy as np

MARGINS = ("absolute", "distance", "ratio")


def score_margin(cosine: np.ndarray, around: np.ndarray, *, margin: str) -> np.ndarray:
  """The margin score of each pair.

  Args:
    cosine: a of the module's docstring, floats of any shape.
    around: b, of the same shape.
    margin: one of `MARGINS`.
  """
  if margin == "absolute":
    return cosine
  if margin == "distance":
    return cosine - around
  return np.divide(cosine, around, out=np.full_like(around, -np.inf), where=around > 0)
