"""Texts in batches of a few shapes, longest first, through a network. N texts, L tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from dap_jax.utils.errors import UserError

Network = Callable[[np.ndarray, np.ndarray], jax.Array]  # ids, mask -> outputs [N, ...]

Advance = Callable[[int], None]  # hears, after each batch, how many texts it held

IN_FLIGHT = 2  # batches the device may be behind, so that it never waits for the host


class Batch(NamedTuple):
  """rows: int [n], which sequences these are; ids int32 [N, L] and mask bool [N, L], N >= n."""

  rows: np.ndarray
  ids: np.ndarray
  mask: np.ndarray


def batches(
  sequences: Sequence[Sequence[int]],
  *,
  pad_id: int,
  max_tokens: int,
  batch_size: int,
  full_tokens: int,
  multiple: int,
) -> Iterator[Batch]:
  """Sequences of ids, longest first, so that a batch holds little padding.

  Args:
    sequences: ids, of at most `max_tokens` each.
    pad_id: fills the rest of a row.
    max_tokens: a batch is padded to the next multiple of 16 of its longest, but not beyond this.
    batch_size: N of a batch whose sequences have up to `full_tokens`; of longer ones fewer, since
      attention takes memory as N L^2. The last batch is filled with padding rows.
    full_tokens: see `full_tokens_of_here`.
    multiple: N is a multiple of it, so that a mesh can share it.
  """
  order = np.argsort([-len(ids) for ids in sequences], kind="stable")
  start = 0
  while start < len(order):
    length = min(max_tokens, -(-len(sequences[order[start]]) // 16) * 16)
    size = int(batch_size * min(1.0, (full_tokens / length) ** 2))
    size = max(1, -(-size // multiple)) * multiple
    rows = order[start : start + size]
    ids = np.full((size, length), pad_id, np.int32)
    mask = np.zeros((size, length), bool)
    mask[:, 0] = True  # filling rows have one token, so that their mean is defined
    for row, number in enumerate(rows):
      sequence = sequences[number]
      ids[row, : len(sequence)] = sequence
      mask[row, : len(sequence)] = True
    yield Batch(rows, ids, mask)
    start += size


def full_tokens_of_here() -> int:
  """The length up to which batches are full: a CPU's attention must stay within its caches."""
  return 48 if jax.default_backend() == "cpu" else 256


def outputs(
  sequences: Sequence[Sequence[int]], network: Network, **shapes: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Runs a network over `batches(sequences, **shapes)`: gives rows and what became of them."""
  waiting: deque = deque()
  for batch in batches(sequences, **shapes):
    waiting.append((batch.rows, network(batch.ids, batch.mask)))
    if len(waiting) > IN_FLIGHT:
      yield fetched(*waiting.popleft())
  while waiting:
    yield fetched(*waiting.popleft())


def fetched(rows: np.ndarray, found: jax.Array) -> tuple[np.ndarray, np.ndarray]:
  """Onto the host, without the filling rows."""
  return rows, np.asarray(found)[: len(rows)]


def collect(
  sequences: Sequence[Sequence[int]],
  network: Network,
  *,
  advance: Advance | None = None,
  **shapes: int,
) -> np.ndarray:
  """The network's outputs in the order of `sequences`, float32 [len(sequences), ...].

  Args:
    sequences: ids of each text.
    network: (ids int32 [N, L], mask bool [N, L]) -> [N, ...], the same size in every batch.
    advance: see `Advance`.
    **shapes: see `batches`.
  """
  if not sequences:
    raise UserError("there are no texts to encode: the input is empty")
  found = None
  for rows, values in outputs(sequences, network, **shapes):
    if found is None:
      found = np.empty((len(sequences), *values.shape[1:]), np.float32)
    found[rows] = values
    if advance:
      advance(len(rows))
  return found
