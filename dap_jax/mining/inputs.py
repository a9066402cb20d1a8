"""What `mine` reads: the texts and the vectors of both sides, checked.

A text file is read as a stream. Lines without a letter or digit (empty ones, invisible characters)
take no part, and lines that repeat an earlier one are one sentence with it: repeated texts are each
other's nearest neighbours, which would spoil every margin around them.
"""

from __future__ import annotations

import hashlib
import logging
from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from dap_jax.data.texts import text_files
from dap_jax.data.texts.normal_forms import has_word
from dap_jax.utils.errors import UserError, reading

logger = logging.getLogger(__name__)

BLOCK_ROWS = 8192  # vectors checked at a time


class Scan(NamedTuple):
  """What one pass over a text file tells.

  Attributes:
    path: the file.
    lines: how many lines it has.
    used: int64 [n], the lines that take part, counted from 0, rising.
    places: int32 [lines], for each line its place in `used`, or that of the line which it repeats;
      -1 where it holds no text.
    digest: SHA-256 of all its lines.
  """

  path: epath.Path
  lines: int
  used: np.ndarray
  places: np.ndarray
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
  for lines, line in enumerate(text_files.lines(epath.Path(path)), start=1):
    data = line.encode()
    whole.update(data + b"\n")
    if has_word(line):
      digest = hashlib.blake2b(data.strip(), digest_size=8).digest()
      hashes.append(int.from_bytes(digest))
      numbers.append(lines - 1)
  if not numbers:
    raise UserError(f"{path} holds no text: expected a UTF-8 file with a sentence a line")
  _, first, which = np.unique(
    np.frombuffer(hashes, np.uint64), return_index=True, return_inverse=True
  )
  with_text, order = np.frombuffer(numbers, np.int64), np.argsort(first)
  used = with_text[first[order]]
  places = np.full(lines, -1, np.int32)
  places[with_text] = np.argsort(order)[which]  # the ranks of `first`
  empty, repeated = lines - len(numbers), len(numbers) - len(used)
  if empty:
    logger.info("%s: %d empty of %d lines left out", path, empty, lines)
  if repeated:
    logger.info("%s: %d repeated of %d lines count once", path, repeated, lines)
  return Scan(epath.Path(path), lines, used, places, whole.hexdigest())


class Input(NamedTuple):
  """The source or the target: a text, vectors, or both.

  Attributes:
    name: source or target, the flag of the text; that of the vectors is `NAME_vectors`.
    scan: what one pass over the text tells; None without a text.
    vectors: float [lines, D], of each line; None where the model is to make them.
    vectors_path: the file of the vectors; "" where there is none.
  """

  name: str
  scan: Scan | None
  vectors: np.ndarray | None
  vectors_path: str

  def lines(self) -> tuple[str, int]:
    """The flag with the file that tells how many lines there are, and how many."""
    if self.scan:
      return f"--{self.name}={self.scan.path}", self.scan.lines
    assert self.vectors is not None  # without a text
    return f"--{self.name}_vectors={self.vectors_path}", len(self.vectors)


def read_input(name: str, text_path: str, vectors_path: str) -> Input:
  """Scans the text and opens the vectors of one side; "" where there is none.

  Raises:
    UserError: a file cannot be read, or a line has no row or a row no line.
  """
  flag = f"{name}_vectors"
  vectors = open_vectors(vectors_path, flag=flag) if vectors_path else None
  scanned = scan(text_path) if text_path else None
  if scanned and vectors is not None and scanned.lines != len(vectors):
    raise UserError(
      f"--{flag}={vectors_path} has {len(vectors)} rows, --{name}={text_path}"
      f" {scanned.lines} lines: expected a row a line"
    )
  return Input(name, scanned, vectors, vectors_path)


def common_width(sides: Sequence[Input], *, model: tuple[str, int] | None) -> int:
  """The width of all vectors; 0 if there are none.

  Args:
    sides: what was read.
    model: its name and the width of its vectors, if there is one.

  Raises:
    UserError: they are not equally wide.
  """
  widths = [
    (f"--{side.name}_vectors={side.vectors_path}", side.vectors.shape[1])
    for side in sides
    if side.vectors is not None
  ]
  widths += [(f"--model={model[0]}", model[1])] if model else []
  for other, width in widths[1:]:
    if width != widths[0][1]:
      raise UserError(
        f"{widths[0][0]} are {widths[0][1]} wide, {other} {width}: expected vectors of one model"
      )
  return widths[0][1] if widths else 0


def check_aligned(source: Input, target: Input, *, mode: str) -> None:
  """Raises UserError where the sides have not equally many lines, as the mode wants them."""
  (one, count), (other, others) = source.lines(), target.lines()
  if count != others:
    raise UserError(
      f"{one} has {count} lines, {other} {others}: --mode={mode} takes line i of one as the"
      " translation of line i of the other; of texts that are not aligned --mode=mine finds pairs"
    )


def open_vectors(path: str, *, flag: str) -> np.ndarray:
  """A .npy file as a memory map. Raises UserError where it is not float16 or float32 [N, D]."""
  # Its header is a Python expression, so much can be wrong with it; it may also claim any size.
  with reading(f"--{flag}={path} cannot be read as a .npy file"):
    vectors = np.load(path, mmap_mode="r", allow_pickle=False)
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
    raise UserError(f"{name}: every vector is 0 or not finite; encode the texts again")
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
