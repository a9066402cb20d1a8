"""Files of texts, for the benchmarks that make a corpus of them."""

from __future__ import annotations

import gzip
import hashlib
import pathlib
from collections.abc import Iterable


def read_columns(path: pathlib.Path) -> list[list[str]]:
  """The columns of a file's lines; an absent file has none."""
  if not path.exists():
    return []
  with gzip.open(path, "rt", encoding="utf-8") as file:
    return [line.rstrip("\n").split("\t") for line in file]


def hash_of(text: str) -> bytes:
  """Sorted by it, texts have a fixed order without meaning."""
  return hashlib.blake2b(text.encode(), digest_size=8).digest()


def write_lines(path: pathlib.Path, rows: Iterable[str]) -> None:
  """Writes a line a row; makes the folder."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
