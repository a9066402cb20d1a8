"""Sequences of numbers that are appended by name, on the disk until they become named arrays."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

BLOCK = 1 << 20  # numbers that are in memory at a time
DTYPE = np.dtype(np.int32)  # of the numbers, and of how many a sequence has


class RawSequences:
  """Two raw files for each name: the numbers, and how many of them each sequence has.

  Args:
    folder: of the files; made anew.
  """

  def __init__(self, folder: Path):
    self._folder = folder
    self._numbers: dict[str, int] = {}
    self._sizes: dict[str, tuple[int, int]] = {}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

  def append(self, name: str, ids: np.ndarray, counts: np.ndarray) -> None:
    """Appends sequences: their numbers int32, and int32 how many each has."""
    number = self._numbers.setdefault(name, len(self._numbers))
    for kind, values in (("ids", ids), ("counts", counts)):
      with (self._folder / f"{number}.{kind}").open("ab") as file:
        file.write(values.tobytes())
    before = self._sizes.get(name, (0, 0))
    self._sizes[name] = before[0] + len(ids), before[1] + len(counts)

  def size(self, name: str) -> tuple[int, int]:
    """How many numbers, and how many sequences."""
    return self._sizes.get(name, (0, 0))

  def ids(self, name: str) -> Iterator[np.ndarray]:
    """All numbers in parts, at least one."""
    yield np.zeros(0, DTYPE)
    yield from self._parts(name, "ids")

  def offsets(self, name: str) -> Iterator[np.ndarray]:
    """int64 [sequences + 1] in parts: where each sequence begins, and the last one ends."""
    yield np.zeros(1, np.int64)
    total = 0
    for counts in self._parts(name, "counts"):
      yield total + np.cumsum(counts, dtype=np.int64)
      total += int(counts.sum(dtype=np.int64))

  def _parts(self, name: str, kind: str) -> Iterable[np.ndarray]:
    if name not in self._numbers:
      return
    with (self._folder / f"{self._numbers[name]}.{kind}").open("rb") as file:
      while len(part := np.fromfile(file, DTYPE, BLOCK)):
        yield part
