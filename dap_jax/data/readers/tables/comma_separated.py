"""CSV files: RFC 4180, with a header; commas, semicolons, tabs or bars between the fields."""

from __future__ import annotations

import csv as csv_module
import itertools
from collections.abc import Iterator, Sequence

from etils import epath

from dap_jax.data.readers.arguments import expand, names
from dap_jax.data.readers.row import Row
from dap_jax.data.readers.tab_separated import quoted_fields
from dap_jax.data.readers.tables.columns import Wanted, wanted
from dap_jax.data.readers.tables.table_rows import read
from dap_jax.data.texts.text_files import lines
from dap_jax.utils.errors import UserError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SNIFFED = 50  # lines that tell the delimiter


def csv(
  *,
  pivot: str,
  paths: Sequence[str],
  languages: Sequence[str] = (),
  columns: Sequence[int] | Sequence[str] = (),
  delimiter: str = "",
) -> Iterator[Row]:
  """CSV files, as spreadsheets save them; `tables/columns.py` says which columns are read.

  Args:
    pivot: the pivot's language code.
    paths: files, folders or glob patterns.
    languages: of the columns, if neither the files' names nor their first lines name them.
    columns: of the texts: numbers, counted from 1, or names of the first line.
    delimiter: what separates fields, one of , ; | and the tab; "" for the one that fits.
  """
  if delimiter not in ("", *DELIMITERS):
    raise UserError(
      f"data.arguments.delimiter={delimiter!r}: expected one of {', '.join(map(repr, DELIMITERS))}"
    )
  want = wanted(pivot=pivot, languages=languages, columns=columns)
  for path in expand(names(paths, "paths"), extension="csv"):
    yield from csv_rows(path, want=want, delimiter=delimiter)


def csv_rows(path: epath.Path, *, want: Wanted, delimiter: str = "") -> Iterator[Row]:
  """The rows of a file, as `csv`."""
  delimiter = delimiter or sniff(path)
  separator = DELIMITERS[delimiter] + " (data.arguments.delimiter)"
  records = quoted_fields(path, delimiter=delimiter)
  yield from read(records, path=path, want=want, separator=separator)


def sniff(path: epath.Path) -> str:
  """The delimiter by which most of a file's first records have as many fields as the first one.

  Raises:
    UserError: by all of them, records have one field.
  """
  sample = [f"{line}\n" for line in itertools.islice(lines(path), SNIFFED) if line.strip()]
  scores = {}
  for delimiter in DELIMITERS:
    widths = []
    try:
      for record in csv_module.reader(sample, delimiter=delimiter):
        widths.append(len(record))
    except csv_module.Error:  # an unclosed quote; the reader says so
      pass
    if widths and widths[0] > 1:
      scores[delimiter] = widths.count(widths[0]) / len(widths)
  if not sample:
    return ","
  if not scores:
    raise UserError(
      f"{path}:1: one column, whether {', '.join(DELIMITERS.values())} separate them: set"
      " data.arguments.delimiter, or data.format to what the file is"
    )
  return max(scores, key=lambda delimiter: scores[delimiter])
