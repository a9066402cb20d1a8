"""The best so far of every row of a side: the lists that a search fills, on host or device."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import jax
import numpy as np

ArrayT = TypeVar("ArrayT", np.ndarray, jax.Array)  # on the host, or on the devices


class Lists(NamedTuple, Generic[ArrayT]):
  """The best so far: values float32 [*, k] falling, -inf where empty; their rows int32 [*, k]."""

  values: ArrayT
  rows: ArrayT


DeviceLists = Lists[jax.Array]
HostLists = Lists[np.ndarray]


def empty_lists(count: int, k: int) -> HostLists:
  """Lists of `count` rows with nothing in them, on the host."""
  return Lists(np.full((count, k), -np.inf, np.float32), np.zeros((count, k), np.int32))


def cut(lists: HostLists, start: int, size: int) -> HostLists:
  """Views of at most `size` rows of the lists, from `start` on: what is written there stays."""
  return Lists(*(array[start : start + size] for array in lists))


def fill_up(lists: HostLists, size: int) -> HostLists:
  """The lists and empty ones behind them, `size` in all."""
  rest = empty_lists(size - len(lists.values), lists.values.shape[1])
  return Lists(*(np.concatenate(both) for both in zip(lists, rest, strict=True)))
