"""Vectors of length 1, in numpy; `core/unit_vectors.py` has the same function of JAX arrays."""

from __future__ import annotations

import numpy as np

from dap_jax.utils.errors import NotFiniteError


def unit(vectors: np.ndarray) -> np.ndarray:
  """The same directions with length 1; a vector of zeros stays one.

  Args:
    vectors: floats [..., D]. Lengths are computed in their dtype, so that squares which it cannot
      hold must be widened first: `unit(vectors.astype(np.float64))`.

  Returns:
    [..., D], of the same dtype.

  Raises:
    NotFiniteError: the length of a vector is NaN or infinite.
  """
  lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
  if broken := int((~np.isfinite(lengths)).sum()):
    raise NotFiniteError(
      f"{broken} of {lengths.size} vectors are not finite: the training diverged, the weights are"
      " damaged, or the compute dtype overflows"
    )
  lengths[lengths == 0] = 1
  return vectors / lengths
