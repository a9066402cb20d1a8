"""Translations that ship inside pip packages: gettext .mo catalogues, read as one multi-way corpus.

A message in English with its translations is a row; Django, Wagtail and Sphinx together hold over
three thousand messages in about a hundred languages. Packages are found without importing them.
"""

from __future__ import annotations

import gettext
import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from dap_jax.utils.errors import UserError

# One language, one code: a region, script or variant after the language is dropped (he_IL -> he,
# tr_TR -> tr, es_MX -> es, ca@valencia -> ca), except where this table says otherwise. It holds the
# catalogues written in a norm or script of their own, and second names of a language.
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
  """The language code of a catalogue's folder name; None for English and for no such name."""
  if re.fullmatch(r"[a-z]{2,3}([-_@][A-Za-z0-9]+)*", name) is None:
    return None  # zh_TW.Big5, say: zh_TW once more, in another encoding
  name = name.replace("-", "_")
  base = re.split(r"[_@]", name)[0]
  code = NORMS.get(name, NORMS.get(base, base))
  return None if code == "en" else code


def catalogues(package: str) -> list[Path]:
  """The .mo files of an installed package: plain language codes first (es before es_MX), by path.

  Raises:
    UserError: the package is not installed, or holds none.
  """
  # A dotted name would import its parent, and "" or a non-name is an error of find_spec's own.
  spec = importlib.util.find_spec(package) if package.isidentifier() else None
  if spec is None or not spec.submodule_search_locations:
    raise UserError(
      f"data.arguments.packages: {package!r} is not an installed package: pip install {package}"
    )
  root = Path(spec.submodule_search_locations[0])
  found = sorted(
    root.rglob("LC_MESSAGES/*.mo"),
    key=lambda path: (len(path.parts[-3]), path.relative_to(root).as_posix()),
  )
  if not found:
    raise UserError(f"data.arguments.packages: {package!r} holds no translation catalogues (.mo)")
  return found


def messages(path: Path) -> Iterator[tuple[str, str]]:
  """(English, translation) of one catalogue, sorted; contexts (`CONTEXT\\x04message`) removed.

  Of a message with plural forms only the singular is taken, in the form that the catalogue's own
  rule gives for n = 1, and only where no side has a placeholder: "Delete 1 page", not "%d pages",
  whose number chooses among forms that the English text does not tell apart.

  msgfmt leaves fuzzy entries out of .mo files; the header's message is "".
  """
  with path.open("rb") as file:
    try:
      catalogue = gettext.GNUTranslations(file)
    except (OSError, ValueError, LookupError) as error:
      raise UserError(f"cannot read the catalogue {path}: {error}") from error
  singular = catalogue.plural(1)
  found = {}
  for message, translation in catalogue._catalog.items():  # the module has no public listing
    if isinstance(message, tuple):
      message, form = message
      if form != singular or PLACEHOLDER.search(message + translation):
        continue
    context, _, english = message.rpartition("\x04")
    if english:
      found[english, context] = translation
  for (english, _), translation in sorted(found.items()):  # without a context first
    yield english, translation


def read_catalogues(packages: Sequence[str], *, pivot: str) -> Iterator[dict[str, str]]:
  """Rows of all catalogues of the packages, sorted by the English text.

  Where two catalogues translate a message differently into one language, the first stands: the
  earlier package, then the order of `catalogues`, then the message without a context.
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
    yield {pivot: english, **rows[english]}
