"""Readers of corpora in users' formats: each yields rows, language -> text, the pivot's included.

`read_rows(FORMAT, pivot=..., **arguments)` is the entry; the arguments are those of the format's
function here, and the config's `data.arguments`. Texts come as they are in the files; `clean.py`
normalises them. A row's hard negatives are beside its languages, under keys that begin with
`split.NEGATIVE`. Files are UTF-8, plain or `.gz`; only "\\n" and "\\r\\n" end a line. Errors name
the file and the line.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from etils import epath

from dap_jax.data.readers import gettext_catalogues
from dap_jax.data.readers.split import NEGATIVE, is_negative
from dap_jax.data.readers.text_files import LANGUAGE, Row, aligned, lines, multiway
from dap_jax.utils.errors import UserError
from dap_jax.utils.quiet import quiet_stderr

# Common names of a pair's columns that do not say which language is in them.
GENERIC = {"source", "target", "src", "tgt", "sentence1", "sentence2", "anchor", "positive"}


def names(value: Any, key: str) -> tuple[str, ...]:
  """One string or several -> a tuple. Raises UserError for anything else, and for none."""
  value = (value,) if isinstance(value, str) else value
  if not isinstance(value, Sequence) or not value or not all(isinstance(v, str) for v in value):
    raise UserError(f"data.arguments.{key}={value!r}: expected a list of strings, at least one")
  return tuple(value)


def stem(path: epath.Path) -> str:
  """The file's name without `.gz` and its last extension."""
  return re.sub(r"\.[^.]+$", "", path.name.removesuffix(".gz"))


def expand(paths: Sequence[str]) -> list[epath.Path]:
  """Files, folders (their .tsv files) and glob patterns -> files; those of each pattern sorted.

  Raises:
    UserError: one of them matches no file.
  """
  files = []
  for pattern in paths:
    path = epath.Path(pattern)
    if path.is_dir():
      path = path / "*.tsv*"
    parts = path.parts
    wild = next((i for i, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts))
    if wild < len(parts):
      matches = sorted(epath.Path(*parts[:wild]).glob("/".join(parts[wild:])))
    else:
      matches = [path] if path.exists() else []
    if not matches:
      raise UserError(f"data.arguments.paths: {pattern!r} matches no file")
    files += matches
  return files


def tsv(
  *, pivot: str, paths: Sequence[str], languages: Sequence[str] = (), negatives: int = 0
) -> Iterator[Row]:
  """Tab-separated pairs: the first two columns; further ones (scores, flags) are ignored.

  With `negatives`, the columns after these two are hard negatives of the pair, as in the triplets
  of sentence-transformers (anchor, positive, negative, ...): texts in the pivot's language that are
  no translation. They may be blank or absent.

  The languages of a file's columns come from `languages`, else from its name (`de-en.tsv`,
  `corpus.en-de.tsv.gz`), else from a first line that names them (`en<TAB>de`). A first line of
  common column names (`source<TAB>target`, ...) is skipped; if it says which column is English
  (`non_english<TAB>english`, `source<TAB>en`), it decides the order.

  Args:
    pivot: the pivot's language code.
    paths: files, folders or glob patterns.
    languages: of the two columns, if neither the files' names nor their first lines name them.
    negatives: how many columns of hard negatives there are.
  """
  if type(negatives) is not int or negatives < 0:
    raise UserError(f"data.arguments.negatives={negatives!r}: expected 0 or more columns")
  codes = names(languages, "languages") if languages else None
  for path in expand(names(paths, "paths")):
    expected = codes or named_pair(path, pivot=pivot)
    first = next(lines(path), "")
    columns, header = columns_of(first, path=path, pivot=pivot, expected=expected)
    columns = (*columns, *(f"{NEGATIVE}{i + 1}" for i in range(negatives)))
    for number, line in enumerate(lines(path), 1):
      if number == 1 and header:
        continue
      texts = line.split("\t")
      if len(texts) < 2:
        raise UserError(f"{path}:{number}: one column, expected two separated by a tab")
      yield dict(zip(columns, texts, strict=False))


def named_pair(path: epath.Path, *, pivot: str) -> tuple[str, str] | None:
  """`corpus.de-en.tsv` -> ("de", "en"), None where the name does not end in such a pair."""
  name = stem(path).split(".")[-1]
  first, last = name.removesuffix(f"-{pivot}"), name.removeprefix(f"{pivot}-")
  if first != name and LANGUAGE.fullmatch(first):
    return first, pivot
  return (pivot, last) if last != name and LANGUAGE.fullmatch(last) else None


def columns_of(
  first: str, *, path: epath.Path, pivot: str, expected: Sequence[str] | None
) -> tuple[Sequence[str], bool]:
  """The languages of the two columns, and whether the first line is a header.

  Args:
    first: the file's first line.
    path: the file, for errors.
    pivot: the pivot's language code.
    expected: the languages by the arguments or the file's name, or None.

  Raises:
    UserError: the languages are unknown, or are not two with the pivot among them.
  """
  head = tuple(column.strip().lower() for column in first.split("\t")[:2])
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


def moses(*, pivot: str, prefixes: Sequence[str], languages: Sequence[str]) -> Iterator[Row]:
  """Line-aligned pairs `PREFIX.en` and `PREFIX.de` (or `.gz`): Europarl, OPUS downloads.

  Args:
    pivot: the pivot's language code.
    prefixes: paths up to the last dot.
    languages: which to look for; a prefix must have at least one of them.
  """
  languages = names(languages, "languages")
  for prefix in names(prefixes, "prefixes"):
    files = {}
    for code in (pivot, *languages):
      for path in (epath.Path(f"{prefix}.{code}.gz"), epath.Path(f"{prefix}.{code}")):
        if path.exists():
          files[code] = path
    if pivot not in files or len(files) == 1:
      code = " or ".join(languages) if pivot in files else pivot
      raise UserError(f"data.arguments.prefixes: no file {prefix}.{code}, nor with .gz")
    for code in [code for code in files if code != pivot]:
      yield from aligned({pivot: files[pivot], code: files[code]})


def tfds(*, pivot: str, name: str, split: str, data_dir: str | None = None) -> Iterator[Row]:
  """A TFDS translation set: every example is language -> text, flat or under "translation".

  Args:
    pivot: the pivot's language code.
    name: with configuration and version, e.g. `wmt19_translate/de-en:1.0.0`.
    split: in TFDS's notation, e.g. `train` or `train[:1%]`.
    data_dir: TFDS's data folder; None is TFDS's default.
  """
  with quiet_stderr():  # imported here: only this format needs TensorFlow
    import seqio

  try:
    source = seqio.TfdsDataSource(tfds_name=name, tfds_data_dir=data_dir, splits=[split])
    dataset = source.get_dataset(split=split, shuffle=False)
  except (ValueError, OSError, LookupError) as error:
    reason = str(error).strip().split("\n")[0]
    raise UserError(
      f"data.arguments: TFDS cannot read name={name!r} split={split!r}: {reason}"
    ) from error
  for example in dataset.as_numpy_iterator():
    texts = example.get("translation", example)
    if not isinstance(texts, dict) or pivot not in texts:
      raise UserError(
        f"data.arguments.name={name!r}: its examples have {', '.join(sorted(example))}; expected"
        f" texts by language, {pivot!r} (data.pivot) among them"
      )
    yield {code: text.decode("utf-8") for code, text in texts.items() if isinstance(text, bytes)}


def gettext(*, pivot: str, packages: Sequence[str]) -> Iterator[Row]:
  """The translation catalogues inside installed pip packages; see `gettext_catalogues`."""
  if pivot != "en":
    raise UserError(f"data.pivot={pivot!r}: data.format='gettext' has English messages, set 'en'")
  return gettext_catalogues.read_catalogues(names(packages, "packages"), pivot=pivot)


READERS: dict[str, Callable[..., Iterator[Row]]] = {
  "tsv": tsv,
  "moses": moses,
  "multiway": multiway,
  "tfds": tfds,
  "gettext": gettext,
}


def read_rows(format: str, *, pivot: str, **arguments: Any) -> Iterator[Row]:
  """Rows of a corpus, each with the pivot and at least one other language.

  A text that is empty or blank counts as missing.

  Args:
    format: a key of `READERS`.
    pivot: the pivot's language code.
    **arguments: those of that reader.

  Raises:
    UserError: at once for an unknown format or argument; while reading for a mistake in the files;
      at the end if there was no row.
  """
  if format not in READERS:
    raise UserError(f"data.format={format!r} is none of {', '.join(READERS)}")
  signature = inspect.signature(READERS[format])
  try:
    signature.bind(pivot=pivot, **arguments)
  except TypeError as error:
    takes = ", ".join(name for name in signature.parameters if name != "pivot")
    raise UserError(
      f"data.arguments has {', '.join(arguments) or 'nothing'}, but data.format={format!r} takes"
      f" {takes}: {error}"
    ) from error
  rows = READERS[format](pivot=pivot, **arguments)
  return complete_rows(rows, pivot=pivot, what=f"data.format={format!r} with {arguments}")


def complete_rows(rows: Iterable[Row], *, pivot: str, what: str) -> Iterator[Row]:
  """Rows without blank texts, if the pivot and another text remain.

  Raises:
    UserError: no row has both.
  """
  empty = True
  for row in rows:
    row = {code: text for code, text in row.items() if text and not text.isspace()}
    if pivot in row and any(key != pivot and not is_negative(key) for key in row):
      empty = False
      yield row
  if empty:
    raise UserError(f"{what} gave no pair with {pivot!r}: the files are empty or lack one side")
