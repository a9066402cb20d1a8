"""The work folder of `mine`, OUTPUT.work: it belongs to one command, which it lets continue.

It holds the settings of the command, the lines that take part with an index, so that single lines
can be read again, vectors, and the state of the search.
"""

from __future__ import annotations

import functools
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from etils import epath

from dap_jax.data.texts import text_files
from dap_jax.distributed import multihost
from dap_jax.mining import exact_search
from dap_jax.mining.inputs import Input, Scan, file_digest, usable
from dap_jax.utils.atomic import replacing
from dap_jax.utils.claim import claim_folder, refuse_difference
from dap_jax.utils.errors import UserError, writing

logger = logging.getLogger(__name__)

SETTINGS = "settings.json"
BREAKS = re.compile(r"[\t\r]")  # would break a row of a table


class Texts:
  """The lines that take part, read one by one from the file that `copy_texts` wrote."""

  def __init__(self, path: Path):
    self.path = path
    self._offsets = np.load(offsets_of(path), mmap_mode="r")

  def read(self, places: Sequence[int]) -> list[str]:
    """The texts at some places among the lines that take part."""
    rows = np.asarray(places, np.int64)
    starts, ends = self._offsets[rows], self._offsets[rows + 1]
    texts, here = [], -1
    with self.path.open("rb") as file:
      for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if start != here:  # most texts follow each other
          file.seek(start)
        texts.append(file.read(end - start)[:-1].decode())
        here = end
    return texts

  def __iter__(self) -> Iterator[str]:
    """All of them."""
    with self.path.open("rb") as file:
      for line in file:
        yield line[:-1].decode()


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


class Sentences(NamedTuple):
  """The source or the target, ready for the search: N sentences that take part.

  Attributes:
    name: source or target.
    side: the vectors, and which of them take part.
    lines: int [N], the line of each sentence in the input, counted from 0.
    texts: the copied texts; None where only vectors are there.
    places: int [N], the place of each sentence in `texts`.
    of_lines: int [lines], the sentence of each line of the input: that of the first equal line;
      -1 where it takes no part.
  """

  name: str
  side: exact_search.Side
  lines: np.ndarray
  texts: Texts | None
  places: np.ndarray
  of_lines: np.ndarray

  def read(self, rows: np.ndarray) -> list[str]:
    """The texts of some of the N sentences, fit for a column of a table; "" without texts."""
    if self.texts is None:
      return [""] * len(rows)
    texts = self.texts.read(self.places[rows])
    return [BREAKS.sub(" ", text) if "\t" in text or "\r" in text else text for text in texts]


def prepare(side: Input, folder: Path, *, encode: Callable[[Path, Path], None] | None) -> Sentences:
  """Copies the texts that take part into the work folder; makes vectors where there are none.

  All processes call it.

  Args:
    side: what was read.
    folder: the work folder.
    encode: writes the vectors of a text file to a .npy file; None where `side` has vectors, or
      where none are needed: then they are of width 0, and all sentences take part.
  """
  # The other processes look for a file only after process 0 has written it: some network file
  # systems remember for a while that a file was not there.
  texts = None
  if side.scan:
    path = folder / f"{side.name}.txt"
    if multihost.is_first():
      copy_texts(side.scan, path)
    multihost.wait(f"{path} is there")
    texts = Texts(path)
  lines = side.scan.used if side.scan else np.arange(side.lines()[1])
  places = side.scan.places if side.scan else lines
  if side.vectors is not None:
    vectors, rows = side.vectors, lines
  elif encode and texts:
    path = folder / f"{side.name}.npy"
    if not multihost.from_first(path.exists):
      encode(texts.path, path)
    vectors, rows = np.load(path, mmap_mode="r"), np.arange(len(lines))
  else:
    vectors, rows = np.empty((len(lines), 0), np.float32), np.arange(len(lines))
  if vectors.shape[1]:
    good = usable(vectors, rows, lines, name=f"--{side.name}")
  else:
    good = np.ones(len(lines), bool)
  # Place among the lines that take part -> the sentence; the place -1 takes the last entry.
  sentence = np.append(np.where(good, np.cumsum(good) - 1, -1), -1).astype(np.int32)
  kept = exact_search.Side(vectors, rows[good])
  return Sentences(side.name, kept, lines[good], texts, np.flatnonzero(good), sentence[places])


def settings_of(sides: Sequence[Input], *, models: Sequence[str]) -> dict[str, Any]:
  """Everything the vectors depend on; `models`: the digests of what makes them, if anything does.

  The state of a search is in a file for each k.
  """
  settings = {"model": " ".join(models) or None}
  for side in sides:
    path = side.vectors_path
    settings[side.name] = side.scan.digest if side.scan else None
    settings[f"{side.name}_vectors"] = file_digest(path) if path else None
  return settings


def claim(folder: Path, settings: Mapping[str, Any], *, output: Path) -> None:
  """Makes the work folder that of these settings, or checks that it is.

  Raises:
    UserError: the folder cannot be written, or belongs to another command.
  """
  if output.is_dir():
    raise UserError(f"--output={output} is a folder: name the .tsv file to write")
  if not folder.parent.is_dir():
    raise UserError(f"--output={output} cannot be written: there is no folder {folder.parent}")
  files = [file.name for file in folder.iterdir()] if folder.exists() else []
  continues = SETTINGS in files
  if not continues and any(not name.startswith(".") for name in files):
    raise UserError(f"{folder} is no work folder of mine: remove it, or use another --output")

  check = functools.partial(
    refuse_difference,
    holds=f"{folder} is of an unfinished command",
    this="this one",
    cure="use the same to continue, another --output, or remove the folder",
  )
  with writing(f"--output={output}"):
    claim_folder(epath.Path(folder), settings, file=SETTINGS, check=check)
  if continues:
    logger.info("%s is there: its work continues", folder)


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
