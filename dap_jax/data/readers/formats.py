"""Readers of corpora in users' formats: each yields rows, language -> text, the pivot's included.

`read_rows(FORMAT, pivot=..., **arguments)` is the entry; the arguments are those of the format's
function here, and the config's `data.arguments`. Texts come as they are in the files; `clean.py`
normalises them. A row's hard negatives are beside its languages, under keys that begin with
`row.NEGATIVE`. Text files are UTF-8, plain or compressed (`text_files.py`); only "\\n" and
"\\r\\n" end a line. Errors name the file and the line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from etils import epath

from dap_jax.data.readers import gettext_catalogues
from dap_jax.data.readers.arguments import expand, names
from dap_jax.data.readers.memories.gettext_files import po
from dap_jax.data.readers.memories.tmx import tmx
from dap_jax.data.readers.memories.xliff import xliff
from dap_jax.data.readers.mtdata_corpora import mtdata
from dap_jax.data.readers.multiway import aligned, multiway
from dap_jax.data.readers.row import Row, is_negative
from dap_jax.data.readers.tab_separated import tsv
from dap_jax.data.readers.tables.comma_separated import csv
from dap_jax.data.readers.tables.hugging_face import hugging_face
from dap_jax.data.readers.tables.json_lines import jsonl
from dap_jax.data.readers.tables.languages import code_of
from dap_jax.data.readers.tables.parquet_files import parquet
from dap_jax.data.readers.tables.spreadsheets import xlsx
from dap_jax.data.texts.text_files import Member, member_lines, members
from dap_jax.utils.errors import UserError
from dap_jax.utils.quiet import quiet_stderr


def moses(
  *,
  pivot: str,
  prefixes: Sequence[str] = (),
  languages: Sequence[str] = (),
  paths: Sequence[str] = (),
) -> Iterator[Row]:
  """Line-aligned pairs: `PREFIX.en` and `PREFIX.de` (or `.gz`), or such files in a zip of OPUS.

  Args:
    pivot: the pivot's language code.
    prefixes: paths up to the last dot.
    languages: which to look for; a prefix must have at least one of them. All those of a zip
      without.
    paths: zips such as `de-en.txt.zip`, which are read as they are.
  """
  if not (prefixes or paths):
    raise UserError("data.arguments: data.format='moses' needs prefixes or paths")
  if prefixes or languages:
    languages = names(languages, "languages")
  for prefix in names(prefixes, "prefixes") if prefixes else ():
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
  for path in expand(names(paths, "paths"), extension="zip") if paths else ():
    texts = opus_texts(path, pivot=pivot, languages=tuple(languages))
    for code in [code for code in texts if code != pivot]:
      yield from aligned({pivot: texts[pivot], code: texts[code]}, read=member_lines)


def opus_texts(path: epath.Path, *, pivot: str, languages: tuple[str, ...]) -> dict[str, Member]:
  """Language -> its text in a zip, `Tatoeba.de-en.de` say; only `languages`, if there are any.

  Raises:
    UserError: the pivot's or all others are not in it, or two are of one language.
  """
  texts: dict[str, Member] = {}
  for member in members(path):
    code = code_of(member.name.split(".")[-1], pivot=pivot, languages=languages, any_code=True)
    if code in texts:
      raise UserError(f"{path}: {member.name!r} and {texts[code].name!r} are both of {code}")
    if code is not None:
      texts[code] = member
  if pivot not in texts or len(texts) < 2:
    found = ", ".join(repr(member.name) for member in members(path)[:5]) or "no text"
    others = " or ".join(languages) or "another language"
    raise UserError(f"{path}: expected files *.{pivot} and *.{others} in it, found {found}")
  return texts


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
  for number, example in enumerate(dataset.as_numpy_iterator()):
    texts = example.get("translation", example)
    if not isinstance(texts, dict) or pivot not in texts:
      raise UserError(
        f"data.arguments.name={name!r}: its examples have {', '.join(sorted(example))}; expected"
        f" texts by language, {pivot!r} (data.pivot) among them"
      )
    texts = {code: text.decode() for code, text in texts.items() if isinstance(text, bytes)}
    yield Row(texts, where=f"{name} {split}: example {number}")


def gettext(*, pivot: str, packages: Sequence[str]) -> Iterator[Row]:
  """The translation catalogues inside installed pip packages; see `gettext_catalogues`."""
  if pivot != "en":
    raise UserError(f"data.pivot={pivot!r}: data.format='gettext' has English messages, set 'en'")
  return gettext_catalogues.read_catalogues(names(packages, "packages"), pivot=pivot)


READERS: dict[str, Callable[..., Iterator[Row]]] = {
  "tsv": tsv,
  "csv": csv,
  "jsonl": jsonl,
  "parquet": parquet,
  "xlsx": xlsx,
  "hugging_face": hugging_face,
  "tmx": tmx,
  "xliff": xliff,
  "po": po,
  "moses": moses,
  "multiway": multiway,
  "tfds": tfds,
  "mtdata": mtdata,
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
  """Rows without blank texts, if the pivot and another text remain; and those with a reason.

  Raises:
    UserError: no row has both.
  """
  empty = True
  for row in rows:
    row = row.with_texts({key: text for key, text in row.items() if text and not text.isspace()})
    if row.reason:
      yield row
    elif pivot in row and any(key != pivot and not is_negative(key) for key in row):
      empty = False
      yield row
  if empty:
    raise UserError(f"{what} gave no pair with {pivot!r}: the files are empty or lack one side")
