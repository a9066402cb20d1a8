"""Rows of an array divided among the processes of a run, and gathered again; numpy in and out.

P processes, N rows: process p has the h = ceil(N / P) rows from p h on; the last ones have fewer.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

BLOCK_BYTES = 64 << 20  # gathered at a time, of all processes together, on every device


def of_process(count: int, process: int) -> slice:
  """The rows of one process."""
  height = -(-count // jax.process_count())
  return slice(min(count, process * height), min(count, (process + 1) * height))


def of_this_process(count: int) -> slice:
  """The rows of this process."""
  return of_process(count, jax.process_index())


def gather_blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
  """Gathers an array of each process, block by block; bits do not change.

  Args:
    rows: [N, ...] of 32 or 64 bits, of one shape and type on all processes.

  Yields:
    [P, n, ...]: the next n rows of every process.
  """
  row_bytes = rows.itemsize * int(np.prod(rows.shape[1:])) * jax.process_count()
  size = max(1, BLOCK_BYTES // max(1, row_bytes))
  for start in range(0, len(rows), size):
    block = np.ascontiguousarray(rows[start : start + size])
    words = block.reshape(len(block), -1).view(np.uint32)  # JAX would make 32 bits of 64
    of_all = multihost_utils.process_allgather(words)
    yield np.ascontiguousarray(of_all).view(rows.dtype).reshape(-1, *block.shape)


def gather(share: np.ndarray, count: int) -> np.ndarray:
  """Each process's rows, `of_this_process(count)` -> all rows [count, ...], on every process."""
  height = -(-count // jax.process_count())
  filled = np.zeros((height, *share.shape[1:]), share.dtype)
  filled[: len(share)] = share
  of_all = np.concatenate(list(gather_blocks(filled)), axis=1)
  return of_all.reshape(-1, *share.shape[1:])[:count]
