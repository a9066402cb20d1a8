"""A text file -> a file of vectors, in pieces: it may be large, and a killed run goes on.

While it grows the file is called OUTPUT.partial, beside OUTPUT.partial.json that says of which text
and which model it is. Whatever was written stays; the last piece, perhaps cut short, is done again.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from etils import epath

from dap_jax.data.readers import text_files
from dap_jax.distributed import multihost
from dap_jax.inference.embedder import Embedder
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json, write_json
from dap_jax.utils.progress import Progress

BLOCK_LINES = 16_384  # sorted by length and encoded together


class LockedError(UserError):
  """Another process is writing here."""


class TextFile(NamedTuple):
  """A text file: its path, the number of its lines, and a digest of them all."""

  path: epath.Path
  lines: int
  digest: str


def examine(path: str) -> TextFile:
  """Reads the file once. Raises UserError: it cannot be read, is not UTF-8, or has no line."""
  digest, count = hashlib.sha256(), 0
  for line in text_files.lines(epath.Path(path)):
    digest.update(line.encode() + b"\n")
    count += 1
  if not count:
    raise UserError(f"{path} is empty: there are no texts to encode")
  return TextFile(epath.Path(path), count, digest.hexdigest())


def write_vectors(source: TextFile, output: str, model: Embedder) -> None:
  """Writes a .npy file: row i is the sentence vector of line i; an empty line is a text too.

  All processes call it, and encode; process 0 writes, and all return when the file is there.

  Args:
    source: the texts.
    output: the file, float32 [N, D]. One that is there is replaced, at the end.
    model: which encodes.

  Raises:
    UserError: OUTPUT.partial is of something else, the disk is full, the text changed meanwhile, or
      a vector is not finite.
  """
  partial = Path(f"{output}.partial")
  identity = {"vectors": model.digest(), "text": source.digest, "lines": source.lines}
  header, row_bytes = npy_header(source.lines, model.width), 4 * model.width
  try:
    done = multihost.of_first(lambda: begin(partial, identity, header=header, row_bytes=row_bytes))
    writes = multihost.is_first()
    with (
      growing(partial, header, size=done * row_bytes) if writes else nullcontext() as file,
      Progress(f"encoding {source.path}", total=source.lines, done=done, unit="line") as progress,
    ):
      texts = itertools.islice(text_files.lines(source.path), done, None)
      while piece := list(itertools.islice(texts, BLOCK_LINES)):
        vectors = model.encode(piece, advance=progress.advance)
        check_finite(vectors, first=done)
        if writes:
          file.write(vectors.tobytes())
          file.flush()
          os.fsync(file.fileno())
        done += len(piece)
    if done != source.lines:
      raise UserError(
        f"{source.path} had {source.lines} lines at first, now {done}: encode it anew"
      )
    if writes:
      partial.replace(output)
      description_of(partial).unlink()
  except OSError as error:
    raise UserError(f"{output} cannot be written: {error}; what is done is kept") from error
  multihost.wait(f"{output} is written")


@contextmanager
def growing(partial: Path, header: bytes, *, size: int) -> Iterator[IO[bytes]]:
  """The partial file, kept from others, open at the end of its first `size` bytes of vectors."""
  with locked(partial, partial, mode="r+b") as file:
    file.write(header)
    file.truncate(len(header) + size)
    file.seek(0, os.SEEK_END)
    yield file


def check_output(output: str, *, source: str) -> None:
  """Raises UserError where the file could not be written, before anything is computed."""
  path = Path(output)
  if path.is_dir() or not path.parent.is_dir():
    raise UserError(f"{output} cannot be written: name a file in a folder that is there")
  if path.exists() and Path(source).exists() and path.samefile(source):
    raise UserError(f"{output} is an input, {source}: name another file for the result")


@contextmanager
def locked(path: Path, what: Path, *, mode: str = "rb") -> Iterator[IO[bytes]]:
  """Opens a file and keeps a second command off it. Raises LockedError, about `what`, for that."""
  with path.open(mode) as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise LockedError(f"{what} is being written by another process: wait for its end") from error
    yield file


def npy_header(rows: int, width: int) -> bytes:
  """What stands before the values in a .npy file of float32 [rows, width]."""
  header = io.BytesIO()
  content = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
  np.lib.format.write_array_header_1_0(header, content)
  return header.getvalue()


def description_of(partial: Path) -> Path:
  """The file that says what a partial file is of."""
  return partial.with_name(f"{partial.name}.json")


def begin(partial: Path, identity: dict[str, Any], *, header: bytes, row_bytes: int) -> int:
  """Makes the partial file or finds it: how many lines are done, in whole pieces."""
  said = description_of(partial)
  if partial.exists() and said.exists():
    if read_json(epath.Path(said)) != identity:
      raise UserError(
        f"{partial} was begun with another text, model or setting: remove it, or choose another"
        " output"
      )
    whole = (partial.stat().st_size - len(header)) // row_bytes
    return max(0, whole // BLOCK_LINES * BLOCK_LINES)
  partial.touch()
  write_json(epath.Path(said), identity)
  return 0


def check_finite(vectors: np.ndarray, *, first: int) -> None:
  """Raises UserError for a vector that is not finite: the model is broken, not the text."""
  bad = np.flatnonzero(~np.isfinite(vectors).all(1))
  if len(bad):
    raise UserError(
      f"the model gives no finite vector for line {first + int(bad[0]) + 1} and"
      f" {len(bad) - 1} more: its weights are damaged or its training diverged"
    )
