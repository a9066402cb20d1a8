"""PO and MO files: gettext's catalogues, as translators and programs hold them."""

from __future__ import annotations

import codecs
import gettext
import re
from collections.abc import Iterator, Sequence

import polib
from etils import epath

from dap_jax.data.readers.arguments import below, expand, names, stem
from dap_jax.data.readers.row import Row
from dap_jax.data.readers.tables.languages import code_of
from dap_jax.data.texts.text_files import check_regular
from dap_jax.utils.errors import UserError, reading

FOLDER = "LC_MESSAGES"  # LANGUAGE/LC_MESSAGES/DOMAIN.po


def po(
  *, pivot: str, paths: Sequence[str], languages: Sequence[str] = (), source: str = ""
) -> Iterator[Row]:
  """Catalogues; fuzzy and obsolete messages are left out. Of plurals the first and last form count.

  The language of a file comes from `languages`, else from its header, its name (`de.po`,
  `app.de.po`) or its folder (`de/LC_MESSAGES/app.po`).

  Args:
    pivot: the pivot's language code.
    paths: files, folders or glob patterns.
    languages: the one language of all files.
    source: the language of the messages, if it is not the pivot's.
  """
  asked = names(languages, "languages") if languages else ()
  if len(asked) > 1:
    raise UserError(f"data.arguments.languages={asked}: expected one, that of all files")
  for path in expand(below(names(paths, "paths"), ("po", "mo")), extension="po"):
    catalogue = load(path)
    code = asked[0] if asked else language_of(path, catalogue, pivot=pivot)
    of_messages = source or pivot
    if pivot not in (code, of_messages) or code == of_messages:
      raise UserError(
        f"{path}: messages in {of_messages!r}, translations in {code!r}: expected two languages,"
        f" one of them data.pivot={pivot!r}; set data.arguments.languages or source"
      )
    singular = form_of_one(catalogue)
    for number, entry in enumerate(catalogue, 1):
      line = getattr(entry, "linenum", None)  # of MO files there are none
      where = f"{path}:{line}" if line else f"{path}: message {number}"
      for message, translation in pairs_of(entry, singular=singular):
        row = {of_messages: message, code: translation}
        yield Row(row, where=where, reason=reason_against(entry, translation))


def load(path: epath.Path) -> polib.POFile | polib.MOFile:
  """Reads a catalogue. Raises UserError where it is none."""
  check_regular(path)
  with reading(f"cannot read {path} as a gettext catalogue"):
    if path.suffix == ".mo":
      return polib.mofile(str(path))
    encoding = polib.detect_encoding(str(path))  # utf-8 where the header names none that exists
    is_utf8 = codecs.lookup(encoding).name == "utf-8"
    return polib.pofile(str(path), encoding="utf-8-sig" if is_utf8 else encoding)


def language_of(path: epath.Path, catalogue: polib.POFile | polib.MOFile, *, pivot: str) -> str:
  """The language that the header, the name or the folder tells. Raises UserError without any."""
  of_folder = path.parent.parent.name if path.parent.name == FOLDER else path.parent.name
  candidates = (catalogue.metadata.get("Language", ""), stem(path).split(".")[-1], of_folder)
  for candidate in candidates:
    code = code_of(candidate, pivot=pivot, languages=()) if candidate else None
    if code is not None and code != pivot:
      return code
  raise UserError(
    f"{path}: of which language? Its header has no Language; name it like de.po, or set"
    " data.arguments.languages"
  )


def form_of_one(catalogue: polib.POFile | polib.MOFile) -> int:
  """The number of the plural form for one thing: 0 in most languages, 1 in Arabic."""
  match = re.search(r"plural\s*=\s*([^;]+)", catalogue.metadata.get("Plural-Forms", ""))
  try:
    return int(gettext.c2py(match[1])(1)) if match else 0
  except (ValueError, RecursionError):  # no formula
    return 0


def pairs_of(entry: polib.POEntry, *, singular: int) -> list[tuple[str, str]]:
  """(message, translation); of a plural, the singular with its form, the plural with the last."""
  forms = [entry.msgstr_plural[number] for number in sorted(entry.msgstr_plural)]
  if not forms:
    return [(entry.msgid, entry.msgstr)]
  last = (entry.msgid_plural, forms[-1])
  return [(entry.msgid, forms[singular]), last] if singular < len(forms) - 1 else [last]


def reason_against(entry: polib.POEntry, translation: str) -> str:
  """Why a message is left out; "" where it is not."""
  if entry.obsolete:
    return "obsolete"
  if "fuzzy" in entry.flags:
    return "fuzzy"
  return "" if translation.strip() else "no_target"
