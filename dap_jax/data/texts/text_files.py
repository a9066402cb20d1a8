"""Text files: UTF-8, one line a text, plain or compressed; and the languages their names tell.

Compressed files, `.gz`, `.bz2`, `.xz`, `.zst` and the one text in a `.zip`, are told by their
content, whatever they are called, and unpacked as they are read: neither a folder nor memory fills.
Only "\\n" and "\\r\\n" end a line. Errors name the file and the line.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import itertools
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, BinaryIO, NamedTuple

from etils import epath

from dap_jax.utils.errors import UserError

MAX_LINE = 1 << 20  # bytes; what is longer is no line of text but another kind of file
_max_line: ContextVar[int] = ContextVar("max_line", default=MAX_LINE)
XZ_MEMORY = (
  160 << 20
)  # bytes that unpacking .xz may take: `xz -9` needs 65 MB, `--lzma2` any number
PIECE = 1 << 16  # bytes of a compressed file that are read at a time
# How files of other kinds begin -> what they are, and what to do with them.
BINARY = {
  b"PAR1": ("a Parquet file", "as a corpus it is data.format='parquet'"),
  b"PK\x03\x04": ("a zip archive in a compressed file", "unpack one of them"),
  b"\x1f\x8b": ("compressed twice", "unpack it once"),
  b"\xfd7zXZ": ("compressed twice", "unpack it once"),
  b"\x28\xb5\x2f\xfd": ("compressed twice", "unpack it once"),
  b"%PDF": ("a PDF document", "extract its text"),
  b"\xff\xfe": ("UTF-16", "convert it, e.g. with `iconv -f UTF-16 -t UTF-8`"),
  b"\xfe\xff": ("UTF-16", "convert it, e.g. with `iconv -f UTF-16 -t UTF-8`"),
  b"SQLite format 3": ("a database", "export its rows as tab-separated text"),
}
# What libraries raise for a damaged archive; zipfile a RuntimeError for one with a password, and
# UnicodeDecodeError for a damaged name in it.
DAMAGED = (
  *(OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile),
  *(RuntimeError, UnicodeDecodeError),
)
# Members of a zip that are no text of the corpus: OPUS's notes and scores, what systems leave.
NOT_TEXTS = re.compile(r"(.*/)?(README|LICEN[CS]E|\.)[^/]*|.*\.scores|__MACOSX/.*|.*/", re.I)
COMPRESSED = re.compile(r"\.(gz|bz2|xz|zst|zip)$")  # how a compressed file's name ends

# de, pt-BR, zh_Hant, sr@latin, eng_Latn; not what files of splits are called: dev, en-train.
SPLIT_NAME = r"(?:train|training|dev|devtest|valid|validation|test|eval)"
LANGUAGE = re.compile(
  rf"(?!{SPLIT_NAME}(?:[-_@]|$)|.*[-_@]{SPLIT_NAME}$)[a-z]{{2,3}}([-_@][A-Za-z0-9]+)*"
)


@contextlib.contextmanager
def line_limit(size: int) -> Iterator[None]:
  """A context in which files are read whose lines have up to so many bytes, not `MAX_LINE`."""
  token = _max_line.set(size)
  try:
    yield
  finally:
    _max_line.reset(token)


def too_long(place: str, kind: str, cure: str = "") -> UserError:
  """The error of a line, or what stands for one, that is longer than the limit."""
  cure = cure or "is it another kind of file? If not, raise data.max_line_bytes"
  return UserError(f"{place}: a {kind} of over {max_line():,} bytes is no sentence: {cure}")


def max_line() -> int:
  """How many bytes a line may have."""
  return _max_line.get()


def lines(path: epath.Path) -> Iterator[str]:
  """The lines of a UTF-8 file, also a compressed one, without line ends or a byte-order mark.

  Raises:
    UserError: the file cannot be read, is not UTF-8 text, a line is longer than `max_line()`, or a
      zip has several texts.
  """
  with opened(path) as file:
    yield from decoded(file, name=str(path))


class Member(NamedTuple):
  """A file in a zip."""

  archive: epath.Path
  name: str

  def __str__(self) -> str:
    return f"{self.archive}/{repr(self.name)[1:-1]}"  # a name may have line ends in it


def members(path: epath.Path) -> list[Member]:
  """The texts in a zip: all but notes such as README. Raises UserError if it is damaged."""
  check_regular(path)
  with damage_in(path), path.open("rb") as raw, zipfile.ZipFile(raw) as archive:
    return [Member(path, name) for name in texts_among(archive.namelist())]


def member_lines(member: Member) -> Iterator[str]:
  """The lines of a text in a zip, as `lines`; no name in it is used as a path."""
  path, name = member
  with damage_in(path), path.open("rb") as raw, zipfile.ZipFile(raw).open(name) as file:
    yield from decoded(buffered(file), name=str(member))


def texts_among(names: Sequence[str]) -> list[str]:
  """The members of a zip that are texts of a corpus."""
  return [name for name in names if not NOT_TEXTS.fullmatch(name)]


def decoded(file: BinaryIO, *, name: str) -> Iterator[str]:
  """The lines of an open file; `name` is for errors."""
  longest = max_line()
  for number in itertools.count(1):
    line = file.readline(longest + 1)
    if not line:
      return
    if number == 1:
      check_beginning(line, name=name, alone=not line.endswith(b"\n"))
    if len(line) > longest:
      raise too_long(f"{name}:{number}", "line")
    try:
      text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
      raise UserError(
        f"{name}:{number}: not UTF-8 ({error.reason}); convert it, e.g. with iconv"
      ) from error
    yield text.removesuffix("\n").removesuffix("\r")


@contextlib.contextmanager
def damage_in(path: epath.Path) -> Iterator[None]:
  """A context in which a file that cannot be read or unpacked becomes a `UserError`."""
  try:
    yield
  except DAMAGED as error:
    reason = str(error).partition("\n")[0] or type(error).__name__
    if "emory" in reason:  # of what unpacks .xz or .zst: the file asks for too much of it
      reason += ": compress it anew, with `xz -9` or `zstd -19` at most"
    raise UserError(f"cannot read {path}: {reason}") from error


@contextlib.contextmanager
def opened(path: epath.Path) -> Iterator[BinaryIO]:
  """A file's bytes, unpacked as they are read. Raises UserError as `lines` does."""
  check_regular(path)
  with damage_in(path), contextlib.ExitStack() as stack:
    raw = stack.enter_context(path.open("rb"))
    magic = raw.read(10)
    raw.seek(0)
    yield stack.enter_context(unpacked(raw, magic=magic, path=path))


def unpacked(raw: BinaryIO, *, magic: bytes, path: epath.Path) -> BinaryIO:
  """What unpacks a file that begins with `magic`; the file itself if it is not compressed."""
  if magic.startswith(b"\x1f\x8b"):
    return buffered(gzip.open(raw))
  if magic.startswith(b"BZh") and magic[4:] == b"1AY&SY":
    return buffered(bz2.open(raw))
  if magic.startswith(b"\xfd7zXZ"):
    return buffered(XzFile(raw))
  if magic.startswith(b"\x28\xb5\x2f\xfd"):
    import pyarrow  # imported here: few files are of this kind

    # Windows of over 128 MB (`zstd --long=28` and above) are refused.
    return buffered(pyarrow.CompressedInputStream(raw, "zstd"))
  if magic.startswith(b"PK\x03\x04"):
    archive = zipfile.ZipFile(raw)
    return buffered(archive.open(only_text(archive.namelist(), path=path)))
  return raw


def buffered(stream: Any) -> BinaryIO:
  """A stream whose lines are read some times faster than what unpacks it would give them."""
  return io.BufferedReader(stream, PIECE)


def only_text(names: Sequence[str], *, path: epath.Path) -> str:
  """The member of a zip that is its text. Raises UserError if there are none or several."""
  if "[Content_Types].xml" in names:
    raise UserError(
      f"cannot read {path}: it is a spreadsheet or an office document, expected UTF-8 text: as a"
      " corpus a spreadsheet is data.format='xlsx'"
    )
  texts = texts_among(names)
  if len(texts) != 1:
    found = ", ".join(map(repr, texts[:5])) + (", ..." if len(texts) > 5 else "") or "none"
    raise UserError(
      f"cannot read {path}: expected one text in it, found {found}: unpack it (the zips of OPUS"
      " are data.format='moses' with data.arguments.paths)"
    )
  return texts[0]


class XzFile(io.RawIOBase):
  """The unpacked bytes of an .xz file of one or several streams.

  `lzma.open` has no limit of memory, and a file may ask for a dictionary of 4 GB.
  """

  def __init__(self, raw: BinaryIO):
    self._raw = raw
    self._stream: lzma.LZMADecompressor | None = None  # None between streams
    self._rest = b""  # compressed bytes that were read and not used

  def readable(self) -> bool:
    return True

  def readinto(self, buffer: Any) -> int:
    """Raises lzma.LZMAError or EOFError if the file is damaged, cut, or needs too much memory."""
    data = b""
    while not data:
      if self._stream is None or self._stream.needs_input:
        self._rest = self._rest or self._raw.read(PIECE)
        if not self._rest and self._stream is None:
          return 0
        if not self._rest:
          raise EOFError("it ends in the middle: was it downloaded to the end?")
      if self._stream is None:
        self._rest = self._rest.lstrip(b"\0")  # what fills up the stream before
        if not self._rest:
          continue
        self._stream = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
      data = self._stream.decompress(self._rest, len(buffer))
      self._rest = self._stream.unused_data
      if self._stream.eof:
        self._stream = None
    buffer[: len(data)] = data
    return len(data)


def check_regular(path: epath.Path) -> None:
  """Raises UserError for a folder, a pipe or a device: files are read more than once."""
  if "://" not in str(path) and os.path.exists(path) and not os.path.isfile(path):
    kind = "a folder" if os.path.isdir(path) else "a pipe or a device: write it into a file first"
    raise UserError(f"cannot read {path}: expected a file, it is {kind}")


def check_beginning(line: bytes, *, name: str, alone: bool) -> None:
  """Raises UserError where a file's first line tells that it is no text, or how it ends lines.

  Args:
    line: its bytes.
    name: the file's, for errors.
    alone: whether the file has no further line.
  """
  for magic, (kind, cure) in BINARY.items():
    if line.startswith(magic):
      raise UserError(f"cannot read {name}: it is {kind}, expected UTF-8 text: {cure}")
  if alone and b"\r" in line.rstrip(b"\r"):
    raise UserError(
      f"{name}: its lines end in \\r alone, as on old Macs: convert it, e.g. with `tr '\\r' '\\n'`"
    )
