"""JSON lines: an object a line, whose keys are the columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from dap_jax.data.readers.arguments import expand, names
from dap_jax.data.readers.row import Row
from dap_jax.data.readers.tables.columns import Wanted, wanted
from dap_jax.data.readers.tables.table_rows import read
from dap_jax.data.texts.text_files import lines
from dap_jax.utils.errors import UserError

MOST_KEYS = 1000  # different ones of a file's objects


def jsonl(
  *,
  pivot: str,
  paths: Sequence[str],
  languages: Sequence[str] = (),
  columns: Sequence[int] | Sequence[str] = (),
) -> Iterator[Row]:
  """JSON lines; `tables/columns.py` says which keys are read. A key may be absent or null.

  Args:
    pivot: the pivot's language code.
    paths: files, folders or glob patterns.
    languages: of the columns, if neither their names nor the files' tell them.
    columns: the keys of the texts, or their numbers in the first object, counted from 1.
  """
  want = wanted(pivot=pivot, languages=languages, columns=columns)
  for path in expand(names(paths, "paths"), extension="jsonl"):
    yield from jsonl_rows(path, want=want)


def jsonl_rows(path: epath.Path, *, want: Wanted) -> Iterator[Row]:
  """The rows of a file, as `jsonl`."""
  heads: list[str] = []
  yield from read(values(path, heads), path=path, want=want, heads=heads)


def values(path: epath.Path, heads: list[str]) -> Iterator[tuple[int, list[Any]]]:
  """The number and the values of each line, in the order of `heads`, to which new keys are added.

  Raises:
    UserError: a line is no object, or the file has over `MOST_KEYS` keys.
  """
  known: set[str] = set()
  for number, line in enumerate(lines(path), 1):
    if not line or line.isspace():
      continue
    where = f"{path}:{number}"
    try:
      record = json.loads(line)
    except (ValueError, RecursionError) as error:
      raise UserError(f"{where}: no JSON: {error}{cure(number, line)}") from error
    if not isinstance(record, dict):
      raise UserError(f"{where}: {line[:60]!r}, expected an object{cure(number, line)}")
    for key in record:
      if key not in known:
        known.add(key)
        heads.append(key)
    if len(known) > MOST_KEYS:
      raise UserError(f"{where}: over {MOST_KEYS:,} different keys: is each line one example?")
    yield number, [record.get(key) for key in heads]


def cure(number: int, line: str) -> str:
  """What to do about a file of one array or one object, whose first line is no object."""
  whole = number == 1 and line.lstrip()[:1] in ("[", "{")
  return "; write one object a line, e.g. with `jq -c '.[]'`" if whole else ""
