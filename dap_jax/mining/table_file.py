"""Tables that `mine` writes: tab-separated, a row a line, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

BLOCK_ROWS = 65_536  # whose texts are read at a time


def write_table(rows: Iterable[Sequence[str]], path: Path) -> int:
  """Writes rows of fields without tabs or line ends; how many they are."""
  count = 0
  with path.open("w", encoding="utf-8", newline="\n") as file:
    for fields in rows:
      file.write("\t".join(fields) + "\n")
      count += 1
  return count


def blocks(count: int, *, size: int = BLOCK_ROWS) -> Iterator[slice]:
  """Slices of at most `size`, which together are `count` rows."""
  for start in range(0, count, size):
    yield slice(start, min(start + size, count))
