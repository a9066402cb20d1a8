"""Translations that ship inside pip packages: gettext .mo catalogues, read as one multi-way corpus.

A row is a message in English with its translations; Django, Wagtail and Sphinx together have over
three thousand messages in about a hundred languages. Packages are located without being imported.
"""

from __future__ import annotations

import gettext
import importlib.util
import re
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from dap_jax.data.readers.row import Row
from dap_jax.utils.errors import UserError

# One language has one code: a region, script or variant is dropped (he_IL -> he, tr_TR -> tr,
# es_MX -> es, ca@valencia -> ca), except for the entries of this table: catalogues in a written
# norm or script of their own, and second names of a language.
NORMS = {
  "zh": "zh_Hans",
  "zh_Hant": "zh_Hant",
  "zh_TW": "zh_Hant",
  "zh_HK": "zh_Hant",
  "pt_BR": "pt_BR",
  "sr_Latn": "sr_Latn",
  "sr@latin": "sr_Latn",
  "no": "nb",
}
PLACEHOLDER = re.compile(r"[%{]")


def language_of(name: str) -> str | None:
  """The language code of a catalogue's folder name; None for English and for other folders."""
  if re.fullmatch(r"[a-z]{2,3}([-_@][A-Za-z0-9]+)*", name) is None:
    return None  # for example zh_TW.Big5: zh_TW again, in another encoding
  name = name.replace("-", "_")
  base = re.split(r"[_@]", name)[0]
  code = NORMS.get(name, NORMS.get(base, base))
  return None if code == "en" else code


def catalogues(package: str) -> list[Path]:
  """The .mo files of an installed package: short language codes first (es before es_MX), by path.

  Raises:
    UserError: the package is not installed, or holds none.
  """
  # find_spec imports the parent of a dotted name, and raises other errors for "" or no identifier.
  spec = importlib.util.find_spec(package) if package.isidentifier() else None
  if spec is None or not spec.submodule_search_locations:
    if "/" in package or package.endswith((".po", ".mo")):
      raise UserError(
        f"data.arguments.packages: {package!r} is no name of a Python package; a catalogue of"
        " your own is read as tab-separated text, with data.format='tsv'"
      )
    raise UserError(
      f"data.arguments.packages: {package!r} is not an installed package: pip install {package}"
    )
  root = Path(spec.submodule_search_locations[0])
  paths = sorted(
    root.rglob("LC_MESSAGES/*.mo"),
    key=lambda path: (len(path.parts[-3]), path.relative_to(root).as_posix()),
  )
  if not paths:
    raise UserError(f"data.arguments.packages: {package!r} holds no translation catalogues (.mo)")
  return paths


def messages(path: Path) -> Iterator[tuple[str, str]]:
  """(English, translation) of one catalogue, sorted; contexts (`CONTEXT\\x04message`) removed.

  Of a message with plural forms only the singular is taken: the form that the catalogue's rule
  gives for n = 1, and only if neither side has a placeholder. So "Delete 1 page" is taken, but not
  "%d pages", where the number selects a form that the English text does not distinguish.

  .mo files have no fuzzy entries (msgfmt drops them); the header's message is "".

  Raises:
    UserError: the catalogue cannot be read.
  """
  with path.open("rb") as file:
    try:
      catalogue = gettext.GNUTranslations(file)
      singular = catalogue.plural(1)  # type: ignore[attr-defined]  # set when the file was parsed
    except (OSError, ValueError, LookupError, ArithmeticError, struct.error) as error:
      reason = str(error).partition("\n")[0]
      raise UserError(f"cannot read the catalogue {path}: {reason}") from error
  translations = {}
  for message, translation in catalogue._catalog.items():  # type: ignore[attr-defined]  # no public listing
    if isinstance(message, tuple):
      message, form = message
      if form != singular or PLACEHOLDER.search(message + translation):
        continue
    context, _, english = message.rpartition("\x04")
    if english:
      translations[english, context] = translation
  for (english, _), translation in sorted(translations.items()):  # without a context first
    yield english, translation


def read_catalogues(packages: Sequence[str], *, pivot: str) -> Iterator[Row]:
  """Rows of all catalogues of the packages, sorted by the English text.

  If two catalogues translate a message differently into one language, the first one counts: that of
  the earlier package, then by the order of `catalogues`, then the one without a context.
  """
  rows: dict[str, dict[str, str]] = defaultdict(dict)
  for package in packages:
    for path in catalogues(package):
      language = language_of(path.parts[-3])
      if language is None:
        continue
      for english, translation in messages(path):
        if translation:
          rows[english].setdefault(language, translation)
  for english in sorted(rows):
    yield Row({pivot: english, **rows[english]}, where=f"catalogues: {english}")
