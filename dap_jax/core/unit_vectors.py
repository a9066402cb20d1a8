"""Vectors of length 1 and their cosines: the one place where JAX code normalises.

numpy: `utils/unit_vectors.py`.
"""

from __future__ import annotations

from typing import NamedTuple

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


def cosines(z_source: jax.Array, z_target: jax.Array) -> jax.Array:
  """cos(z_source_i, z_target_j): [B, D], [C, D] -> float32 [B, C]. A zero vector has cosine 0.

  Examples:
    >>> print(cosines(jnp.array([[3.0, 4.0], [0.0, 1.0]]), jnp.array([[1.0, 0.0], [0.0, 2.0]])))
    [[0.6 0.8]
     [0.  1. ]]
  """
  return jnp.einsum("id,jd->ij", unit(z_source), unit(z_target))


class Similarities(NamedTuple):
  """Cosines of translations x and pivots y, [B, B] each: of x with y, of x with x, of y with y."""

  across: jax.Array
  among_x: jax.Array
  among_y: jax.Array

  def within(self, axis: int) -> jax.Array:
    """Those of the anchors with each other; symmetric."""
    return self.among_x if axis == 1 else self.among_y


def similarities(x: jax.Array, y: jax.Array) -> Similarities:
  """x, y [B, D]."""
  return Similarities(cosines(x, y), cosines(x, x), cosines(y, y))
