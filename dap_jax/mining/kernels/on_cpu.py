"""Blocks compared on a CPU: few cosines can enter a list, so all others are passed over at once.

H rows of x, W rows of y. The cosines of a block cost 2 H W D operations; to select the best of each
row and of each column took longer than that. But a list that has seen some blocks has a lowest
value that hardly any cosine exceeds: the n-th block of equal ones brings k / n candidates to a
list. So the devices only tell which groups hold an entry above the lowest of its row or of its
column, in one pass without a branch, and the host merges the entries of those groups. Where
these are many, as in the first blocks of each side, the selection of `best.py` reads the cosines.
"""

from __future__ import annotations

import functools
from collections import deque
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from dap_jax.mining.kernels import best
from dap_jax.mining.kernels.best import GROUP
from dap_jax.mining.kernels.lists import DeviceLists, HostLists, Lists, cut

# Rows of x and of y compared at a time: 16 MB of cosines. Of blocks twice as large the memory would
# be allocated again every time.
BLOCK_ROWS = (2048, 2048)
FEW = 1 / 16  # of the groups: beyond it `best.py` is faster than the host
IN_FLIGHT = 1  # blocks that the devices compare while the host merges another


class Block(NamedTuple):
  """What the device found of a block.

  Attributes:
    cosines: float32 [H, W].
    promising: bool [H / GROUP, W], whether an entry of the group may enter a list.
    start: of the block's rows in y.
  """

  cosines: jax.Array
  promising: jax.Array
  start: int


class OnCpu:
  """Compares on the first local device, whose threads use all cores; the lists are on the host.

  Attributes:
    mesh: that device.

  Args:
    k: of the rows of x, and of the rows of y.
    of_y: the lists of y's rows, [M, k], written into until `finish`.
    width: W, rows of a block of y.
  """

  def __init__(self, k: tuple[int, int], of_y: HostLists, *, width: int):
    devices = jax.local_devices()[:1]
    self.mesh = jax.make_mesh((1,), ("rows",), axis_types=(AxisType.Auto,), devices=devices)
    self._place = functools.partial(jax.device_put, device=NamedSharding(self.mesh, P()))
    self._k, self._of_y, self._width = k, of_y, width

  @staticmethod
  def block_rows() -> tuple[int, int]:
    """Rows of x and of y to compare at a time."""
    return BLOCK_ROWS

  def begin(self, x: np.ndarray, of_x: HostLists, ends: tuple[int, int]) -> None:
    """Starts with another block of x.

    Args:
      x: its rows [H, D], padding at the end.
      of_x: the lists of those that are no padding, written into until `finish`.
      ends: the number of its first row, and that of all rows of x.
    """
    self._x = directions(self._place(x))
    self._of_x, self._ends = of_x, ends
    self._running: deque[Block] = deque()

  def compare(self, y: np.ndarray, start: int) -> None:
    """Compares it with a block of y [W, D], padding at the end, whose first row is `start`."""
    lowest = lowest_of(self._of_x, len(self._x)), lowest_of(self._columns(start), len(y))
    cosines, promising = compare(self._x, *map(self._place, (y, *lowest)))
    self._running.append(Block(cosines, promising, start))
    if len(self._running) > IN_FLIGHT:
      self._merge(self._running.popleft())

  def finish(self) -> None:
    """Merges what is still running."""
    while self._running:
      self._merge(self._running.popleft())

  def write_columns(self) -> None:
    """Nothing is left to write after `finish`."""

  def _columns(self, start: int) -> HostLists:
    """The lists of a block of y."""
    return cut(self._of_y, start, self._width)

  def _merge(self, block: Block) -> None:
    """The block's best into the lists."""
    promising = np.asarray(block.promising)
    groups = np.flatnonzero(promising)
    if len(groups) > FEW * promising.size:
      self._merge_all(block)
    elif len(groups):
      self._merge_few(block, groups)

  def _merge_all(self, block: Block) -> None:
    """By the selection of `best.py`."""
    ends = np.array([self._ends, [block.start, len(self._of_y.values)]], np.int32)
    rows, columns = best_of_both(block.cosines, ends, k=self._k)
    for lists, found in ((self._of_x, rows), (self._columns(block.start), columns)):
      part = Lists(*(np.asarray(array)[: len(lists.values)] for array in found))
      keep_best(lists, np.arange(len(lists.values)), part)

  def _merge_few(self, block: Block, groups: np.ndarray) -> None:
    """Entry by entry of the groups, int [g], numbers of entries of `block.promising`."""
    of_x, of_y = self._of_x, self._columns(block.start)
    cosines = np.asarray(block.cosines)
    height, width = cosines.shape
    strips, column = np.divmod(groups, width)
    row = strips[:, None] * GROUP + np.arange(GROUP)
    entries = cosines.reshape(-1, GROUP, width)[strips, :, column]  # [g, GROUP]
    entries[(row >= len(of_x.values)) | (column >= len(of_y.values))[:, None]] = -np.inf  # padding
    group, place = np.nonzero(entries > lowest_of(of_x, height)[row])
    chosen = row[group, place], block.start + column[group], entries[group, place]
    keep_best(of_x, *gathered(*chosen, k=self._k[0]))
    group, place = np.nonzero(entries > lowest_of(of_y, width)[column][:, None])
    chosen = column[group], self._ends[0] + row[group, place], entries[group, place]
    keep_best(of_y, *gathered(*chosen, k=self._k[1]))


directions = jax.jit(best.directions)


@jax.jit
def compare(
  x: jax.Array, y: jax.Array, lowest_x: jax.Array, lowest_y: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """The cosines and the promising groups of a block, see `Block`.

  Args:
    x: float32 [H, D], of length 1.
    y: float16 or float32 [W, D].
    lowest_x, lowest_y: [H] and [W], what an entry must exceed.
  """
  cosines = best.products(x, best.directions(y))
  above = cosines > jnp.minimum(lowest_x[:, None], lowest_y[None])
  return cosines, above.reshape(-1, GROUP, len(y)).any(1)


@functools.partial(jax.jit, static_argnames="k")
def best_of_both(
  cosines: jax.Array, ends: jax.Array, *, k: tuple[int, int]
) -> tuple[DeviceLists, DeviceLists]:
  """The best of each row and of each column [H, W]; ends as in `on_accelerators.make_step`."""
  rows = best.best_of_rows(cosines, k[0], ends[1, 0], ends[1, 1])
  return rows, best.best_of_columns(cosines, k[1], ends[0, 0], ends[0, 1])


def lowest_of(lists: HostLists, size: int) -> np.ndarray:
  """What an entry must exceed to enter each list, float32 [size]; nothing enters the padding.

  An equal one does not enter: those of the list have lower rows.
  """
  lowest = np.full(size, np.inf, np.float32)
  if lists.values.shape[1]:
    lowest[: len(lists.values)] = lists.values[:, -1]
  return lowest


def gathered(
  owners: np.ndarray, rows: np.ndarray, values: np.ndarray, *, k: int
) -> tuple[np.ndarray, HostLists]:
  """Candidates in any order -> the lists that have some, int [u], and at most k of each, [u, *].

  Args:
    owners: int [c], the list that each is a candidate for.
    rows: int [c], the rows that they are.
    values: float32 [c].
    k: how many a list can take.
  """
  order = np.lexsort((rows, -values, owners))
  owners, rows, values = owners[order], rows[order], values[order]
  lists, begins, counts = np.unique(owners, return_index=True, return_counts=True)
  rank = np.arange(len(owners)) - np.repeat(begins, counts)
  slot = np.repeat(np.arange(len(lists)), counts)
  kept = rank < k
  found = Lists(
    np.full((len(lists), min(k, counts.max(initial=0))), -np.inf, np.float32),
    np.zeros((len(lists), min(k, counts.max(initial=0))), np.int32),
  )
  found.values[slot[kept], rank[kept]] = values[kept]
  found.rows[slot[kept], rank[kept]] = rows[kept]
  return lists, found


def keep_best(lists: HostLists, owners: np.ndarray, found: HostLists) -> None:
  """Merges [u, *] of higher rows, best first, into the lists of `owners`, int [u]."""
  values = np.concatenate([lists.values[owners], found.values], axis=1)
  rows = np.concatenate([lists.rows[owners], found.rows], axis=1)
  order = np.argsort(-values, axis=1, kind="stable")[:, : lists.values.shape[1]]
  for whole, merged in zip(lists, (values, rows), strict=True):
    whole[owners] = np.take_along_axis(merged, order, axis=1)
