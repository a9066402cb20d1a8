"""The nearest neighbours by cosine of two sets of vectors, in one direction or both in one pass.

N vectors x and M vectors y of width D, k neighbours. The cosines of a block of x and a block of y
are computed once, and only the best of each row and of each column go into running lists; how, is a
matter of the platform, see `kernels/`. No [N, M] matrix is ever held, and x and y may be memory
maps. Several processes, each with all of x and y, share the rows of x and exchange their lists at
the end.

Exact: blocks are compared in float32 at full precision and keep `SPARE` neighbours more than k;
these are compared again in float64, and the k best of them are the result. Of equal cosines the
lowest row comes first. Neither the size of the blocks nor the number of devices or processes
changes the result, with one exception: where more than `SPARE` candidates lie within float32's
rounding, 2e-7, of the k-th best one, those may change places.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

import jax
import numpy as np

from dap_jax.distributed import row_shares
from dap_jax.mining.kernels.best import GROUP
from dap_jax.mining.kernels.lists import HostLists, Lists, cut, empty_lists
from dap_jax.mining.kernels.on_accelerators import OnAccelerators
from dap_jax.mining.kernels.on_cpu import OnCpu
from dap_jax.mining.search_checkpoint import SearchCheckpoint
from dap_jax.utils.progress import Progress
from dap_jax.utils.unit_vectors import unit

SPARE = 2  # float32's rounding may rank a true neighbour this much too low
BLOCK_VALUES = 1 << 22  # float64 values of candidates compared again at a time, 32 MB


class Side(NamedTuple):
  """One of the two sets of vectors.

  Attributes:
    vectors: float16, float32 or float64 [*, D], of any length but 0; an array or a memory map.
    rows: int [N], the rows of `vectors` that take part. Results count positions in `rows`.
  """

  vectors: np.ndarray
  rows: np.ndarray

  @classmethod
  def whole(cls, vectors: np.ndarray) -> Side:
    """All rows."""
    return cls(vectors, np.arange(len(vectors)))

  def block(self, start: int, size: int) -> np.ndarray:
    """[size, D], float16 or float32, from row `start` on; zeros after the last row."""
    vectors = self.vectors[self.rows[start : start + size]]
    dtype = np.float16 if vectors.dtype == np.float16 else np.float32
    vectors = vectors.astype(dtype, copy=False)
    if len(vectors) == size:  # no copy
      return vectors
    return np.pad(vectors, ((0, size - len(vectors)), (0, 0)))


class Neighbours(NamedTuple):
  """The neighbours of N queries, the nearest first.

  Attributes:
    cosines: float64 [N, k], falling; -inf where an approximate index found fewer than k.
    rows: int [N, k], positions in the other side's `rows`; -1 where the cosine is -inf.
  """

  cosines: np.ndarray
  rows: np.ndarray

  def whole(self, count: int) -> Neighbours:
    """The neighbours of this process's queries -> those of all `count` queries."""
    return Neighbours(*(row_shares.gather(part, count) for part in self))


def nearest(
  x: Side,
  y: Side,
  *,
  neighbours: int,
  checkpoint: SearchCheckpoint | None = None,
  what: str = "",
  block: tuple[int, int] | None = None,
) -> tuple[Neighbours, Neighbours]:
  """The nearest of y to each of x, and of x to each of y, exactly.

  All processes call it with the same arguments, and each gets the whole result.

  Args:
    x, y: of the same width, neither empty.
    neighbours: k; all vectors of a side that has fewer.
    checkpoint: keeps the state and continues from it; None = nothing is kept.
    what: the name that progress is reported under; "" = no report.
    block: rows of x and of y that are compared at a time; None = what suits the devices.

  Returns:
    The neighbours of the N vectors x, and those of the M vectors y.
  """
  n, m = len(x.rows), len(y.rows)
  x_share, y_share = share_of(x), share_of(y)
  lists_x, lists_y = compare_all(
    x_share,
    y,
    first=row_shares.of_this_process(n).start,
    # One k for both directions makes one program; a side with fewer vectors has -inf at the end.
    k=(min(neighbours + SPARE, max(n, m)),) * 2,
    checkpoint=checkpoint,
    what=what,
    block=block,
  )
  rows_x, rows_y = lists_x.rows[:, :m], exchange(lists_y).rows[:, :n]
  return (
    rescore(x_share, y, rows_x, neighbours=min(neighbours, m)).whole(n),
    rescore(y_share, x, rows_y, neighbours=min(neighbours, n)).whole(m),
  )


def one_way(
  x: Side,
  y: Side,
  *,
  neighbours: int,
  checkpoint: SearchCheckpoint | None = None,
  what: str = "",
  block: tuple[int, int] | None = None,
) -> Neighbours:
  """The nearest of y to each of x; the arguments are those of `nearest`.

  It costs less than `nearest` where y has many more vectors than x.
  """
  n, m = len(x.rows), len(y.rows)
  share = share_of(x)
  lists, _ = compare_all(
    share,
    y,
    first=row_shares.of_this_process(n).start,
    k=(min(neighbours + SPARE, m), 0),
    checkpoint=checkpoint,
    what=what,
    block=block,
  )
  return rescore(share, y, lists.rows, neighbours=min(neighbours, m)).whole(n)


def share_of(side: Side) -> Side:
  """The rows of a side that are this process's."""
  return side._replace(rows=side.rows[row_shares.of_this_process(len(side.rows))])


def exchange(lists: HostLists) -> HostLists:
  """Merges what every process has for all rows of y; gives this process's share of the rows."""
  count, k = lists.values.shape
  merged = [Lists(np.empty((0, k), np.float32), np.empty((0, k), np.int32))]
  for process in range(jax.process_count()):
    part = (array[row_shares.of_process(count, process)] for array in lists)
    for values, rows in zip(*map(row_shares.gather_blocks, part), strict=True):
      if process == jax.process_index():
        merged.append(best_of_processes(values, rows))
  return Lists(*(np.concatenate(arrays) for arrays in zip(*merged, strict=True)))


def best_of_processes(values: np.ndarray, rows: np.ndarray) -> HostLists:
  """Lists [P, n, k] of P processes, whose rows rise with P -> the k best [n, k].

  Of equal values the lower row comes first.
  """
  k = values.shape[2]
  values, rows = (np.swapaxes(part, 0, 1).reshape(len(part[0]), -1) for part in (values, rows))
  order = np.argsort(-values, axis=1, kind="stable")[:, :k]
  return Lists(*(np.take_along_axis(part, order, axis=1) for part in (values, rows)))


def kernel_class() -> type[OnCpu] | type[OnAccelerators]:
  """How to compare on the local devices."""
  return OnCpu if jax.local_devices()[0].platform == "cpu" else OnAccelerators


def compare_all(
  x: Side,
  y: Side,
  *,
  first: int,
  k: tuple[int, int],
  checkpoint: SearchCheckpoint | None,
  what: str,
  block: tuple[int, int] | None,
) -> tuple[HostLists, HostLists]:
  """The k best of each row of x and of each row of y, by float32 cosines.

  x is this process's share of a side, and `first` the position of its first row there; k is that of
  the rows of x, and that of the rows of y. The other arguments are those of `nearest`.
  """
  make_kernel = kernel_class()
  n, m = len(x.rows), len(y.rows)
  state = checkpoint.load() if checkpoint else None
  done, of_x, of_y = state or (0, empty_lists(n, k[0]), empty_lists(m, k[1]))
  largest, least = block or make_kernel.block_rows(), round_up(max(k), GROUP)
  width = round_up(min(largest[1], power_of_two(m)), least)
  kernel = make_kernel(k, of_y, width=width)
  height = round_up(min(largest[0], power_of_two(n)), kernel.mesh.size * least)
  starts = range(0, m, width)
  total, before = -(-n // height) * len(starts), done // height * len(starts)
  bar = Progress(what, total=total, done=before, unit="block") if what else nullcontext()
  with jax.set_mesh(kernel.mesh), bar as progress:  # not that of a training run that evaluates
    while done < n:
      kernel.begin(x.block(done, height), cut(of_x, done, height), (first + done, first + n))
      for start in starts:
        kernel.compare(y.block(start, width), start)
        if progress:
          progress.advance(1)
      kernel.finish()
      done = min(done + height, n)
      if checkpoint and (done == n or checkpoint.due()):
        kernel.write_columns()
        checkpoint.save(done, of_x, of_y)
  kernel.write_columns()
  return of_x, of_y


def round_up(size: int, multiple: int) -> int:
  """The least multiple of `multiple` that is at least `size`."""
  return -(-size // multiple) * multiple


def power_of_two(size: int) -> int:
  """The least power of two that is at least `size`: sides of many sizes share few programs."""
  return 1 << (size - 1).bit_length()


def rescore(queries: Side, candidates: Side, rows: np.ndarray, *, neighbours: int) -> Neighbours:
  """Compares candidates again in float64.

  Args:
    queries, candidates: N vectors and M vectors.
    rows: int [N, c], the candidates of each query, positions in `candidates.rows`; -1 = none.
    neighbours: k, at most c.

  Returns:
    The k nearest of each query's candidates.
  """
  cosines = np.empty((len(rows), neighbours))
  ranked = np.empty((len(rows), neighbours), np.int64)
  size = max(1, BLOCK_VALUES // (rows.shape[1] * candidates.vectors.shape[1]))
  for start in range(0, len(rows), size):
    block = slice(start, start + size)
    chosen = rows[block].astype(np.int64)
    query = unit(queries.vectors[queries.rows[block]].astype(np.float64))
    candidate = unit(candidates.vectors[candidates.rows[chosen]].astype(np.float64))
    cosine = np.where(chosen < 0, -np.inf, np.einsum("nd,ncd->nc", query, candidate))
    order = np.lexsort((chosen, -cosine))[:, :neighbours]
    cosines[block] = np.take_along_axis(cosine, order, axis=1)
    ranked[block] = np.take_along_axis(chosen, order, axis=1)
  return Neighbours(cosines, ranked)
