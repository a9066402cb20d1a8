"""Parquet files: columns by name, read in batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from dap_jax.data.readers.arguments import expand, names
from dap_jax.data.readers.row import Row
from dap_jax.data.readers.tables.columns import Wanted, find, wanted
from dap_jax.data.readers.tables.table_rows import SAMPLE, read
from dap_jax.data.texts.text_files import check_regular
from dap_jax.utils.errors import UserError, reading

BATCH = 1000  # rows that are held at a time
BUFFER = 1 << 20  # bytes of each column that are read at a time


def parquet(
  *,
  pivot: str,
  paths: Sequence[str],
  languages: Sequence[str] = (),
  columns: Sequence[int] | Sequence[str] = (),
) -> Iterator[Row]:
  """Parquet files; `tables/columns.py` says which columns are read. A value may be null.

  Args:
    pivot: the pivot's language code.
    paths: files, folders or glob patterns.
    languages: of the columns, if neither their names nor the files' tell them.
    columns: of the texts: names, or numbers, counted from 1.
  """
  want = wanted(pivot=pivot, languages=languages, columns=columns)
  for path in expand(names(paths, "paths"), extension="parquet"):
    yield from parquet_rows(path, want=want)


def parquet_rows(path: epath.Path, *, want: Wanted) -> Iterator[Row]:
  """The rows of a file, as `parquet`."""
  check_regular(path)
  import pyarrow.parquet  # imported here: few corpora are of this kind

  with path.open("rb") as raw:
    with reading(f"cannot read {path} as Parquet"):
      # Buffered beforehand, all that was read would stay in memory until the file's end.
      file = pyarrow.parquet.ParquetFile(raw, buffer_size=BUFFER, pre_buffer=False)
    heads = [field.name for field in file.schema_arrow if may_be_texts(field.type)]
    if want.columns and not want.has_names():  # numbers count the columns that are no texts, too
      want = dataclasses.replace(want, columns=numbered(file.schema_arrow.names, want, path=path))
    sample = [row for _, row in values(file, heads, path=path, most=SAMPLE)]
    used = [heads[i] for i in find(heads, sample, path=path, want=want, named=True).columns()]
    if want.columns:
      used = list(dict.fromkeys(map(str, want.columns)))
    yield from read(values(file, used, path=path), path=path, want=want, heads=used)


def numbered(heads: Sequence[str], want: Wanted, *, path: epath.Path) -> tuple[str, ...]:
  """The names of columns that are given by number. Raises UserError if one is too high."""
  for column in want.columns:
    if int(column) > len(heads):
      raise UserError(
        f"{path}: data.arguments.columns: no column {column}, it has {len(heads)}:"
        f" {', '.join(map(repr, heads))[:300]}"
      )
  return tuple(heads[int(column) - 1] for column in want.columns)


def may_be_texts(kind: Any) -> bool:
  """Whether an Arrow type holds what a row is made of: no lists, pictures or times."""
  from pyarrow import types

  if types.is_dictionary(kind):
    kind = kind.value_type
  if types.is_struct(kind):
    return all(may_be_texts(field.type) for field in kind)
  texts = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
  numbers = types.is_integer(kind) or types.is_floating(kind)
  return bool(texts or numbers or types.is_boolean(kind) or types.is_null(kind))


def values(
  file: Any, heads: Sequence[str], *, path: epath.Path, most: int | None = None
) -> Iterator[tuple[int, tuple[Any, ...]]]:
  """The number, from 1, and the values of each row, or of the first ones.

  Raises:
    UserError: the file is damaged.
  """
  number = 0
  with reading(f"cannot read {path} as Parquet"):
    for batch in file.iter_batches(most or BATCH, columns=list(heads), use_threads=False):
      columns = [batch.column(name).to_pylist() for name in heads]
      for row in zip(*columns, strict=True):
        number += 1
        yield number, row
        if number == most:
          return
