"""The program under `search`: a block of x against a block of y, the best of each row and column.

R rows of x shared by the devices, r on each, C rows of y, width D, the k best. A search for the
largest entries of a row reads the cosines once, for the maximum of each group of neighbouring ones;
only the most promising groups are looked at entry by entry.
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

GROUP = 16  # entries

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
  """All local devices in one axis."""
  devices = jax.local_devices()
  return jax.make_mesh((len(devices),), ("rows",), axis_types=(AxisType.Auto,), devices=devices)


@functools.cache
def make_step(mesh: Mesh, k: int) -> Callable[..., tuple[DeviceLists, DeviceLists]]:
  """Compares a block of x with one of y.

  Returns:
    (x [R, D], y [C, D], lists of x's rows, lists of y's rows, ends int32 [2, 2]: of x and of y the
    block's first row and the number of all) -> both lists, with the block's best merged in.
  """

  def compare(x, y, ends):
    cosines = jnp.matmul(unit(x), unit(y).T, precision=jax.lax.Precision.HIGHEST)
    first = ends[0, 0] + jax.lax.axis_index("rows") * len(x)
    of_x = best_of_rows(cosines, k, ends[1, 0], ends[1, 1])
    of_y = best_of_columns(cosines, k, first, ends[0, 1])
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


def unit(vectors: jax.Array) -> jax.Array:
  """[*, D] -> float32 of length 1; zeros stay. The first division keeps squares within float32."""
  vectors = vectors.astype(jnp.float32)
  tiny = jnp.finfo(jnp.float32).tiny
  vectors = vectors / jnp.maximum(jnp.abs(vectors).max(1, keepdims=True), tiny)
  return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=1, keepdims=True), tiny)


def best_of_rows(cosines: jax.Array, k: int, first: jax.Array, count: jax.Array) -> DeviceLists:
  """The k best of each row of [r, C], whose columns are the rows `first`... of `count`."""
  r, width = cosines.shape
  groups = cosines.reshape(r, width // GROUP, GROUP)
  chosen, places = promising(groups.max(2), k, count - first)
  candidates = jnp.take_along_axis(groups, chosen[:, :, None], axis=1).reshape(r, -1)
  return select(candidates, places, k, first, count)


def best_of_columns(cosines: jax.Array, k: int, first: jax.Array, count: jax.Array) -> DeviceLists:
  """The k best of each column of [R, c], whose rows are the rows `first`... of `count`."""
  height, c = cosines.shape
  peaks = cosines.reshape(height // GROUP, GROUP, c).max(1).T
  _, places = promising(peaks, k, count - first)
  candidates = cosines[places, jnp.arange(c)[:, None]]
  return select(candidates, places, k, first, count)


def promising(peaks: jax.Array, k: int, count: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Which groups can hold one of the k best.

  By maximum, equal ones the lowest first, the k best of all lie in the k best groups: a group below
  them has k groups above it, each with an entry that goes before any of its own. One more, since
  the group in which the padding begins may stand too high by its padding's cosine of 0.

  Args:
    peaks: [r, groups], the maximum of each group of neighbouring entries.
    k: how many entries are wanted.
    count: how many of the entries are no padding.

  Returns:
    Groups, rising, [r, g], and the places of their entries [r, g * GROUP].
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
  """The k best candidates of each row; padding never."""
  rows = first + places
  values, order = jax.lax.top_k(jnp.where(rows < count, candidates, -jnp.inf), k)
  return Lists(values, jnp.take_along_axis(rows, order, axis=1))


def merge(lists: list[DeviceLists]) -> DeviceLists:
  """The k best of several lists of rising rows; of equal values the earlier list goes first."""
  k = lists[0].values.shape[1]
  values = jnp.concatenate([part.values for part in lists], axis=1)
  rows = jnp.concatenate([part.rows for part in lists], axis=1)
  values, order = jax.lax.top_k(values, k)
  return Lists(values, jnp.take_along_axis(rows, order, axis=1))
