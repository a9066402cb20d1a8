"""Translations to evaluate on: held-out rows of a workdir, or a folder with a file a language."""

from __future__ import annotations

from typing import NamedTuple

from etils import epath

from dap_jax.data.readers import text_files
from dap_jax.utils.errors import UserError
from dap_jax.workdir import layout


class Translations(NamedTuple):
  """Rows of language -> text, each with the pivot and another language, no text blank.

  Attributes:
    rows: the rows.
    pivot: the pivot's language code.
    languages: the others, sorted.
    left_out: how many texts of those languages were left out, since they are empty or blank or
      their row has no text in the pivot.
  """

  rows: list[text_files.Row]
  pivot: str
  languages: list[str]
  left_out: int

  def protocol(self) -> dict[str, object]:
    """What a result says of them."""
    return {
      "pivot": self.pivot,
      "rows": len(self.rows),
      "languages": ",".join(self.languages),
      "texts_left_out": self.left_out,
    }

  def rows_of(self, language: str) -> list[int]:
    """Which rows have a language."""
    return [number for number, row in enumerate(self.rows) if language in row]


def read_translations(
  data: str, *, pivot: str = "", languages: str = "", extension: str = ""
) -> Translations:
  """Reads either kind.

  Args:
    data: a workdir of train, or a folder that `text_files.multiway` reads.
    pivot: a language code; "" = the workdir's own, or en.
    languages: the others, with commas between them; "" = all there are.
    extension: see `text_files.multiway`.

  Raises:
    UserError: it is neither, a file is damaged, or a language is not there.
  """
  if layout.is_workdir(data):
    if extension:
      raise UserError(f"extension={extension}: {data} is a workdir, not a folder of text files")
    rows, pivot = heldout(data, pivot)
  else:
    pivot = pivot or "en"
    rows = text_files.multiway(pivot=pivot, folder=data, extension=extension)
  wanted = {code for code in languages.split(",") if code}
  kept, left_out, found = [], 0, set()
  for row in rows:
    found |= {code for code, text in row.items() if text.strip()}
    if wanted:
      row = {code: text for code, text in row.items() if code in wanted or code == pivot}
    texts = {code: text for code, text in row.items() if text.strip()}
    if pivot in texts and len(texts) > 1:
      kept.append(texts)
      left_out += len(row) - len(texts)
    else:
      left_out += len(set(row) - {pivot})
  if unknown := sorted(wanted - found):
    known = ", ".join(sorted(found - {pivot}))
    raise UserError(f"{data} has no text of the language {', '.join(unknown)}: it has {known}")
  if not kept:
    raise UserError(f"{data} has no row with {pivot!r} and another language")
  return Translations(kept, pivot, sorted(set().union(*kept) - {pivot}), left_out)


def heldout(folder: str, pivot: str) -> tuple[list[text_files.Row], str]:
  """The held-out rows of a workdir, and its pivot."""
  from dap_jax.data import store  # loads Grain, which a folder of files does without

  if not store.complete(epath.Path(folder) / "data"):
    raise UserError(f"{folder} holds no prepared data: name a workdir of train with --data")
  own = layout.read_config(folder)["data"]["pivot"]
  if pivot not in ("", own):
    raise UserError(f"pivot={pivot}: {folder} was prepared with the pivot {own}")
  return store.heldout(epath.Path(folder) / "data"), own
