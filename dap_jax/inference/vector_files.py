"""Encodes a text file of any size into a file of vectors, block by block; a killed run continues.

While it grows the file is called OUTPUT.partial, and OUTPUT.partial.json beside it identifies text
and model. When the command runs again, it keeps all whole blocks and encodes the rest.
"""

from __future__ import annotations

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

from dap_jax.data.texts import text_files
from dap_jax.distributed import multihost
from dap_jax.inference import partial_files
from dap_jax.inference.embedder import Embedder
from dap_jax.utils.errors import NotFiniteError, UserError
from dap_jax.utils.locks import locked
from dap_jax.utils.progress import Progress

BLOCK_LINES = 16_384  # sorted by length and encoded together


class TextFile(NamedTuple):
  """A text file: its path, the number of its lines, and the SHA-256 digest of all lines."""

  path: epath.Path
  lines: int
  digest: str


def examine(path: str) -> TextFile:
  """Reads a file once. Raises UserError where it cannot be read, is not UTF-8, or is empty."""
  digest, count = hashlib.sha256(), 0
  for line in text_files.lines(epath.Path(path)):
    digest.update(line.encode() + b"\n")
    count += 1
  if not count:
    raise UserError(f"{path} is empty: there are no texts to encode")
  return TextFile(epath.Path(path), count, digest.hexdigest())


def write_vectors(source: TextFile, output: str, model: Embedder) -> None:
  """Writes a .npy file whose row i is the sentence vector of line i; empty lines are texts too.

  All processes call it and encode together; process 0 writes, and all return once the file is
  complete.

  Args:
    source: the texts.
    output: the file, float32 [N, D]. An existing file is replaced at the end.
    model: encodes.

  Raises:
    UserError: OUTPUT.partial belongs to another text or model, the file cannot be written, or the
      text has changed since `examine` read it.
    NotFiniteError: a vector is not finite.
  """
  partial = partial_files.partial_of(output)
  identity = {"vectors": model.digest(), "text": source.digest, "lines": source.lines}
  header, row_bytes = npy_header(source.lines, model.width), 4 * model.width
  try:
    done = multihost.from_first(
      lambda: begin(partial, identity, header=header, row_bytes=row_bytes)
    )
    writes = multihost.is_first()
    with (
      growing(partial, header, size=done * row_bytes) if writes else nullcontext() as file,
      Progress(f"encoding {source.path}", total=source.lines, done=done, unit="line") as progress,
    ):
      texts = itertools.islice(text_files.lines(source.path), done, None)
      while block := list(itertools.islice(texts, BLOCK_LINES)):
        vectors = model.encode(block, advance=progress.advance)
        check_finite(vectors, first=done)
        if file:
          partial_files.append(file, vectors.tobytes())
        done += len(block)
    if done != source.lines:
      raise UserError(
        f"{source.path} had {source.lines} lines at first, now {done}: encode it again"
      )
    if writes:
      partial_files.finish(partial, output)
  except OSError as error:
    raise UserError(f"{output} cannot be written: {error}; the same command continues") from error
  multihost.wait(f"{output} is written")


def encode_file(texts: Path, output: Path, *, model: Embedder) -> None:
  """See `write_vectors`."""
  write_vectors(examine(str(texts)), str(output), model)


@contextmanager
def growing(partial: Path, header: bytes, *, size: int) -> Iterator[IO[bytes]]:
  """Opens the partial file, locked, with its first `size` bytes of vectors, to append more."""
  with locked(partial, partial, mode="r+b") as file:
    file.write(header)
    file.truncate(len(header) + size)
    file.seek(0, os.SEEK_END)
    yield file


def npy_header(rows: int, width: int) -> bytes:
  """The bytes before the values in a .npy file of float32 [rows, width]."""
  header = io.BytesIO()
  content = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
  np.lib.format.write_array_header_1_0(header, content)
  return header.getvalue()


def begin(partial: Path, identity: dict[str, Any], *, header: bytes, row_bytes: int) -> int:
  """Creates the partial file, or looks how far it is.

  Args:
    partial: the file.
    identity: of text and model, JSON values.
    header: of the .npy file.
    row_bytes: size of a vector.

  Returns:
    How many lines are done, in whole blocks.

  Raises:
    UserError: the partial file has another identity.
  """
  if not partial_files.continues(partial, identity):
    return 0
  whole = (partial.stat().st_size - len(header)) // row_bytes
  return max(0, whole // BLOCK_LINES * BLOCK_LINES)


def check_finite(vectors: np.ndarray, *, first: int) -> None:
  """Raises NotFiniteError for vectors with NaN or infinity; `first`: the line of row 0, from 0."""
  bad = np.flatnonzero(~np.isfinite(vectors).all(1))
  if len(bad):
    raise NotFiniteError(
      f"the model gives no finite vector for line {first + int(bad[0]) + 1} and"
      f" {len(bad) - 1} more: its weights are damaged or its training diverged"
    )
