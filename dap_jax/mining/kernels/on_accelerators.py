"""Blocks compared on accelerators: cosines, the best of them and the lists stay on the devices.

R rows of x sharded over the devices, r on each; C rows of y on all of them; width D; the k best of
each row and of each column of their cosines; for the columns k may be 0.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dap_jax.mining.kernels import best
from dap_jax.mining.kernels.lists import DeviceLists, HostLists, Lists, cut, fill_up

BLOCK_ROWS = (8192, 8192)  # rows of x on each device, and of y, compared at a time
IN_FLIGHT = 2  # blocks that the devices may lag behind; more would pile up in memory


def rows_mesh() -> Mesh:
  """All local devices along one axis."""
  devices = jax.local_devices()
  return jax.make_mesh((len(devices),), ("rows",), axis_types=(AxisType.Auto,), devices=devices)


class OnAccelerators:
  """Compares on all local devices.

  Attributes:
    mesh: the devices; the rows of a block of x are a multiple of their number.

  Args:
    k: of the rows of x, and of the rows of y.
    of_y: the lists of y's rows, [M, k]; `finish` writes into them.
    width: C, rows of a block of y.
  """

  def __init__(self, k: tuple[int, int], of_y: HostLists, *, width: int):
    self.mesh = rows_mesh()
    self._by_rows = NamedSharding(self.mesh, P("rows"))
    self._everywhere = NamedSharding(self.mesh, P())
    self._step = make_step(self.mesh, *k)
    self._of_y, self._width = of_y, width
    self._columns = [
      jax.device_put(fill_up(cut(of_y, start, width), width), self._everywhere)
      for start in range(0, len(of_y.values), width)
    ]

  @staticmethod
  def block_rows() -> tuple[int, int]:
    """Rows of x and of y to compare at a time."""
    return BLOCK_ROWS[0] * jax.local_device_count(), BLOCK_ROWS[1]

  def begin(self, x: np.ndarray, of_x: HostLists, ends: tuple[int, int]) -> None:
    """Starts with another block of x.

    Args:
      x: its rows [R, D], padding at the end.
      of_x: the lists of those that are no padding; `finish` writes into them.
      ends: the number of its first row, and that of all rows of x.
    """
    self._x = jax.device_put(x, self._by_rows)
    self._of_x, self._ends = of_x, ends
    self._rows = jax.device_put(fill_up(of_x, len(x)), self._by_rows)
    self._running: deque[DeviceLists] = deque()

  def compare(self, y: np.ndarray, start: int) -> None:
    """Compares it with a block of y [C, D], padding at the end, whose first row is `start`."""
    number = start // self._width
    ends = np.array([self._ends, [start, len(self._of_y.values)]], np.int32)
    y_block = jax.device_put(y, self._everywhere)
    lists = self._rows, self._columns[number]
    self._rows, self._columns[number] = self._step(self._x, y_block, *lists, ends)
    self._running.append(self._rows)
    if len(self._running) > IN_FLIGHT:
      jax.block_until_ready(self._running.popleft())

  def finish(self) -> None:
    """Writes the best of the rows of x to the lists that `begin` got."""
    for whole, part in zip(self._of_x, self._rows, strict=True):
      whole[:] = np.asarray(part)[: len(whole)]

  def write_columns(self) -> None:
    """Writes the best of the rows of y to the lists that the class got."""
    for number, part in enumerate(self._columns):
      for whole, array in zip(
        cut(self._of_y, number * self._width, self._width), part, strict=True
      ):
        whole[:] = np.asarray(array)[: len(whole)]


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
    cosines = best.products(best.directions(x), best.directions(y))
    first = ends[0, 0] + jax.lax.axis_index("rows") * len(x)
    of_x = best.best_of_rows(cosines, k_rows, ends[1, 0], ends[1, 1])
    of_y = best.best_of_columns(cosines, k_columns, first, ends[0, 1])
    return of_x, Lists(*(array[None] for array in of_y))

  shared = jax.shard_map(
    compare, mesh=mesh, in_specs=(P("rows"), P(), P()), out_specs=(P("rows"), P("rows"))
  )

  def step(x, y, rows, columns, ends):
    of_x, of_y = shared(x, y, ends)  # of_y: [devices, C, k], of rising rows of x
    parts = [Lists(of_y.values[d], of_y.rows[d]) for d in range(mesh.size)]
    return best.merge([rows, of_x]), best.merge([columns, *parts])

  by_rows, everywhere = NamedSharding(mesh, P("rows")), NamedSharding(mesh, P())
  return jax.jit(step, out_shardings=(by_rows, everywhere))
