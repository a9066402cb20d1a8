"""Vectors of length 1: the one place where JAX code normalises (numpy: `utils/unit_vectors.py`)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

EPSILON = 1e-12  # shorter vectors are divided by this, as in PyTorch: no division by zero


def unit(vectors: jax.Array) -> jax.Array:
  """Vectors [..., D] divided by their length, float32 or wider; a zero vector stays zero.

  The dtype must hold the squares of the entries, float32 those of 1e-18 to 1e18.

  Examples:
    >>> print(unit(jnp.array([[3.0, 4.0], [0.0, 0.0]])))
    [[0.6 0.8]
     [0.  0. ]]
  """
  vectors = vectors.astype(jnp.promote_types(vectors.dtype, jnp.float32))
  lengths = jnp.sqrt((vectors * vectors).sum(-1, keepdims=True))
  return vectors / jnp.maximum(lengths, EPSILON)
