"""Translations to evaluate on: the held-out rows of a workdir, or text files, one a language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from etils import epath

from dap_jax.data.readers.multiway import multiway
from dap_jax.utils.errors import UserError
from dap_jax.workdir import layout


class Translations(NamedTuple):
  """Texts and their translations into a pivot language.

  Attributes:
    rows: language -> text, of the pivot and at least one other language; no text is blank.
    pivot: the pivot's language code.
    languages: the codes of the other languages, sorted.
    left_out: how many texts of those languages were left out, because they are blank or their row
      has no text in the pivot.
  """

  rows: list[dict[str, str]]
  pivot: str
  languages: list[str]
  left_out: int

  def protocol(self) -> dict[str, object]:
    """What the protocol of a result says about them."""
    return {
      "pivot": self.pivot,
      "rows": len(self.rows),
      "languages": ",".join(self.languages),
      "texts_left_out": self.left_out,
    }

  def rows_of(self, language: str) -> list[int]:
    """The numbers of the rows that have a text in a language."""
    return [number for number, row in enumerate(self.rows) if language in row]


def read_translations(
  data: str, *, pivot: str = "", languages: str = "", extension: str = ""
) -> Translations:
  """Reads a workdir's held-out rows, or a folder of text files.

  Args:
    data: a workdir of train, or a folder for `multiway`.
    pivot: a language code; "" = the workdir's pivot, or en.
    languages: the codes of other languages, with commas between them; "" = all there are.
    extension: see `multiway`.

  Raises:
    UserError: `data` is neither, a file is damaged, or a language has no text.
  """
  rows: Iterable[Mapping[str, str]]
  if layout.is_workdir(data):
    if extension:
      raise UserError(f"extension={extension}: {data} is a workdir, not a folder of text files")
    rows, pivot = heldout_rows(data, pivot)
  else:
    pivot = pivot or "en"
    rows = multiway(pivot=pivot, folder=data, extension=extension)
  requested = {code for code in languages.split(",") if code}
  usable, left_out = [], 0
  present: set[str] = set()
  for row in rows:
    present |= {code for code, text in row.items() if text.strip()}
    if requested:
      row = {code: text for code, text in row.items() if code in requested or code == pivot}
    texts = {code: text for code, text in row.items() if text.strip()}
    if pivot in texts and len(texts) > 1:
      usable.append(texts)
      left_out += len(row) - len(texts)
    else:
      left_out += len(set(row) - {pivot})
  if unknown := sorted(requested - present):
    known = ", ".join(sorted(present - {pivot}))
    raise UserError(f"{data} has no text of the language {', '.join(unknown)}: it has {known}")
  if not usable:
    raise UserError(f"{data} has no row with {pivot!r} and another language")
  return Translations(usable, pivot, sorted(set().union(*usable) - {pivot}), left_out)


def heldout_rows(folder: str, pivot: str) -> tuple[list[dict[str, str]], str]:
  """The held-out rows of a workdir, and its pivot; `pivot`: the expected one, or ""."""
  from dap_jax.data import manifest, store  # imports Grain, which a folder of files does without

  if not manifest.complete(epath.Path(folder) / "data"):
    raise UserError(f"{folder} holds no prepared data: name a workdir of train with --data")
  prepared_pivot = layout.read_config(folder)["data"]["pivot"]
  if pivot not in ("", prepared_pivot):
    raise UserError(f"pivot={pivot}: {folder} was prepared with the pivot {prepared_pivot}")
  return store.heldout(epath.Path(folder) / "data"), prepared_pivot
