"""Folders of translations of one text: a file a language, keyed or line-aligned."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from etils import epath

from dap_jax.data.readers.row import Row
from dap_jax.data.texts.text_files import LANGUAGE, lines
from dap_jax.utils.errors import UserError

FileT = TypeVar("FileT")


def multiway(*, pivot: str, folder: str, extension: str = "") -> Iterator[Row]:
  """One file a language: `xx.tsv[.gz]` of `KEY<TAB>text`, or `xx.txt[.gz]`, line-aligned.

  A text that a language lacks is a missing key in keyed files, an empty line in line-aligned ones.
  Files whose name is not a language code (`README.txt`) are ignored.

  Args:
    pivot: the pivot's language code.
    folder: of the files.
    extension: of line-aligned files other than .txt, e.g. `devtest` for FLORES-200.

  Raises:
    UserError: the folder has no such files, both kinds, or none of the pivot; a file is damaged.
  """
  if not epath.Path(folder).is_dir():
    raise UserError(f"{folder!r} is no folder: expected one with a file a language")
  kinds: dict[str, dict[str, epath.Path]] = {extension or "txt": {}}
  if not extension:
    kinds["tsv"] = {}
  for path in sorted(epath.Path(folder).glob("*")):
    match = re.fullmatch(r"([^.]+)\.([^.]+)(\.gz)?", path.name)
    if match and match[2] in kinds and LANGUAGE.fullmatch(match[1]):
      files = kinds[match[2]]
      if match[1] in files:
        raise UserError(f"{path} and {files[match[1]].name} are the same language: remove one")
      files[match[1]] = path
  keyed, plain = kinds.get("tsv", {}), kinds[extension or "txt"]
  if bool(keyed) == bool(plain) or pivot not in (keyed or plain):
    choices = (
      f"xx.{extension}" if extension else "xx.tsv (keyed) or xx.txt (line-aligned), not both"
    )
    raise UserError(
      f"{folder}: expected files {choices}, {pivot} among them; found {len(keyed)} keyed and"
      f" {len(plain)} line-aligned ones"
    )
  yield from join(keyed, pivot=pivot) if keyed else aligned(plain)


def aligned(
  files: Mapping[str, FileT], *, read: Callable[[FileT], Iterator[str]] = lines
) -> Iterator[Row]:
  """Line i of every file is one row; an empty line is a missing text.

  Args:
    files: language -> file.
    read: gives a file's lines.

  Raises:
    UserError: the files do not have equally many lines.
  """
  first = next(iter(files.values()))
  origins = {code: str(file) for code, file in files.items()}
  for number, texts in enumerate(itertools.zip_longest(*map(read, files.values())), 1):
    if None in texts:
      counts = ", ".join(f"{path} has {sum(1 for _ in read(path))}" for path in files.values())
      raise UserError(f"line-aligned files must have equally many lines: {counts}")
    yield Row(dict(zip(files, texts, strict=True)), where=f"{first}:{number}", origins=origins)


def join(files: dict[str, epath.Path], *, pivot: str) -> Iterator[Row]:
  """Keyed files -> rows, in the order of the pivot's file. Raises UserError for a damaged line."""
  tables: dict[str, dict[str, str]] = {}
  for code, path in files.items():
    table = tables.setdefault(code, {})
    for number, line in enumerate(lines(path), 1):
      key, tab, text = line.partition("\t")
      if not tab:
        raise UserError(f"{path}:{number}: no tab, expected KEY<TAB>text")
      if key in table:
        raise UserError(f"{path}:{number}: the key {key!r} occurs twice")
      table[key] = text
  origins = {code: str(path) for code, path in files.items()}
  for key in tables[pivot]:
    texts = {code: table[key] for code, table in tables.items() if key in table}
    yield Row(texts, where=f"{files[pivot]}: {key}", origins=origins)
