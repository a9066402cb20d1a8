"""The jitted step of the exact search: a block of x against a block of y, the best of both.

R rows of x sharded over the devices, r on each; C rows of y; width D; the k best of each row and of
each column of their cosines; for the columns k may be 0. To find them the cosines are read once,
for the maximum of each group of neighbouring entries; only the most promising groups are searched
entry by entry.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dap_jax.core.unit_vectors import unit

GROUP = 16  # neighbouring entries of a row or column

ArrayT = TypeVar("ArrayT", np.ndarray, jax.Array)  # on the host, or on the devices


class Lists(NamedTuple, Generic[ArrayT]):
  """The best so far: values float32 [*, k] falling, -inf where empty; their rows int32 [*, k]."""

  values: ArrayT
  rows: ArrayT


DeviceLists = Lists[jax.Array]


def empty_lists(count: int, k: int) -> Lists[np.ndarray]:
  """Lists of `count` rows with nothing in them, on the host."""
  return Lists(np.full((count, k), -np.inf, np.float32), np.zeros((count, k), np.int32))


def rows_mesh() -> Mesh:
  """All local devices along one axis."""
  devices = jax.local_devices()
  return jax.make_mesh((len(devices),), ("rows",), axis_types=(AxisType.Auto,), devices=devices)


@functools.cache
def make_step(
  mesh: Mesh, k_rows: int, k_columns: int
) -> Callable[..., tuple[DeviceLists, DeviceLists]]:
  """The step that compares a block of x with a block of y.

  Returns:
    A function (x, y, rows, columns, ends) -> (rows, columns), where x [R, D] and y [C, D] are the
    blocks; rows and columns are the lists of the rows of x and of the rows of y, into which the
    best of this block are merged; and ends is int32 [2, 2], for x and for y the number of the
    block's first row and the number of all rows.
  """

  def compare(x, y, ends):
    cosines = jnp.matmul(unit(scale(x)), unit(scale(y)).T, precision=jax.lax.Precision.HIGHEST)
    first = ends[0, 0] + jax.lax.axis_index("rows") * len(x)
    of_x = best_of_rows(cosines, k_rows, ends[1, 0], ends[1, 1])
    of_y = best_of_columns(cosines, k_columns, first, ends[0, 1])
    return of_x, Lists(*(array[None] for array in of_y))

  shared = jax.shard_map(
    compare, mesh=mesh, in_specs=(P("rows"), P(), P()), out_specs=(P("rows"), P("rows"))
  )

  def step(x, y, rows, columns, ends):
    of_x, of_y = shared(x, y, ends)  # of_y: [devices, C, k], of rising rows of x
    parts = [Lists(of_y.values[d], of_y.rows[d]) for d in range(mesh.size)]
    return merge([rows, of_x]), merge([columns, *parts])

  by_rows, everywhere = NamedSharding(mesh, P("rows")), NamedSharding(mesh, P())
  return jax.jit(step, out_shardings=(by_rows, everywhere))


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
