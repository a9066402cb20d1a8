"""Readers of what users have: each yields rows, `dict` of language -> text, pivot included.

`read(FORMAT, pivot=..., **arguments)` is the entry; a format's arguments are those of its function
here, and the config's `data.arguments`. Texts come as they stand in the files; `clean` mends them.
Only "\\n" ends a line. Errors name the file and the line.
"""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from dap_jax.data import gettext_catalogues
from dap_jax.errors import UserError

Row = dict[str, str]

# Headers that name the two sides of a pair, as sentence-transformers' data sets do.
SIDES = ("source", "target", "english", "non_english", "sentence1", "sentence2")
SIDES += ("anchor", "positive", "src", "tgt")


def lines(path: epath.Path) -> Iterator[str]:
  """The lines of a UTF-8 file, `.gz` too, without their end; a byte-order mark is dropped."""
  try:
    with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
      for number, line in enumerate(file, 1):
        try:
          text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
          raise UserError(
            f"{path}:{number}: not UTF-8 ({error.reason}); convert it, e.g. with iconv"
          ) from error
        yield text.rstrip("\n").removesuffix("\r")
  except (OSError, EOFError) as error:
    raise UserError(f"cannot read {path}: {error}") from error


def stem(path: epath.Path) -> str:
  """The file's name without `.gz` and its last extension."""
  return re.sub(r"\.[^.]+$", "", path.name.removesuffix(".gz"))


def expand(paths: Sequence[str]) -> list[epath.Path]:
  """Files and glob patterns -> files, sorted; a pattern that matches nothing is an error."""
  found = []
  for pattern in [paths] if isinstance(paths, str) else paths:
    path = epath.Path(pattern)
    matches = sorted(path.parent.glob(path.name)) if "*" in path.name else [path]
    if not matches or not all(match.exists() for match in matches):
      raise UserError(f"data.arguments: {pattern!r} matches no file")
    found += matches
  return found


def tsv(*, pivot: str, paths: Sequence[str]) -> Iterator[Row]:
  """Files named `de-en.tsv` (or `.tsv.gz`): two columns in the order of the name.

  A first line of column names (`source<TAB>target` and the like) is skipped; columns after the
  second are ignored.
  """
  for path in expand(paths):
    languages = stem(path).split("-")
    if len(languages) != 2 or pivot not in languages:
      raise UserError(
        f"{path}: its name must be its two languages, one of them {pivot!r}: de-{pivot}.tsv"
      )
    for number, line in enumerate(lines(path), 1):
      columns = line.split("\t")[:2]
      if number == 1 and all(column.strip().lower() in (*SIDES, *languages) for column in columns):
        continue
      if len(columns) != 2:
        raise UserError(f"{path}:{number}: one column, expected two separated by a tab")
      yield dict(zip(languages, columns, strict=True))


def moses(*, pivot: str, prefixes: Sequence[str], languages: Sequence[str]) -> Iterator[Row]:
  """Line-aligned pairs `PREFIX.en` and `PREFIX.de` (or `.gz`): Europarl, OPUS downloads."""
  for prefix in [prefixes] if isinstance(prefixes, str) else prefixes:
    for language in languages:
      files = {code: with_gz(f"{prefix}.{code}") for code in (pivot, language)}
      yield from aligned(files)


def with_gz(name: str) -> epath.Path:
  """The file itself or its `.gz`."""
  for path in (epath.Path(name), epath.Path(f"{name}.gz")):
    if path.exists():
      return path
  raise UserError(f"data.arguments: neither {name} nor {name}.gz exists")


def aligned(files: dict[str, epath.Path]) -> Iterator[Row]:
  """Line i of every file is one meaning; an empty line is a missing rendering."""
  for number, texts in enumerate(itertools.zip_longest(*map(lines, files.values())), 1):
    if None in texts:
      ended = [str(path) for path, text in zip(files.values(), texts, strict=True) if text is None]
      raise UserError(
        f"line-aligned files differ in length: {', '.join(ended)} ended at {number - 1}"
      )
    yield {code: text for code, text in zip(files, texts, strict=True) if text}


def multiway(*, pivot: str, folder: str) -> Iterator[Row]:
  """One file a language: `xx.tsv[.gz]` of `KEY<TAB>text`, or `xx.txt[.gz]`, line-aligned.

  In keyed files a language may lack keys; in line-aligned ones, leave the line empty.
  """
  path = epath.Path(folder)
  if not path.is_dir():
    raise UserError(f"data.arguments.folder={folder!r} is no folder")
  files = sorted(path.glob("*"))
  keyed = {stem(p): p for p in files if re.search(r"\.tsv(\.gz)?$", p.name)}
  plain = {stem(p): p for p in files if re.search(r"\.txt(\.gz)?$", p.name)}
  if bool(keyed) == bool(plain) or pivot not in (keyed or plain):
    raise UserError(
      f"{folder}: expected files xx.tsv (keyed) or xx.txt (line-aligned), not both,"
      f" {pivot} among them; found {len(keyed)} and {len(plain)}"
    )
  yield from join(keyed, pivot=pivot) if keyed else aligned(plain)


def join(files: dict[str, epath.Path], *, pivot: str) -> Iterator[Row]:
  """Keyed files -> rows, in the order of the pivot's file."""
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
  for key in tables[pivot]:
    yield {code: table[key] for code, table in tables.items() if table.get(key)}


def tfds(*, pivot: str, name: str, data_dir: str | None, split: str) -> Iterator[Row]:
  """A TFDS translation set, e.g. `wmt19_translate/de-en`: every example is language -> text."""
  import seqio

  source = seqio.TfdsDataSource(tfds_name=name, tfds_data_dir=data_dir, splits=[split])
  try:
    dataset = source.get_dataset(split=split, shuffle=False)
  except (ValueError, OSError, LookupError) as error:
    reason = str(error).strip().splitlines()[0]
    raise UserError(
      f"data.arguments: TFDS cannot read {name!r} split {split!r}: {reason}"
    ) from error
  for example in dataset.as_numpy_iterator():
    # tfds.features.Translation is flat; some sets nest it under "translation".
    texts = example.get("translation", example)
    if pivot not in texts:
      raise UserError(f"TFDS set {name!r} has {', '.join(sorted(texts))}, not the pivot {pivot!r}")
    yield {code: text.decode("utf-8") for code, text in texts.items() if isinstance(text, bytes)}


def gettext(*, pivot: str, packages: Sequence[str]) -> Iterator[Row]:
  """The translation catalogues inside installed pip packages; see `gettext_catalogues`."""
  return gettext_catalogues.read(packages, pivot=pivot)


READERS = {"tsv": tsv, "moses": moses, "multiway": multiway, "tfds": tfds, "gettext": gettext}


def read(format: str, *, pivot: str, **arguments: Any) -> Iterator[Row]:
  """Rows of a corpus. Raises UserError for an unknown format or wrong arguments."""
  if format not in READERS:
    raise UserError(f"data.format={format!r} is none of {', '.join(READERS)}")
  try:
    rows = READERS[format](pivot=pivot, **arguments)
  except TypeError as error:
    raise UserError(f"data.arguments for data.format={format!r}: {error}") from error
  return (row for row in rows if pivot in row and len(row) > 1)
