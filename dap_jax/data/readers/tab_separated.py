"""Tab-separated files of pairs, and lines of fields that a character separates."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from etils import epath

from dap_jax.data.readers.arguments import expand, names
from dap_jax.data.readers.row import Row
from dap_jax.data.readers.tables.columns import wanted
from dap_jax.data.readers.tables.table_rows import read
from dap_jax.data.texts.text_files import lines, max_line, too_long
from dap_jax.utils.errors import UserError


def tsv(
  *,
  pivot: str,
  paths: Sequence[str],
  languages: Sequence[str] = (),
  negatives: int = 0,
  columns: Sequence[int] | Sequence[str] = (),
  quoted: bool = False,
) -> Iterator[Row]:
  """Tab-separated texts; other columns (scores, flags) are ignored, and blank lines skipped.

  With `negatives`, the columns after the texts are hard negatives of the pair, as in the triplets
  of sentence-transformers (anchor, positive, negative, ...): texts in the pivot's language that are
  no translation. They may be blank or absent.

  Without `columns`, a first line of names tells the columns of texts, as in `tables/columns.py`;
  else they are the first two. Their languages come from that line (`en<TAB>de`), else from
  `languages`, else from the file's name (`de-en.tsv`, `corpus.en-de.tsv.gz`).

  Args:
    pivot: the pivot's language code.
    paths: files, folders or glob patterns.
    languages: of the columns, if neither the files' names nor their first lines name them.
    negatives: how many columns of hard negatives there are.
    columns: of the texts: numbers, counted from 1, or names of the first line.
    quoted: fields may be in double quotes, with tabs and line ends in them, as spreadsheets write;
      else a quote is a character of the text, as in corpora.
  """
  if type(quoted) is not bool:
    raise UserError(f"data.arguments.quoted={quoted!r}: expected True or False")
  want = wanted(pivot=pivot, languages=languages, columns=columns, negatives=negatives)
  for path in expand(names(paths, "paths")):
    fields = quoted_fields(path, delimiter="\t") if quoted else plain_fields(path)
    yield from read(fields, path=path, want=want, separator="tabs", first_two=True)


def plain_fields(path: epath.Path) -> Iterator[tuple[int, list[str]]]:
  """The number and the fields of each line between tabs; blank lines are skipped."""
  for number, line in enumerate(lines(path), 1):
    if line and not line.isspace():
      yield number, line.split("\t")


def quoted_fields(path: epath.Path, *, delimiter: str) -> Iterator[tuple[int, list[str]]]:
  """The records of RFC 4180, each with the number of its first line; blank ones are skipped.

  Raises:
    UserError: a quote is not closed, or stands in the middle of a field that begins with one.
  """
  start, size = 1, 0  # of the record that is read: its first line, its characters so far

  def texts() -> Iterator[str]:
    nonlocal size
    for line in lines(path):
      size += len(line)
      if size > max_line():
        raise too_long(f"{path}:{start}", "record", cure)
      yield line + "\n"

  cure = "is a quote not closed? If quotes are characters of the texts, use data.format='tsv'"
  records = csv.reader(texts(), delimiter=delimiter, strict=True)
  try:
    for record in records:
      if any(map(str.strip, record)):
        yield start, record
      start, size = records.line_num + 1, 0
  except csv.Error as error:
    raise UserError(f"{path}:{start}: {error}: {cure}") from error
