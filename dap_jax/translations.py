"""Translations to evaluate on: held-out rows of a workdir, or a folder with a file a language."""

from __future__ import annotations

from typing import NamedTuple

from etils import epath

from dap_jax import text_files, workdir
from dap_jax.errors import UserError


class Translations(NamedTuple):
  """Rows of language -> text, each with the pivot and another language, no text blank.

  Attributes:
    rows: the rows.
    pivot: the pivot's language code.
    languages: the others, sorted.
    blank: how many texts were left out since they are empty or blank.
  """

  rows: list[text_files.Row]
  pivot: str
  languages: list[str]
  blank: int

  def protocol(self) -> dict[str, object]:
    """What a result says of them."""
    return {
      "pivot": self.pivot,
      "rows": len(self.rows),
      "languages": ",".join(self.languages),
      "blank_texts_left_out": self.blank,
    }

  def pair(self, language: str) -> tuple[list[str], list[str]]:
    """The texts of a language and the pivot's, of the rows that have both."""
    rows = [row for row in self.rows if language in row and self.pivot in row]
    return [row[language] for row in rows], [row[self.pivot] for row in rows]


def read(data: str, *, pivot: str = "", languages: str = "", extension: str = "") -> Translations:
  """Reads either kind.

  Args:
    data: a workdir of train, or a folder that `text_files.multiway` reads.
    pivot: a language code; "" = the workdir's own, or en.
    languages: the others, with commas between them; "" = all there are.
    extension: see `text_files.multiway`.

  Raises:
    UserError: it is neither, a file is damaged, or a language is not there.
  """
  if workdir.is_workdir(data):
    rows, pivot = heldout(data, pivot)
  else:
    pivot = pivot or "en"
    rows = text_files.multiway(pivot=pivot, folder=data, extension=extension)
  wanted = {code for code in languages.split(",") if code}
  kept, blank, found = [], 0, set()
  for row in rows:
    texts = {code: text for code, text in row.items() if text.strip()}
    blank += len(row) - len(texts)
    found |= set(texts)
    if wanted:
      texts = {code: text for code, text in texts.items() if code in wanted or code == pivot}
    if pivot in texts and len(texts) > 1:
      kept.append(texts)
  if unknown := sorted(wanted - found):
    known = ", ".join(sorted(found - {pivot}))
    raise UserError(f"{data} has no text of the language {', '.join(unknown)}: it has {known}")
  if not kept:
    raise UserError(f"{data} has no row with {pivot!r} and another language")
  return Translations(kept, pivot, sorted(set().union(*kept) - {pivot}), blank)


def heldout(folder: str, pivot: str) -> tuple[list[text_files.Row], str]:
  """The held-out rows of a workdir, and its pivot."""
  from dap_jax.data import store  # loads Grain, which a folder of files does without

  if not store.complete(epath.Path(folder) / "data"):
    raise UserError(f"{folder} holds no prepared data: name a workdir of train with --data")
  own = workdir.read_config(folder)["data"]["pivot"]
  if pivot not in ("", own):
    raise UserError(f"pivot={pivot}: {folder} was prepared with the pivot {own}")
  return store.heldout(epath.Path(folder) / "data"), own
