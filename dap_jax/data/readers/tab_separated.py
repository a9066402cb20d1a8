"""Tab-separated files of pairs: which columns hold the texts, and in which languages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from etils import epath

from dap_jax.data.readers.arguments import expand, names, stem
from dap_jax.data.readers.row import NEGATIVE, Row
from dap_jax.data.texts.text_files import LANGUAGE, SPLIT_NAME, lines
from dap_jax.utils.errors import UserError

# Common names of a pair's columns that do not say which language is in them.
NUMERIC = re.compile(r"[-+\d.,:/%eE\s]*\d[-+\d.,:/%eE\s]*")  # a score, an id, a date
NUMERIC_LINES = 20  # how many of a file's first lines are asked whether they hold texts
GENERIC = {"source", "target", "src", "tgt", "sentence1", "sentence2", "anchor", "positive"}


def tsv(
  *,
  pivot: str,
  paths: Sequence[str],
  languages: Sequence[str] = (),
  negatives: int = 0,
  columns: Sequence[int] = (1, 2),
) -> Iterator[Row]:
  """Tab-separated pairs: two columns, the first two by default; others (scores, flags) are ignored.

  Blank lines are skipped. With `negatives`, the columns after these two are hard negatives of the
  pair, as in the triplets of sentence-transformers (anchor, positive, negative, ...): texts in the
  pivot's language that are no translation. They may be blank or absent.

  The languages of a file's columns come from `languages`, else from its name (`de-en.tsv`,
  `corpus.en-de.tsv.gz`), else from a first line that names them (`en<TAB>de`). A first line of
  common column names (`source<TAB>target`, ...) is skipped; if it says which column is English
  (`non_english<TAB>english`, `source<TAB>en`), it decides the order.

  Args:
    pivot: the pivot's language code.
    paths: files, folders or glob patterns.
    languages: of the two columns, if neither the files' names nor their first lines name them.
    negatives: how many columns of hard negatives there are.
    columns: of the two texts, counted from 1.
  """
  if type(negatives) is not int or negatives < 0:
    raise UserError(f"data.arguments.negatives={negatives!r}: expected 0 or more columns")
  if len(columns) != 2 or not all(type(column) is int and column > 0 for column in columns):
    raise UserError(f"data.arguments.columns={columns!r}: expected two numbers, counted from 1")
  places = [column - 1 for column in columns]
  places += range(max(columns), max(columns) + negatives)
  codes = names(languages, "languages") if languages else None
  for path in expand(names(paths, "paths")):
    expected = codes or named_pair(path, pivot=pivot)
    first = fields(next(lines(path), ""), places)
    sides, header = columns_of(first, path=path, pivot=pivot, expected=expected)
    keys = (*sides, *(f"{NEGATIVE}{i + 1}" for i in range(negatives)))
    numbered = enumerate(lines(path), 1)
    rows = (
      (number, line.split("\t"))
      for number, line in numbered
      if line.strip() and not (header and number == 1)
    )
    for number, row in text_rows(rows, path=path, places=places):
      yield Row(dict(zip(keys, row, strict=False)), where=f"{path}:{number}")


def fields(line: str, places: Sequence[int]) -> list[str]:
  """Those of a line's columns that are asked for and there, counted from 0."""
  columns = line.split("\t")
  return [columns[place] for place in places if place < len(columns)]


def text_rows(
  rows: Iterable[tuple[int, Sequence[str]]], *, path: epath.Path, places: Sequence[int]
) -> Iterator[tuple[int, list[str]]]:
  """Numbered lines -> numbers, and the columns at `places`; the first two hold the texts.

  Raises:
    UserError: a line has too few columns, or of the first lines nine in ten hold a number where a
      text should be: a score or an id.
  """
  lines_read, numeric = 0, [0, 0]
  for number, columns in rows:
    if max(places[:2]) >= len(columns):
      count = "one column" if len(columns) == 1 else f"{len(columns)} columns"
      raise UserError(
        f"{path}:{number}: {count}, expected texts in columns {places[0] + 1} and {places[1] + 1},"
        " separated by tabs"
      )
    row = [columns[place] for place in places if place < len(columns)]
    if lines_read < NUMERIC_LINES:
      lines_read += 1
      for side in range(2):
        numeric[side] += NUMERIC.fullmatch(row[side]) is not None
        if lines_read >= NUMERIC_LINES // 2 and numeric[side] >= 0.9 * lines_read:
          raise UserError(
            f"{path}:{number}: column {places[side] + 1} holds numbers ({row[side]!r}), expected"
            " texts: set data.arguments.columns to the two columns of texts, counted from 1"
          )
    yield number, row


def named_pair(path: epath.Path, *, pivot: str) -> tuple[str, str] | None:
  """`corpus.de-en.tsv` -> ("de", "en"), None where the name does not end in such a pair."""
  name = re.sub(rf"[-_.]{SPLIT_NAME}$", "", stem(path)).split(".")[-1]
  first, last = name.removesuffix(f"-{pivot}"), name.removeprefix(f"{pivot}-")
  if first != name and LANGUAGE.fullmatch(first):
    return first, pivot
  return (pivot, last) if last != name and LANGUAGE.fullmatch(last) else None


def columns_of(
  first: Sequence[str], *, path: epath.Path, pivot: str, expected: Sequence[str] | None
) -> tuple[Sequence[str], bool]:
  """The languages of the two columns, and whether the first line is a header.

  Args:
    first: the two columns in the file's first line.
    path: the file, for errors.
    pivot: the pivot's language code.
    expected: the languages by the arguments or the file's name, or None.

  Raises:
    UserError: the languages are unknown, or are not two with the pivot among them.
  """
  head = tuple(column.strip().lower() for column in first[:2])
  if expected is not None and (len(set(expected)) != 2 or pivot not in expected):
    raise UserError(
      f"data.arguments.languages={tuple(expected)}: expected two, one of them data.pivot={pivot!r}"
    )
  if expected is None:
    if pivot.lower() in head and len(set(head)) == 2 and all(map(LANGUAGE.fullmatch, head)):
      return head, True
    raise UserError(
      f"{path}: of which languages? Name it like de-{pivot}.tsv, let its first line be"
      f" 'de<TAB>{pivot}', or set data.arguments.languages"
    )
  other = next(code for code in expected if code != pivot)
  sides = {"english": pivot, "non_english": other, pivot.lower(): pivot, other.lower(): other}
  if len(head) != 2 or not all(column in sides or column in GENERIC for column in head):
    return expected, False
  left, right = map(sides.get, head)
  if left is None and right is None:
    return expected, True
  # One named column is enough: the files of the released DAP program have `source<TAB>en`.
  return ((pivot, other) if left == pivot or right == other else (other, pivot)), True
