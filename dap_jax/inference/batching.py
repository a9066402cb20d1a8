"""Runs texts through a network in batches of few shapes, the longest first. N texts, L tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from dap_jax.utils.errors import UserError

Network = Callable[[np.ndarray, np.ndarray], jax.Array]  # ids, mask -> outputs [N, ...]

Sequences = Sequence[list[int]] | Sequence[np.ndarray]  # the ids of each text
# Texts that are tokenised at a time: with its pieces and their places the tokenizer's result takes
# 12 kB a text of 60 tokens, the array of its ids, which is kept, 0.4.
TOKENISED = 1024

Advance = Callable[[int], None]  # called after each batch with the number of its texts

IN_FLIGHT = 2  # batches that the device may lag behind, so that it never waits for the host


class Batch(NamedTuple):
  """Sequences padded to one shape, and rows of padding beyond them.

  Attributes:
    rows: int [n], which sequences these are.
    ids: int32 [N, L], N >= n.
    mask: bool [N, L], true at real tokens.
  """

  rows: np.ndarray
  ids: np.ndarray
  mask: np.ndarray


def tokenised(texts: Sequence, encode: Callable[[Sequence], list[list[int]]]) -> list[np.ndarray]:
  """The ids of each text, int32; `encode` makes those of some texts."""
  parts = (encode(texts[start : start + TOKENISED]) for start in range(0, len(texts), TOKENISED))
  return [np.array(ids, np.int32) for part in parts for ids in part]


def batches(
  sequences: Sequences,
  *,
  pad_id: int,
  max_tokens: int,
  batch_size: int,
  full_tokens: int,
  multiple: int,
) -> Iterator[Batch]:
  """Batches of sequences of similar lengths, the longest first, so that there is little padding.

  Args:
    sequences: ids, at most `max_tokens` of each text.
    pad_id: fills the rest of a row.
    max_tokens: L is the length of the longest sequence of the batch, rounded up to a multiple of
      16, but at most this.
    batch_size: N where L is at most `full_tokens`. Batches of longer sequences are smaller, since
      the memory of attention grows as N L^2. The last batch is filled up with rows of padding.
    full_tokens: see `full_tokens_of_backend`.
    multiple: N is a multiple of it, so that it can be sharded.
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
    mask[:, 0] = True  # rows of padding have one token, so that their mean is defined
    for row, number in enumerate(rows):
      sequence = sequences[number]
      ids[row, : len(sequence)] = sequence
      mask[row, : len(sequence)] = True
    yield Batch(rows, ids, mask)
    start += size


def full_tokens_of_backend() -> int:
  """The length up to which batches are full; less on a CPU, whose caches must hold attention."""
  return 48 if jax.default_backend() == "cpu" else 256


def outputs(
  sequences: Sequences, network: Network, **shapes: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Runs a network over `batches(sequences, **shapes)`.

  Yields:
    For each batch the rows of `sequences` in it, int [n], and their outputs [n, ...].
  """
  waiting: deque[tuple[np.ndarray, jax.Array]] = deque()
  for batch in batches(sequences, **shapes):
    waiting.append((batch.rows, network(batch.ids, batch.mask)))
    if len(waiting) > IN_FLIGHT:
      yield to_host(*waiting.popleft())
  while waiting:
    yield to_host(*waiting.popleft())


def to_host(rows: np.ndarray, values: jax.Array) -> tuple[np.ndarray, np.ndarray]:
  """Rows [n] and outputs [N, ...] -> rows and outputs [n, ...] on the host."""
  return rows, np.asarray(values)[: len(rows)]


def collect(
  sequences: Sequences,
  network: Network,
  *,
  advance: Advance | None = None,
  **shapes: int,
) -> np.ndarray:
  """The network's outputs in the order of `sequences`, float32 [len(sequences), ...].

  Args:
    sequences: ids of each text.
    network: ids int32 [N, L], mask bool [N, L] -> [N, ...], of the same size in every batch.
    advance: see `Advance`.
    **shapes: see `batches`.

  Raises:
    UserError: there are no sequences.
  """
  if not sequences:
    raise UserError("there are no texts to encode: the input is empty")
  collected: np.ndarray | None = None
  for rows, values in outputs(sequences, network, **shapes):
    if collected is None:
      collected = np.empty((len(sequences), *values.shape[1:]), np.float32)
    collected[rows] = values
    if advance:
      advance(len(rows))
  assert collected is not None
  return collected
