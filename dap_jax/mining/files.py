"""What `mine` reads and keeps: one side's texts and vectors, and the work folder of a run.

A text file is read as a stream. Its lines without text and those that repeat an earlier one take no
part: repeated texts are each other's nearest, which would spoil every margin around them. What
takes part is copied into the work folder with an index, so that single lines can be read again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from dap_jax.data.readers import text_files
from dap_jax.mining import exact_search
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json, write_json

logger = logging.getLogger(__name__)

PIECE_ROWS = 8192
SETTINGS = "settings.json"
BREAKS = str.maketrans("\t\r", "  ")  # what would break a row of a table


class Scan(NamedTuple):
  """A text file, read once.

  Attributes:
    path: where it lies.
    lines: how many it has.
    used: int64 [n], the numbers from 0 of the lines that take part, rising.
    digest: of all its lines.
  """

  path: epath.Path
  lines: int
  used: np.ndarray
  digest: str


def scan(path: str) -> Scan:
  """Which lines of a text file take part; says how many do not.

  Equal texts are told by 64 bits of BLAKE2: two different ones among 10 million are taken for equal
  with probability 3e-6. Blanks around a text do not count.

  Raises:
    UserError: it cannot be read, is not UTF-8, or holds no text.
  """
  whole, hashes, numbers = hashlib.sha256(), array("Q"), array("q")
  lines = 0
  for line in text_files.lines(epath.Path(path)):
    data = line.encode()
    whole.update(data + b"\n")
    if text := data.strip():
      hashes.append(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()))
      numbers.append(lines)
    lines += 1
  if not numbers:
    raise UserError(f"{path} holds no text: expected a UTF-8 file with a sentence a line")
  first = np.sort(np.unique(np.frombuffer(hashes, np.uint64), return_index=True)[1])
  used = np.frombuffer(numbers, np.int64)[first]
  for count, what in ((lines - len(numbers), "empty"), (len(numbers) - len(used), "repeated")):
    if count:
      logger.info("%s: %d %s of %d lines left out", path, count, what, lines)
  return Scan(epath.Path(path), lines, used, whole.hexdigest())


class Texts:
  """The lines that take part, in a file of their own that `copy_texts` made; gives single ones."""

  def __init__(self, path: Path):
    self.path = path
    self._offsets = np.load(offsets_of(path), mmap_mode="r")

  def read(self, places: Sequence[int]) -> list[str]:
    """The texts of some places among the lines that take part."""
    found = []
    with self.path.open("rb") as file:
      for place in places:
        start, end = self._offsets[place : place + 2].tolist()
        file.seek(start)
        found.append(file.read(end - start - 1).decode())
    return found


def offsets_of(path: Path) -> Path:
  """The file that says where each line of a copy begins."""
  return path.with_name(f"{path.name}.offsets")


def copy_texts(scanned: Scan, path: Path) -> None:
  """Makes the file of the lines that take part, if it is not there, and the one of its offsets."""
  if path.exists():
    return
  temporary = path.with_name(f"{path.name}.tmp")
  with temporary.open("wb") as file, offsets_of(path).open("wb") as index:
    np.save(index, np.fromiter(copy(scanned, file), np.int64, count=len(scanned.used) + 1))
  temporary.replace(path)


def copy(scanned: Scan, file) -> Iterator[int]:
  """Writes the lines that take part; gives where each begins, and where the last ends."""
  used, place = iter(scanned.used.tolist()), 0
  wanted = next(used)
  yield place
  for number, line in enumerate(text_files.lines(scanned.path)):
    if number == wanted:
      place += file.write(line.encode() + b"\n")
      yield place
      wanted = next(used, None)


class Half(NamedTuple):
  """One of the two inputs, ready for the search.

  Attributes:
    name: source or target.
    side: its vectors, and which of them take part.
    lines: int [N], the line of each one that takes part, from 0.
    texts, places: where the texts are, None if there are none, and int [N], their places there.
  """

  name: str
  side: exact_search.Side
  lines: np.ndarray
  texts: Texts | None
  places: np.ndarray

  def read(self, rows: np.ndarray) -> list[str]:
    """The texts of some of the N, fit for a column of a table; "" where there are none."""
    if self.texts is None:
      return [""] * len(rows)
    return [text.translate(BREAKS) for text in self.texts.read(self.places[rows])]


def open_vectors(path: str, *, flag: str) -> np.ndarray:
  """A .npy file as a memory map. Raises UserError: it is none of float16 or float32 [N, D]."""
  try:
    vectors = np.load(path, mmap_mode="r", allow_pickle=False)
  except (OSError, ValueError, EOFError) as error:
    raise UserError(f"--{flag}={path} cannot be read as a .npy file: {error}") from error
  if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or 0 in vectors.shape:
    said = list(vectors.shape) if isinstance(vectors, np.ndarray) else "an archive"
    raise UserError(f"--{flag}={path} holds {said}: expected vectors [N, D]")
  if vectors.dtype not in (np.float16, np.float32):
    raise UserError(f"--{flag}={path} is {vectors.dtype}: expected float32 or float16")
  return vectors


def usable(vectors: np.ndarray, rows: np.ndarray, lines: np.ndarray, *, name: str) -> np.ndarray:
  """Which of n rows of `vectors` have a direction, bool [n]; says which do not.

  Args:
    vectors: [*, D].
    rows, lines: int [n], their rows there and, for what is said, their lines from 0.
    name: of the side.

  Raises:
    UserError: none has.
  """
  good = np.empty(len(rows), bool)
  for start in range(0, len(rows), PIECE_ROWS):
    piece = vectors[rows[start : start + PIECE_ROWS]]
    largest = np.abs(piece).max(1)  # NaN where there is one
    good[start : start + PIECE_ROWS] = np.isfinite(largest) & (
      largest >= np.finfo(np.float32).smallest_normal
    )
  bad = np.flatnonzero(~good)
  if len(bad) == len(rows):
    raise UserError(f"{name}: every vector is 0 or not finite; make the vectors anew")
  if len(bad):
    logger.warning(
      "%s: %d of %d vectors are 0 or not finite and left out, the first that of line %d",
      name,
      len(bad),
      len(rows),
      lines[bad[0]] + 1,
    )
  return good


def digest(path: str) -> str:
  """SHA-256 of a file."""
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def claim(folder: Path, settings: Mapping[str, Any], *, output: Path) -> None:
  """Makes the work folder these settings', or finds that it is.

  Raises:
    UserError: it cannot be written, or is another command's.
  """
  if output.is_dir():
    raise UserError(f"--output={output} is a folder: name the .tsv file to write")
  settings = json.loads(json.dumps(settings))  # as in the file
  path = epath.Path(folder) / SETTINGS
  try:
    folder.mkdir(exist_ok=True)
    if path.exists():
      theirs = read_json(path)
      for key in sorted({*theirs, *settings}):
        if theirs.get(key) != settings.get(key):
          raise UserError(
            f"{folder} is of a command with {key}={theirs.get(key)!r} that did not finish, this one"
            f" has {settings.get(key)!r}: use the same to go on, another --output, or remove it"
          )
      logger.info("%s is there: what was done goes on", folder)
    elif {file.name for file in folder.iterdir()} - {f"{SETTINGS}.tmp"}:
      raise UserError(f"{folder} is no work folder of mine: remove it, or use another --output")
    else:
      write_json(path, settings)
  except OSError as error:
    raise UserError(f"--output={output} cannot be written: {error}") from error


def remove(folder: Path) -> None:
  """Removes a work folder; killed in the middle, it leaves nothing that looks like one."""
  rest = folder.with_name(f"{folder.name}.done")
  shutil.rmtree(rest, ignore_errors=True)
  folder.rename(rest)
  shutil.rmtree(rest)


def release(folder: Path) -> None:
  """Removes a work folder in which nothing lies that took long: vectors, or a search's state."""
  if not any(folder.glob("*.np[yz]*")):
    remove(folder)
