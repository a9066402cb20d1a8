"""Translations that ship inside pip packages: gettext .mo catalogues, read as one multi-way corpus.

A message in English with its translations is a row; Django, Wagtail and Sphinx together hold about
two thousand sentences in about a hundred languages. Packages are found without importing them.
"""

from __future__ import annotations

import gettext
import importlib.util
import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from dap_jax.errors import UserError

logger = logging.getLogger(__name__)

# One language, one code. A region or script is dropped (he_IL -> he, tr_TR -> tr) but where it is a
# written norm of its own; these catalogue names stand for such norms.
NORMS = {
  "zh": "zh_Hans",
  "zh_CN": "zh_Hans",
  "zh_TW": "zh_Hant",
  "zh_HK": "zh_Hant",
  "no": "nb",
  "sr@latin": "sr_Latn",
}
KEPT = {"zh_Hans", "zh_Hant", "sr_Latn", "pt_BR"}


def language_of(name: str) -> str | None:
  """The language code of a catalogue's folder name; None for English and legacy encodings.

  Regional Spanish, French, Arabic and so on count as the language itself, so that no language
  occurs twice under two names.
  """
  if re.fullmatch(r"[A-Za-z_@]+", name) is None:
    return None  # zh_TW.Big5: the same texts again in another encoding
  code = NORMS.get(name, name)
  if code not in KEPT:
    code = re.split(r"[_@]", code)[0]
  return None if code == "en" else code


def catalogues(package: str) -> list[Path]:
  """All .mo files of an installed package, sorted."""
  spec = importlib.util.find_spec(package)
  if spec is None or not spec.submodule_search_locations:
    raise UserError(
      f"data.arguments.packages names {package!r}, which is not installed: pip install {package}"
    )
  return sorted(
    Path(spec.submodule_search_locations[0]).rglob("locale/*/LC_MESSAGES/*.mo")
  ) + sorted(Path(spec.submodule_search_locations[0]).rglob("locales/*/LC_MESSAGES/*.mo"))


def messages(path: Path) -> Iterator[tuple[str, str]]:
  """(English, translation) of one catalogue, contexts removed.

  Plural messages are left out: their singular is often a form for the number one ("One file"), and
  which plural form fits which English one differs from language to language.
  """
  with path.open("rb") as file:
    try:
      catalogue = gettext.GNUTranslations(file)
    except (OSError, UnicodeDecodeError, ValueError) as error:
      logger.warning("skipping the catalogue %s: %s", path, error)
      return
  for message, translation in sorted(
    (m, t) for m, t in catalogue._catalog.items() if isinstance(m, str) and m
  ):
    yield message.split("\x04")[-1], translation


def read(packages: Sequence[str], *, pivot: str) -> Iterator[dict[str, str]]:
  """Rows of all catalogues of the packages, sorted by the English text.

  Where two catalogues translate a message differently into one language, the first stands: the
  earlier package, then the catalogue whose folder has the language's plain code, then by path.
  """
  rows: dict[str, dict[str, str]] = defaultdict(dict)
  for package in packages:
    found = catalogues(package)
    if not found:
      raise UserError(f"data.arguments.packages: {package!r} holds no translation catalogues")
    for path in sorted(found, key=lambda path: (len(path.parts[-3]), path)):
      language = language_of(path.parts[-3])
      if language is None:
        continue
      for english, translation in messages(path):
        rows[english].setdefault(language, translation)
  for english in sorted(rows):
    yield {pivot: english, **rows[english]}
