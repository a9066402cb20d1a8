"""Nearest neighbours by cosine of two sets of vectors, in both directions, in one pass.

N and M vectors of width D, k neighbours. A block of rows of x is shared by the local devices, a
block of y lies on each; their cosines are computed once, and of them only the best of each row and
of each column go into running lists. No [N, M] matrix is held, and x and y may lie in files.
Several processes, each with all of x and y, share the rows of x; at the end they exchange lists.

Exact: blocks are compared in float32 at full precision for `SPARE` neighbours more than asked, the
found ones again in float64, and the k best of those are given. Equal cosines: the lowest row first.
Neither the blocks nor the number of devices or processes change the result, but where more than
`SPARE` candidates lie within float32's rounding, 2e-7, of the k-th best one: those may change
places.
"""

from __future__ import annotations

import logging
import time
import zipfile
from collections import deque
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from dap_jax.distributed import row_shares
from dap_jax.mining.search_kernel import GROUP, Lists, make_step, rows_mesh
from dap_jax.utils.progress import Progress
from dap_jax.utils.unit_vectors import unit

logger = logging.getLogger(__name__)

SPARE = 2  # against float32's rounding: a true neighbour may rank this much too low in the blocks
CPU_BLOCK = (1024, 4096)  # 16 MB of cosines: twice as large, their pages are new for every block
DEVICE_BLOCK = (8192, 8192)  # rows of x on each device
IN_FLIGHT = 2  # blocks the devices may be behind; more would pile up in memory
RESCORED_VALUES = 1 << 22  # float64 values of candidates at a time, 32 MB
SAVE_SHARE = 0.05  # of the time may go into saving


class Side(NamedTuple):
  """One of the two sets.

  Attributes:
    vectors: float16, float32 or float64 [*, D], of any length but 0; an array or a memory map.
    rows: int [N], which of them take part; the neighbours are numbered by their place in it.
  """

  vectors: np.ndarray
  rows: np.ndarray

  @classmethod
  def whole(cls, vectors: np.ndarray) -> Side:
    """All rows."""
    return cls(vectors, np.arange(len(vectors)))

  def block(self, start: int, size: int) -> np.ndarray:
    """[size, D], float16 or float32, zeros after the last row."""
    found = self.vectors[self.rows[start : start + size]]
    found = found.astype(np.float16 if found.dtype == np.float16 else np.float32, copy=False)
    return np.pad(found, ((0, size - len(found)), (0, 0)))


class Neighbours(NamedTuple):
  """Of N queries, the nearest first.

  Attributes:
    cosines: float64 [N, k], falling; -inf where an approximate index found fewer.
    rows: int [N, k], places in the other side's `rows`; -1 there.
  """

  cosines: np.ndarray
  rows: np.ndarray

  def whole(self, count: int) -> Neighbours:
    """Those of this process's queries -> those of all, which are so many."""
    return Neighbours(*(row_shares.whole(part, count) for part in self))


class Saved(NamedTuple):
  """Where a search keeps its state, so that it goes on after a kill.

  Attributes:
    path: an .npz file; whoever names it answers for its being of the same two sides and k. Of
      several processes each has one of its own; another number of them begins anew.
    seconds: between saves.
  """

  path: Path
  seconds: float


def nearest(
  x: Side,
  y: Side,
  *,
  neighbours: int,
  saved: Saved | None = None,
  what: str = "",
  block: tuple[int, int] | None = None,
) -> tuple[Neighbours, Neighbours]:
  """The nearest of y to each of x, and of x to each of y, exactly.

  All processes call it alike, and each gets the whole result.

  Args:
    x, y: of the same width, neither empty.
    neighbours: k; all of a side where it has fewer.
    saved: where to keep the state, and from where to go on.
    what: the name of the search, to report its progress under; "" = silent.
    block: rows of x and of y that are compared at a time; None = what suits the devices.
  """
  n, m = len(x.rows), len(y.rows)
  x_share, y_share = (
    side._replace(rows=side.rows[row_shares.own(len(side.rows))]) for side in (x, y)
  )
  found_x, found_y = compare_all(
    x_share,
    y,
    first=row_shares.own(n).start,
    # The same number of both directions keeps one program; what a small side lacks is -inf.
    k=min(neighbours + SPARE, max(n, m)),
    saved=saved,
    what=what,
    block=block or block_shape(),
  )
  rows_x, rows_y = found_x.rows[:, :m], exchange(found_y).rows[:, :n]
  return (
    rescore(x_share, y, rows_x, neighbours=min(neighbours, m)).whole(n),
    rescore(y_share, x, rows_y, neighbours=min(neighbours, n)).whole(m),
  )


def exchange(lists: Lists) -> Lists:
  """Each process's lists of all rows of y -> the best of them all, of this process's own rows."""
  count, k = lists.values.shape
  found = [Lists(np.empty((0, k), np.float32), np.empty((0, k), np.int32))]
  for process in range(jax.process_count()):
    part = (array[row_shares.of_process(count, process)] for array in lists)
    for values, rows in zip(*map(row_shares.gathered, part), strict=True):
      if process == jax.process_index():
        found.append(best(values, rows))
  return Lists(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def best(values: np.ndarray, rows: np.ndarray) -> Lists:
  """Lists [P, n, k] of P processes, of rising rows -> the k best; of equal values the lower row."""
  k = values.shape[2]
  values, rows = (np.swapaxes(part, 0, 1).reshape(len(part[0]), -1) for part in (values, rows))
  order = np.argsort(-values, axis=1, kind="stable")[:, :k]
  return Lists(*(np.take_along_axis(part, order, axis=1) for part in (values, rows)))


def block_shape() -> tuple[int, int]:
  """Rows of x and of y that suit the devices."""
  devices = jax.local_devices()
  if devices[0].platform == "cpu":
    return CPU_BLOCK
  return DEVICE_BLOCK[0] * len(devices), DEVICE_BLOCK[1]


def compare_all(
  x: Side,
  y: Side,
  *,
  first: int,
  k: int,
  saved: Saved | None,
  what: str,
  block: tuple[int, int],
) -> tuple[Lists, Lists]:
  """The best k of each row of x and of each row of y, by float32 cosines.

  x is this process's part of a side, whose first row has the number `first` there.
  """
  mesh = rows_mesh()
  by_rows, everywhere = NamedSharding(mesh, P("rows")), NamedSharding(mesh, P())
  step = make_step(mesh, k)
  n, m = len(x.rows), len(y.rows)
  height = padded(min(block[0], power_of_two(n)), mesh.size * padded(k, GROUP))
  width = padded(min(block[1], power_of_two(m)), padded(k, GROUP))
  checkpoint = SearchCheckpoint(saved)
  done, of_x, of_y = checkpoint.load() or (0, Lists.empty(n, k), Lists.empty(m, k))
  starts = range(0, m, width)
  columns = [jax.device_put(cut(of_y, start, width), everywhere) for start in starts]
  blocks = {"total": -(-n // height) * len(starts), "done": done // height * len(starts)}
  shown = Progress(what, **blocks, unit="block") if what else nullcontext()
  with jax.set_mesh(mesh), shown as progress:  # not the mesh of a run that evaluates
    while done < n:
      x_block = jax.device_put(x.block(done, height), by_rows)
      rows = jax.device_put(Lists.empty(height, k), by_rows)
      running = deque()
      for number, start in enumerate(starts):
        y_block = jax.device_put(y.block(start, width), everywhere)
        ends = np.array([[first + done, first + n], [start, m]], np.int32)
        rows, columns[number] = step(x_block, y_block, rows, columns[number], ends)
        running.append(rows)
        if len(running) > IN_FLIGHT:
          jax.block_until_ready(running.popleft())
        if progress:
          progress.advance(1)
      for ours, theirs in zip(of_x, rows, strict=True):
        ours[done : done + height] = np.asarray(theirs)[: n - done]
      done = min(done + height, n)
      if checkpoint.due() or saved and done == n:
        checkpoint.save(done, of_x, gather(columns, m))
  return of_x, gather(columns, m)


def padded(size: int, multiple: int) -> int:
  """The next multiple."""
  return -(-size // multiple) * multiple


def power_of_two(size: int) -> int:
  """The next one: small sides of many sizes share few programs."""
  return 1 << (size - 1).bit_length()


def cut(lists: Lists, start: int, size: int) -> Lists:
  """Some rows of the lists, with empty ones after the last."""
  part = Lists(*(array[start : start + size] for array in lists))
  rest = Lists.empty(size - len(part.values), part.values.shape[1])
  return Lists(*(np.concatenate(both) for both in zip(part, rest, strict=True)))


def gather(columns: list[Lists], m: int) -> Lists:
  """The lists of all blocks of y, on the host."""
  values = np.concatenate([np.asarray(part.values) for part in columns])[:m]
  return Lists(values, np.concatenate([np.asarray(part.rows) for part in columns])[:m])


def rescore(queries: Side, candidates: Side, rows: np.ndarray, *, neighbours: int) -> Neighbours:
  """Found rows [N, c] -> the k best of them by float64 cosines; -1 is none."""
  cosines = np.empty((len(rows), neighbours))
  ranked = np.empty((len(rows), neighbours), np.int64)
  size = max(1, RESCORED_VALUES // (rows.shape[1] * candidates.vectors.shape[1]))
  for start in range(0, len(rows), size):
    part = slice(start, start + size)
    chosen = rows[part].astype(np.int64)
    ours = unit(queries.vectors[queries.rows[part]].astype(np.float64))
    theirs = unit(candidates.vectors[candidates.rows[chosen]].astype(np.float64))
    found = np.where(chosen < 0, -np.inf, np.einsum("nd,ncd->nc", ours, theirs))
    order = np.lexsort((chosen, -found))[:, :neighbours]
    cosines[part] = np.take_along_axis(found, order, axis=1)
    ranked[part] = np.take_along_axis(chosen, order, axis=1)
  return Neighbours(cosines, ranked)


class SearchCheckpoint:
  """Saves the state of a search, no oftener than pays, and finds it again."""

  def __init__(self, saved: Saved | None):
    if saved and (count := jax.process_count()) > 1:
      own = f".{jax.process_index() + 1}-of-{count}{saved.path.suffix}"
      saved = saved._replace(path=saved.path.with_suffix(own))
    self._saved = saved
    self._last, self._took = time.monotonic(), 0.0

  def due(self) -> bool:
    """Whether it is time to save."""
    waited = time.monotonic() - self._last
    return self._saved is not None and waited >= max(self._saved.seconds, self._took / SAVE_SHARE)

  def save(self, done: int, of_x: Lists, of_y: Lists) -> None:
    """Writes how many rows of x are done, and both sides' lists; whole or not at all."""
    begun = time.monotonic()
    x_arrays = {"x_values": of_x.values, "x_rows": of_x.rows}
    y_arrays = {"y_values": of_y.values, "y_rows": of_y.rows}
    temporary = self._saved.path.with_suffix(".tmp.npz")
    np.savez(temporary, done=done, **x_arrays, **y_arrays)
    temporary.replace(self._saved.path)
    self._last = time.monotonic()
    self._took = self._last - begun

  def load(self) -> tuple[int, Lists, Lists] | None:
    """What was saved; None where nothing was, or nothing that can be read."""
    if self._saved is None or not self._saved.path.exists():
      return None
    try:
      with np.load(self._saved.path) as file:
        of_x = Lists(file["x_values"], file["x_rows"])
        found = int(file["done"]), of_x, Lists(file["y_values"], file["y_rows"])
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
      logger.warning("%s cannot be read (%s): the search begins anew", self._saved.path, error)
      return None
    logger.info("the search goes on: %d of %d rows were done", found[0], len(of_x.rows))
    return found
