"""Text files: UTF-8, plain or `.gz`, one line a text; and the languages that their names tell.

Only "\\n" and "\\r\\n" end a line. Errors name the file and the line.
"""

from __future__ import annotations

import gzip
import itertools
import os
import re
import zlib
from collections.abc import Iterator

from etils import epath

from dap_jax.utils.errors import UserError

MAX_LINE = 1 << 20  # bytes; what is longer is no line of text but another kind of file
# How files of other kinds begin -> what they are, and what to do with them.
BINARY = {
  b"PK\x03\x04": ("a zip archive or a spreadsheet", "unpack it, or save it as tab-separated text"),
  b"PAR1": ("a Parquet file", "write its columns as tab-separated text"),
  b"\x1f\x8b": ("compressed with gzip", "give it a name that ends in .gz"),
  b"BZh": ("compressed with bzip2", "unpack it"),
  b"\xfd7zXZ": ("compressed with xz", "unpack it"),
  b"\x28\xb5\x2f\xfd": ("compressed with Zstandard", "unpack it"),
  b"%PDF": ("a PDF document", "extract its text"),
  b"\xff\xfe": ("UTF-16", "convert it, e.g. with `iconv -f UTF-16 -t UTF-8`"),
  b"\xfe\xff": ("UTF-16", "convert it, e.g. with `iconv -f UTF-16 -t UTF-8`"),
  b"SQLite format 3": ("a database", "export its rows as tab-separated text"),
}

# de, pt-BR, zh_Hant, sr@latin, eng_Latn; not what files of splits are called: dev, en-train.
SPLIT_NAME = r"(?:train|training|dev|devtest|valid|validation|test|eval)"
LANGUAGE = re.compile(
  rf"(?!{SPLIT_NAME}(?:[-_@]|$)|.*[-_@]{SPLIT_NAME}$)[a-z]{{2,3}}([-_@][A-Za-z0-9]+)*"
)


def lines(path: epath.Path) -> Iterator[str]:
  """The lines of a UTF-8 file, also `.gz`, without line ends or a byte-order mark.

  Raises:
    UserError: the file cannot be read, is not UTF-8 text, or a line is longer than `MAX_LINE`.
  """
  check_regular(path)
  try:
    with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
      for number in itertools.count(1):
        line = file.readline(MAX_LINE + 1)
        if not line:
          return
        if number == 1:
          check_beginning(line, path=path, alone=not line.endswith(b"\n"))
        if len(line) > MAX_LINE:
          raise UserError(f"{path}:{number}: a line of over {MAX_LINE:,} bytes is no sentence")
        try:
          text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
          raise UserError(
            f"{path}:{number}: not UTF-8 ({error.reason}); convert it, e.g. with iconv"
          ) from error
        yield text.removesuffix("\n").removesuffix("\r")
  except (OSError, EOFError, zlib.error) as error:
    raise UserError(f"cannot read {path}: {error}") from error


def check_regular(path: epath.Path) -> None:
  """Raises UserError for a folder, a pipe or a device: files are read more than once."""
  if "://" not in str(path) and os.path.exists(path) and not os.path.isfile(path):
    kind = "a folder" if os.path.isdir(path) else "a pipe or a device: write it into a file first"
    raise UserError(f"cannot read {path}: expected a file, it is {kind}")


def check_beginning(line: bytes, *, path: epath.Path, alone: bool) -> None:
  """Raises UserError where a file's first line tells that it is no text, or how it ends lines.

  Args:
    line: its bytes.
    path: the file.
    alone: whether the file has no further line.
  """
  for magic, (kind, cure) in BINARY.items():
    if line.startswith(magic):
      raise UserError(f"cannot read {path}: it is {kind}, expected UTF-8 text: {cure}")
  if alone and b"\r" in line.rstrip(b"\r"):
    raise UserError(
      f"{path}: its lines end in \\r alone, as on old Macs: convert it, e.g. with `tr '\\r' '\\n'`"
    )
