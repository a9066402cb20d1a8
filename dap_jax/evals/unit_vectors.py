"""What the benchmarks share: unit vectors, and the margin score. numpy in, numpy out.

N vectors of width D. Margin (arXiv 1811.01136): with a = cos(x, y), and b the mean of
x's k largest cosines and of y's, each taken among the other side's vectors,

    absolute a          distance a - b          ratio a / b

The ratio means nothing where b is not positive: such a pair has score -inf.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dap_jax.evals import Encode
from dap_jax.utils.errors import NotFiniteError


def encode_lists(lists: Sequence[Sequence[str]], encode: Encode) -> list[np.ndarray]:
  """Unit vectors of several lists of texts, by one call of `encode`, which sorts by length."""
  vectors = unit(encode([text for texts in lists for text in texts]))
  return np.split(vectors, np.cumsum([len(texts) for texts in lists])[:-1])


def unit(vectors: np.ndarray) -> np.ndarray:
  """[N, D] -> the same directions with length 1; a vector of zeros stays one.

  Raises:
    NotFiniteError: a vector is not finite.
  """
  lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
  broken = int((~np.isfinite(lengths)).sum())
  if broken:
    raise NotFiniteError(
      f"{broken} of {len(vectors)} vectors are not finite: the training diverged, the weights are"
      " damaged, or the compute dtype overflows"
    )
  return vectors / np.maximum(lengths, 1e-12)
