"""The lines of a table -> rows; what is no text is refused."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from dap_jax.data.readers.row import ONE_PLACE, Origins, Row, is_negative
from dap_jax.data.readers.tables.columns import Layout, Wanted, find
from dap_jax.data.readers.tables.languages import code_of
from dap_jax.utils.errors import UserError

SAMPLE = 20  # lines that are looked at before the first row
NUMERIC_LINES = 1000  # how many of a file's first lines are asked whether they hold texts
FEWEST_LINES = 10  # that must be there to say so
NUMBER = re.compile(r"[-+\d.,:/%eE\s]{1,64}")  # a score, an id, a date; with a digit
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: JSON can say it, UTF-8 cannot


def read(
  lines: Iterable[tuple[int, Sequence[Any]]],
  *,
  path: epath.Path,
  want: Wanted,
  heads: list[str] | None = None,
  separator: str = "",
  first_two: bool = False,
) -> Iterator[Row]:
  """A table's lines, each with its number -> rows.

  Args:
    lines: the values of each; the first may be the names of the columns.
    path: the file.
    want: what the config says of the columns.
    heads: the names of the columns where no line is; it may grow while lines are read.
    separator: of columns, in words: a line with too few is a mistake. "": texts may be missing.
    first_two: as `columns.find`.

  Raises:
    UserError: the columns or their languages are not told, a value is no text, or a column of
      texts holds numbers.
  """
  lines = iter(lines)
  if not (sample := list(itertools.islice(lines, SAMPLE))):
    return
  first = [str(value) for value in sample[0][1]] if heads is None else heads
  rows, named = [row for _, row in sample], heads is not None
  layout = find(first, rows, path=path, want=want, named=named, first_two=first_two)
  if heads is None and layout.header:
    del sample[0]
  origins = origins_of(layout, first)
  known, numbers, name = len(first), Numbers(), str(path)
  for number, values in itertools.chain(sample, lines):
    where = f"{name}:{number}"
    if heads is not None and len(heads) > known:
      layout, known = find(heads, [values], path=path, want=want, named=True), len(heads)
      origins = origins_of(layout, heads)
    if separator:
      check_count(values, layout, where=where, separator=separator)
    if numbers.lines < NUMERIC_LINES:
      numbers.add(values)
      if numbers.lines == NUMERIC_LINES:
        numbers.check(layout, where=where, heads=heads)
    yield row_of(values, layout, want=want, where=where, origins=origins)
  if FEWEST_LINES <= numbers.lines < NUMERIC_LINES:
    numbers.check(layout, where=where, heads=heads)


def check_count(values: Sequence[Any], layout: Layout, *, where: str, separator: str) -> None:
  """Raises UserError if a line lacks a column of texts; hard negatives may be absent."""
  if len(values) > layout.last:
    return
  count = "one column" if len(values) == 1 else f"{len(values)} columns"
  places = [place for key, place in layout.places.items() if not is_negative(key)]
  expected = " and ".join(str(place + 1) for place in places or layout.columns())
  expected += f", separated by {separator}"
  raise UserError(f"{where}: {count}, expected texts in columns {expected}")


def origins_of(layout: Layout, heads: Sequence[str]) -> Origins:
  """Language -> the name of its column, or the number where columns have no names."""
  if layout.nested is not None or layout.spelled:
    return ONE_PLACE
  return {
    key: f"column {heads[place]!r}" if layout.header else place + 1
    for key, place in layout.places.items()
    if not is_negative(key) and place < len(heads)
  }


def row_of(
  values: Sequence[Any], layout: Layout, *, want: Wanted, where: str, origins: Origins
) -> Row:
  """A line's texts, without those that are missing; half a character leaves the line out."""
  if layout.nested is not None:
    found = nested_texts(values, layout.nested, want=want, where=where)
  elif layout.spelled:
    named = {}
    for code, place in layout.spelled:
      if max(code, place) < len(values) and isinstance(values[code], str):
        named[values[code]] = values[place]
    found = by_code(named, want=want)
  else:
    count = len(values)
    found = {key: values[place] for key, place in layout.places.items() if place < count}
  texts = {}
  for key, value in found.items():
    if value is not None:
      text = texts[key] = value if type(value) is str else text_of(value, where)
      if not text.isascii() and SURROGATE.search(text):
        return Row({}, where=where, reason="surrogate")
  return Row(texts, where=where, origins=origins)


def nested_texts(
  values: Sequence[Any], place: int, *, want: Wanted, where: str
) -> Mapping[str, Any]:
  """The texts of a column `translation`. Raises UserError for what is no texts by language."""
  texts = values[place] if place < len(values) else None
  if texts is not None and not isinstance(texts, dict):
    raise UserError(f"{where}: translation={texts!r:.60}, expected texts by language")
  return by_code(texts or {}, want=want)


def by_code(texts: Mapping[str, Any], *, want: Wanted) -> dict[str, Any]:
  """Texts by language, under the codes that rows have; only the languages asked for."""
  found: dict[str, Any] = {}
  for name, text in texts.items():
    code = code_of(name, pivot=want.pivot, languages=want.languages, any_code=True)
    if code is not None and (code not in found or code == name):
      found[code] = text
  return found


def text_of(value: Any, where: str) -> str:
  """A value's text: itself, or a number's digits. Raises UserError for anything else."""
  if isinstance(value, str):
    return value
  if isinstance(value, int | float) and not isinstance(value, bool):
    return str(value)
  raise UserError(
    f"{where}: {repr(value)[:60]} is no text: set data.arguments.columns to the columns of texts"
  )


class Numbers:
  """How many values of each column are numbers.

  Attributes:
    lines: how many were counted.
  """

  def __init__(self) -> None:
    self.lines = 0
    self._counts: list[int] = []
    self._last: list[Any] = []  # the last number of each

  def add(self, values: Sequence[Any]) -> None:
    """Counts a line."""
    self.lines += 1
    missing = len(values) - len(self._counts)
    self._counts += [0] * missing
    self._last += [None] * missing
    for place, value in enumerate(values):
      if is_number(value):
        self._counts[place] += 1
        self._last[place] = value

  def check(self, layout: Layout, *, where: str, heads: Sequence[str] | None) -> None:
    """Raises UserError if nine in ten lines have a number where a text should be.

    Args:
      layout: says where texts should be.
      where: the line, for errors.
      heads: the names of the columns; without them they are called by their numbers.
    """
    called = heads or range(1, len(self._counts) + 1)
    numeric = [count >= 0.9 * self.lines for count in self._counts]
    for key, place in layout.places.items():
      if is_negative(key) or place >= len(numeric) or not numeric[place]:
        continue
      texts = [called[place] for place, holds in enumerate(numeric) if not holds][:2]
      cure = f"columns={texts}, say," if len(texts) == 2 else "columns"
      raise UserError(
        f"{where}: column {called[place]!r} holds numbers ({self._last[place]!r}), expected texts:"
        f" set data.arguments.{cure} to the columns of texts"
      )


def is_number(value: Any) -> bool:
  """Whether a value is a number, or a text of nothing but one: a score, an id, a date."""
  if isinstance(value, str):
    return NUMBER.fullmatch(value) is not None and any(map(str.isdigit, value))
  return isinstance(value, int | float) and not isinstance(value, bool)
