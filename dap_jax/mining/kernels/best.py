"""The best of a block of cosines, of each row and of each column, in JAX.

R rows of x, C rows of y; the k best of each row and of each column of their cosines. To find them
the cosines are read once, for the maximum of each group of neighbouring entries; only the most
promising groups are searched entry by entry.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dap_jax.core.unit_vectors import unit
from dap_jax.mining.kernels.lists import DeviceLists, Lists

GROUP = 16  # neighbouring entries of a row or column


def products(x: jax.Array, y: jax.Array) -> jax.Array:
  """Directions [R, D] and [C, D] -> their cosines, float32 [R, C]."""
  return jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)


def directions(vectors: jax.Array) -> jax.Array:
  """[*, D] of any size -> float32 vectors of length 1."""
  return unit(scale(vectors))


def scale(vectors: jax.Array) -> jax.Array:
  """[*, D] of any size -> float32, the largest entry 1 or -1, so that squares stay in range."""
  vectors = vectors.astype(jnp.float32)
  largest = jnp.abs(vectors).max(1, keepdims=True)
  return vectors / jnp.maximum(largest, jnp.finfo(jnp.float32).tiny)


def best_of_rows(cosines: jax.Array, k: int, first: jax.Array, count: jax.Array) -> DeviceLists:
  """The k best of each row of [r, C]; column c is row `first` + c of y, which has `count` rows."""
  r, width = cosines.shape
  groups = cosines.reshape(r, width // GROUP, GROUP)
  chosen, places = promising(groups.max(2), k, count - first)
  candidates = jnp.take_along_axis(groups, chosen[:, :, None], axis=1).reshape(r, -1)
  return select(candidates, places, k, first, count)


def best_of_columns(cosines: jax.Array, k: int, first: jax.Array, count: jax.Array) -> DeviceLists:
  """The k best of each column of [R, c]; row i is row `first` + i of x, which has `count` rows."""
  height, c = cosines.shape
  peaks = cosines.reshape(height // GROUP, GROUP, c).max(1).T
  _, places = promising(peaks, k, count - first)
  candidates = cosines[places, jnp.arange(c)[:, None]]
  return select(candidates, places, k, first, count)


def promising(peaks: jax.Array, k: int, count: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The groups that can hold one of the k best entries.

  The k best entries lie in the k groups with the largest maxima (of equal ones the lowest): for
  every other group there are k groups with an entry that comes before all of its entries. One group
  more is needed, because the group where the padding begins may rank too high, by the padding's
  cosine of 0.

  Args:
    peaks: [r, groups], the maximum of each group.
    k: number of entries to find.
    count: number of entries that are no padding.

  Returns:
    The groups, rising, [r, g], and the places of their entries, [r, g * GROUP].
  """
  r, groups = peaks.shape
  starts = jnp.arange(groups, dtype=jnp.int32) * GROUP
  peaks = jnp.where(starts[None] < count, peaks, -jnp.inf)
  chosen = jnp.sort(jax.lax.top_k(peaks, min(k + 1, groups))[1], axis=1)
  places = chosen[:, :, None] * GROUP + jnp.arange(GROUP, dtype=jnp.int32)[None, None]
  return chosen, places.reshape(r, -1)


def select(
  candidates: jax.Array, places: jax.Array, k: int, first: jax.Array, count: jax.Array
) -> DeviceLists:
  """The k best candidates of each row; padding is never among them."""
  rows = first + places
  values, order = jax.lax.top_k(jnp.where(rows < count, candidates, -jnp.inf), k)
  return Lists(values, jnp.take_along_axis(rows, order, axis=1))


def merge(lists: list[DeviceLists]) -> DeviceLists:
  """The k best of several lists; of equal values that of the earlier list, whose rows are lower."""
  k = lists[0].values.shape[1]
  values = jnp.concatenate([part.values for part in lists], axis=1)
  rows = jnp.concatenate([part.rows for part in lists], axis=1)
  values, order = jax.lax.top_k(values, k)
  return Lists(values, jnp.take_along_axis(rows, order, axis=1))
