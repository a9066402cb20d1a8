"""The batches of fine-tuning, each a function of the seed and the step alone.

N sequences, B of a batch, L tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

# Lengths of batches: few, since the step is compiled for each; a quarter is padding on average.
LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)


class Sequences(NamedTuple):
  """Tokenised examples.

  Attributes:
    ids: of each sequence.
    labels: of each: a class; a class for each token, -1 where there is none; or an answer's first
      and last token. Empty where nothing is known.
    types: token types of each sequence; None where all are 0.
  """

  ids: Sequence[list[int]]
  labels: Sequence[Any]
  types: Sequence[Sequence[int]] | None = None


class Batches(NamedTuple):
  """Labelled sequences in an order that is drawn anew for every epoch.

  Attributes:
    sequences: the examples, each at most `max_tokens` long.
    batch_size: B. One batch of an epoch has what is left.
    max_tokens: the longest L.
    pad_id: fills the rest of a row.
    seed: of the order.
    pool: so many batches at a time are sorted by length and cut anew, so that a batch holds
      sequences of like length; 1 = a batch is drawn of all.
  """

  sequences: Sequences
  batch_size: int
  max_tokens: int
  pad_id: int
  seed: int
  pool: int = 1

  @property
  def steps_of_epoch(self) -> int:
    """How many batches hold every example once."""
    return -(-len(self.sequences.ids) // self.batch_size)

  def rows(self, step: int) -> np.ndarray:
    """Which examples make batch `step`: int [B], or fewer in one batch of an epoch."""
    epoch, place = divmod(step, self.steps_of_epoch)
    lengths = tuple(map(len, self.sequences.ids)) if self.pool > 1 else ()
    count = len(self.sequences.ids)
    return order_of_epoch(self.seed, epoch, count, self.batch_size, self.pool, lengths)[place]

  def batch(self, step: int) -> dict[str, np.ndarray]:
    """`ids` int32 [B, 1, L], `mask` bool [B, 1, L], `label` int32, and `types` as the ids.

    Rows that only fill the batch have one token, so that their mean is defined, and the label -1.
    """
    rows = self.rows(step)
    length = padded_length(max(len(self.sequences.ids[row]) for row in rows), self.max_tokens)
    shape = self.batch_size, 1, length
    batch = {"ids": np.full(shape, self.pad_id, np.int32), "mask": np.zeros(shape, bool)}
    batch["mask"][:, :, 0] = True
    first = self.sequences.labels[0]
    of_tokens = isinstance(first, list)
    ends = (length,) if of_tokens else np.shape(first)
    batch["label"] = np.full((self.batch_size, *ends), -1, np.int32)
    if self.sequences.types is not None:
      batch["types"] = np.zeros(shape, np.int32)
    for place, row in enumerate(rows):
      ids, label = self.sequences.ids[row], self.sequences.labels[row]
      batch["ids"][place, 0, : len(ids)] = ids
      batch["mask"][place, 0, : len(ids)] = True
      batch["label"][place, ... if not of_tokens else slice(len(label))] = label
      if self.sequences.types is not None:
        batch["types"][place, 0, : len(ids)] = self.sequences.types[row]
    return batch


def padded_length(longest: int, max_tokens: int) -> int:
  """The L of a batch: the next of `LENGTHS`, and at most `max_tokens`."""
  return min(max_tokens, next((length for length in LENGTHS if length >= longest), longest))


@functools.lru_cache(maxsize=2)
def order_of_epoch(
  seed: int, epoch: int, count: int, batch_size: int, pool: int, lengths: tuple[int, ...]
) -> list[np.ndarray]:
  """The rows of each batch of an epoch, see `Batches`; of `count` examples each occurs once."""
  rng = np.random.default_rng([seed, epoch])
  order = rng.permutation(count)
  if pool > 1:
    of_rows, parts = np.asarray(lengths), []
    for start in range(0, count, pool * batch_size):
      part = order[start : start + pool * batch_size]
      parts.append(part[np.argsort(of_rows[part], kind="stable")])
    order = np.concatenate(parts)
  batches = [order[start : start + batch_size] for start in range(0, count, batch_size)]
  return [batches[i] for i in rng.permutation(len(batches))] if pool > 1 else batches
