"""Excel's .xlsx files: a sheet, row by row."""

from __future__ import annotations

import datetime
import itertools
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from etils import epath

from dap_jax.data.readers.arguments import expand, names
from dap_jax.data.readers.row import Row
from dap_jax.data.readers.tables.columns import wanted
from dap_jax.data.readers.tables.table_rows import read
from dap_jax.data.texts.text_files import check_regular, damage_in, max_line, too_long
from dap_jax.utils.errors import UserError, reading

MOST_ROWS = 1 << 20  # of a sheet, by the format
MOST_COLUMNS = 256  # in which texts are looked for
MOST_BYTES = 1 << 29  # of a sheet's shared texts, which are held in memory
BOMB = 200  # times that a large part of the file may shrink in a zip; Excel's shrink 20 times


def xlsx(
  *,
  pivot: str,
  paths: Sequence[str],
  languages: Sequence[str] = (),
  columns: Sequence[int] | Sequence[str] = (),
  sheet: str = "",
) -> Iterator[Row]:
  """Excel's .xlsx files; `tables/columns.py` says which columns are read. A cell may be empty.

  Args:
    pivot: the pivot's language code.
    paths: files, folders or glob patterns.
    languages: of the columns, if neither the files' names nor their first rows name them.
    columns: of the texts: numbers, counted from 1 (A), or names in the first row.
    sheet: its name; "" for the first one.
  """
  want = wanted(pivot=pivot, languages=languages, columns=columns)
  for path in expand(names(paths, "paths"), extension="xlsx"):
    check_regular(path)
    with path.open("rb") as raw:
      yield from read(cells(raw, path=path, sheet=sheet), path=path, want=want)


def cells(raw: BinaryIO, *, path: epath.Path, sheet: str) -> Iterator[tuple[int, list[Any]]]:
  """The number and the values of each row that is not empty.

  Raises:
    UserError: the file is damaged or no workbook, has no such sheet, or would fill the memory.
  """
  with damage_in(path), zipfile.ZipFile(raw) as archive:
    check_parts(archive, path=path)
  import openpyxl  # imported here: few corpora are of this kind

  with reading(f"cannot read {path} as an Excel workbook (.xlsx)"):
    book = openpyxl.load_workbook(raw, read_only=True, data_only=True, keep_links=False)
    sheets = {each.title: each for each in book.worksheets}
    if not sheets or (sheet and sheet not in sheets):
      raise UserError(
        f"{path}: data.arguments.sheet={sheet!r}: no such sheet, it has"
        f" {', '.join(map(repr, sheets)) or 'none'}"
      )
    chosen = sheets[sheet] if sheet else next(iter(sheets.values()))
    chosen.reset_dimensions()  # other programs than Excel state wrong ones
    rows = chosen.iter_rows(values_only=True)
    for number, row in enumerate(itertools.islice(rows, MOST_ROWS + 1), 1):
      if number > MOST_ROWS:
        raise UserError(f"{path}: over {MOST_ROWS:,} rows, more than a sheet has")
      values = [value_of(value) for value in row[:MOST_COLUMNS]]
      while values and values[-1] is None:
        values.pop()
      if values:
        yield number, values


def value_of(value: Any) -> Any:
  """A cell's value as a person sees it: a text, or None for an empty cell."""
  if value is None or value == "":
    return None
  if isinstance(value, str):
    return value.replace("_x000D_", "\r")  # how Excel writes the returns of Windows
  if isinstance(value, float) and value.is_integer():
    return str(int(value))
  if isinstance(value, datetime.datetime | datetime.date | datetime.time):
    return value.isoformat()
  return str(value)


def check_parts(archive: zipfile.ZipFile, *, path: epath.Path) -> None:
  """Raises UserError if a part would fill the memory: shrunk too well, or without an end."""
  if "xl/workbook.xml" not in archive.namelist():
    raise UserError(f"{path}: no Excel workbook (.xlsx): save it as one, or as CSV")
  for part in archive.infolist():
    large = part.file_size > 16 << 20 and part.filename.endswith(".xml")
    if large and part.file_size > BOMB * max(part.compress_size, 1):
      raise UserError(f"{path}: {part.filename!r} unpacks to {part.file_size:,} bytes: a zip bomb")
    if large and part.filename.endswith("sharedStrings.xml") and part.file_size > MOST_BYTES:
      raise UserError(f"{path}: {part.file_size:,} bytes of texts: save it as CSV")
    if large:
      with archive.open(part) as file:
        while piece := file.read(max_line()):
          if len(piece) == max_line() and b"<" not in piece:
            raise too_long(str(path), "cell")
