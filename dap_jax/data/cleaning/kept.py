"""The staged pairs that are kept so far: by shares of the range of a hash, or by their numbers.

A share is what is in memory at a time; how many there are changes no result.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dap_jax.data.cleaning.pairs import Pair
from dap_jax.data.cleaning.stage import Stage, pairs_in

KEPT = 0  # the state of a pair that nothing has left out
AT_A_TIME = 1 << 22  # about how many hashes are compared at a time


def shares(
  stage: Stage, states: np.ndarray, column: str, *others: str, band: int | None = None
) -> Iterator[tuple[np.ndarray, ...]]:
  """The kept pairs by rising shares of the range of a hash.

  Args:
    stage, states: the pairs.
    column: of `pairs.RECORD` or, with a number of a band, of `stage.BAND`: the hash.
    *others: further columns.
    band: read the stage's hashes of this band, and not its records.

  Yields:
    The numbers of the pairs, rising; their hashes; and each of the other columns.
  """
  for share in range(share_count(stage)):
    numbers: list[np.ndarray] = []
    found: dict[str, list[np.ndarray]] = {name: [] for name in (column, *others)}
    for first, records in stage.blocks(band):
      there = states[first : first + len(records)] == KEPT
      there &= in_share(records[column], share, share_count(stage))
      (places,) = there.nonzero()
      numbers.append(places + first)
      for name, parts in found.items():  # not the records: each has all columns
        parts.append(records[name][places])
    yield np.concatenate(numbers), *map(np.concatenate, found.values())


def share_count(stage: Stage) -> int:
  """Into how many shares the range of the hashes is divided, a power of two."""
  return 1 << (max(0, stage.size - 1) // AT_A_TIME).bit_length()


def in_share(hashes: np.ndarray, share: int, count: int) -> np.ndarray:
  """bool [n], whether each hash is in one of `count` shares."""
  if count == 1:
    return np.ones(len(hashes), bool)
  return hashes >> np.uint64(65 - count.bit_length()) == share


def numbers_with(
  stage: Stage, states: np.ndarray, column: str, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """The numbers of the kept pairs that have one of some values, rising, and these values."""
  numbers, found = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
  for first, records in stage.blocks():
    there = (states[first : first + len(records)] == KEPT) & np.isin(records[column], values)
    numbers.append(there.nonzero()[0] + first)
    found.append(records[column][there])
  return np.concatenate(numbers), np.concatenate(found)


def pairs_at(stage: Stage, numbers: np.ndarray) -> Iterator[Pair]:
  """The pairs of some numbers, rising."""
  for batch in stage.batches():
    begin, end = np.searchsorted(numbers, [batch.first, batch.first + batch.pairs.num_rows])
    if begin < end:
      yield from pairs_in(batch.pairs, numbers[begin:end] - batch.first)


def least_hashes(
  stage: Stage, states: np.ndarray, *, at_most: int, others: np.ndarray
) -> tuple[int | None, int]:
  """The hash of the last of so many different texts with the least ones.

  Args:
    stage, states: whose kept pairs' texts count.
    at_most: how many.
    others: uint64 [n], hashes of further texts.

  Returns:
    The hash, or None where there are no more texts than that; and the number of different texts.
  """
  limit, count = None, 0
  pivots = shares(stage, states, "pivot_text")
  translations = shares(stage, states, "translation_text")
  for share, ((_, x), (_, y)) in enumerate(zip(pivots, translations, strict=True)):
    more = others[in_share(others, share, share_count(stage))]
    different = np.unique(np.concatenate([x, y, more]))
    if limit is None and count + len(different) > at_most:
      limit = int(different[at_most - count - 1]) if at_most > count else int(different[0]) - 1
    count += len(different)
  return limit, count
