"""Rows shared by the processes of a run and put together again; numpy in, numpy out.

P processes, N rows: process p has the rows from p h, h = ceil(N / P), the last one fewer.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

PIECE_BYTES = 64 << 20  # of all processes together, on every device at once


def of_process(count: int, process: int) -> slice:
  """The rows of one process."""
  height = -(-count // jax.process_count())
  return slice(min(count, process * height), min(count, (process + 1) * height))


def own(count: int) -> slice:
  """The rows of this process."""
  return of_process(count, jax.process_index())


def gathered(rows: np.ndarray) -> Iterator[np.ndarray]:
  """The same rows of all processes, in pieces [P, n, ...]; bits do not change.

  Args:
    rows: [N, ...] of 32 or 64 bits, of one shape and type on all processes.
  """
  row_bytes = rows.itemsize * int(np.prod(rows.shape[1:])) * jax.process_count()
  size = max(1, PIECE_BYTES // max(1, row_bytes))
  for start in range(0, len(rows), size):
    piece = np.ascontiguousarray(rows[start : start + size])
    words = piece.reshape(len(piece), -1).view(np.uint32)  # JAX would make 32 bits of 64
    found = multihost_utils.process_allgather(words)
    yield np.ascontiguousarray(found).view(rows.dtype).reshape(-1, *piece.shape)


def whole(share: np.ndarray, count: int) -> np.ndarray:
  """Each process's own rows [own(count), ...] -> all [count, ...], on every process."""
  height = -(-count // jax.process_count())
  filled = np.zeros((height, *share.shape[1:]), share.dtype)
  filled[: len(share)] = share
  found = np.concatenate(list(gathered(filled)), axis=1)
  return found.reshape(-1, *share.shape[1:])[:count]
