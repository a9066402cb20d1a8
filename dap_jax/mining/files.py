"""What `mine` reads and keeps: the texts and vectors of both sides, and the work folder of a run.

A text file is read as a stream. Empty lines and lines that repeat an earlier one take no part:
repeated texts are each other's nearest neighbours, which would spoil every margin around them. The
lines that take part are copied into the work folder with an index, so that single lines can be read
again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from etils import epath

from dap_jax.data.readers import text_files
from dap_jax.mining import exact_search
from dap_jax.utils.atomic import replacing
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json, write_json

logger = logging.getLogger(__name__)

BLOCK_ROWS = 8192  # vectors checked at a time
SETTINGS = "settings.json"
NO_BREAKS = str.maketrans("\t\r", "  ")  # tabs and carriage returns would break a row of a table


class Scan(NamedTuple):
  """What one pass over a text file tells.

  Attributes:
    path: the file.
    lines: how many lines it has.
    used: int64 [n], the lines that take part, counted from 0, rising.
    digest: SHA-256 of all its lines.
  """

  path: epath.Path
  lines: int
  used: np.ndarray
  digest: str


def scan(path: str) -> Scan:
  """Finds the lines of a text file that take part; logs how many do not.

  Texts are equal if they differ only in blanks around them. They are compared by 64 bits of BLAKE2:
  among 10 million texts two different ones count as equal with probability 3e-6.

  Raises:
    UserError: the file cannot be read, is not UTF-8, or holds no text.
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
  """The lines that take part, read one by one from the file that `copy_texts` wrote."""

  def __init__(self, path: Path):
    self.path = path
    self._offsets = np.load(offsets_of(path), mmap_mode="r")

  def read(self, places: Sequence[int]) -> list[str]:
    """The texts at some places among the lines that take part."""
    texts = []
    with self.path.open("rb") as file:
      for place in places:
        start, end = self._offsets[place : place + 2].tolist()
        file.seek(start)
        texts.append(file.read(end - start - 1).decode())
    return texts


def offsets_of(path: Path) -> Path:
  """The file with the offset of each line of a copy."""
  return path.with_name(f"{path.name}.offsets")


def copy_texts(scanned: Scan, path: Path) -> None:
  """Writes the lines that take part to `path`, and their offsets beside it, unless it is there."""
  if path.exists():
    return
  with (
    replacing(path) as temporary,
    temporary.open("wb") as file,
    offsets_of(path).open("wb") as index,
  ):
    np.save(index, np.fromiter(copy_lines(scanned, file), np.int64, len(scanned.used) + 1))


def copy_lines(scanned: Scan, file: BinaryIO) -> Iterator[int]:
  """Writes the lines that take part; yields the offset of each, and the length of the file."""
  used, offset = iter(scanned.used.tolist()), 0
  next_used = next(used)
  yield offset
  for number, line in enumerate(text_files.lines(scanned.path)):
    if number == next_used:
      offset += file.write(line.encode() + b"\n")
      yield offset
      next_used = next(used, None)


class Half(NamedTuple):
  """The source or the target, ready for the search: N sentences that take part.

  Attributes:
    name: source or target.
    side: the vectors, and which of them take part.
    lines: int [N], the line of each sentence in the input, counted from 0.
    texts: the copied texts; None where only vectors are there.
    places: int [N], the place of each sentence in `texts`.
  """

  name: str
  side: exact_search.Side
  lines: np.ndarray
  texts: Texts | None
  places: np.ndarray

  def read(self, rows: np.ndarray) -> list[str]:
    """The texts of some of the N sentences, fit for a column of a table; "" without texts."""
    if self.texts is None:
      return [""] * len(rows)
    return [text.translate(NO_BREAKS) for text in self.texts.read(self.places[rows])]


def open_vectors(path: str, *, flag: str) -> np.ndarray:
  """A .npy file as a memory map. Raises UserError where it is not float16 or float32 [N, D]."""
  try:
    vectors = np.load(path, mmap_mode="r", allow_pickle=False)
  except (OSError, ValueError, EOFError) as error:
    raise UserError(f"--{flag}={path} cannot be read as a .npy file: {error}") from error
  if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or 0 in vectors.shape:
    content = list(vectors.shape) if isinstance(vectors, np.ndarray) else "an archive"
    raise UserError(f"--{flag}={path} holds {content}: expected vectors [N, D]")
  if vectors.dtype not in (np.float16, np.float32):
    raise UserError(f"--{flag}={path} is {vectors.dtype}: expected float32 or float16")
  return vectors


def usable(vectors: np.ndarray, rows: np.ndarray, lines: np.ndarray, *, name: str) -> np.ndarray:
  """Which of n rows of `vectors` have a direction, bool [n]; logs how many do not.

  Args:
    vectors: floats [*, D].
    rows: int [n], the rows in question.
    lines: int [n], their lines in the input, counted from 0, for the log.
    name: of the side, for the log.

  Raises:
    UserError: no row has a direction.
  """
  good = np.empty(len(rows), bool)
  for start in range(0, len(rows), BLOCK_ROWS):
    block = vectors[rows[start : start + BLOCK_ROWS]]
    largest = np.abs(block).max(1)  # NaN where the row holds one
    good[start : start + BLOCK_ROWS] = np.isfinite(largest) & (
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


def file_digest(path: str) -> str:
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
    elif any(not file.name.startswith(".") for file in folder.iterdir()):
      raise UserError(f"{folder} is no work folder of mine: remove it, or use another --output")
    else:
      write_json(path, settings)
  except OSError as error:
    raise UserError(f"--output={output} cannot be written: {error}") from error


def remove(folder: Path) -> None:
  """Removes a work folder; if this is interrupted, the rest does not look like a work folder."""
  renamed = folder.with_name(f"{folder.name}.done")
  shutil.rmtree(renamed, ignore_errors=True)
  folder.rename(renamed)
  shutil.rmtree(renamed)


def release(folder: Path) -> None:
  """Removes a work folder unless it holds work: vectors, or the state of a search."""
  if not any(folder.glob("*.np[yz]*")):
    remove(folder)
