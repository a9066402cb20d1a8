"""Whether a text is in the language that it should be in: by its script, and by its letters.

Scripts are those that CLDR calls likely for a language; the classifier is py3langid's, a naive
Bayes model of 140 languages over byte n-grams that comes with the package.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import regex
from babel.core import get_global

from dap_jax.data.texts.dictionaries import base_language

# Scripts of Unicode that make up one of ISO 15924's.
PARTS = {
  "Hans": ("Hani", "Bopo"),
  "Hant": ("Hani", "Bopo"),
  "Hrkt": ("Hira", "Kana"),
  "Jpan": ("Hani", "Hira", "Kana"),
  "Kore": ("Hang", "Hani"),
}
# Languages that are written in several, where the code names none.
SEVERAL = {
  **dict.fromkeys(("az", "bs", "crh", "kk", "ku", "mn", "sh", "sr", "tg", "tk", "tt", "uz"), "CLA"),
  **dict.fromkeys(("ha", "ms", "sw", "so"), "LA"),
  **dict.fromkeys(("ks", "pa", "sd"), "AIG"),
}
OF_SEVERAL = {"C": "Cyrl", "L": "Latn", "A": "Arab", "I": "Deva", "G": "Guru"}
LETTER = regex.compile(r"(?V1)[\p{L}--\p{Script=Common}]")
SHORT = 20  # letters; the classifier does not judge what has fewer
UNLIKELY = 0.05  # of 1,800 right sentences in six languages it gives so little to 8
OTHER_NAMES = {"fil": "tl"}  # base language -> what the classifier calls it


@functools.cache
def letter_of(code: str) -> regex.Pattern | None:
  """Matches a letter of the language's scripts; None where they are not known."""
  named = re.findall(r"[-_@]([A-Z][a-z]{3})(?=[-_@]|$)", code)
  base = base_language(code)
  likely = get_global("likely_subtags").get(base, "").split("_")[1:2]
  scripts = named or [OF_SEVERAL[letter] for letter in SEVERAL.get(base, "")] or likely
  if not scripts:
    return None
  parts = [part for script in scripts for part in PARTS.get(script, (script,))]
  try:
    return regex.compile("[" + "".join(rf"\p{{Script={part}}}" for part in parts) + "]")
  except regex.error:  # a script that Unicode does not have
    return None


def other_script(text: str, code: str) -> bool:
  """Under half of a text's letters are of its language's scripts."""
  letter = letter_of(code)
  if letter is None:
    return False
  return 2 * len(letter.findall(text)) < len(LETTER.findall(text))


@functools.cache
def classifier() -> tuple[Callable[[str], list[tuple[str, float]]], frozenset[str]]:
  """A text -> languages and their probabilities; and the languages that it knows."""
  from py3langid.langid import MODEL_FILE, LanguageIdentifier  # half a second

  identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
  return identifier.rank, frozenset(identifier.labels)


def is_short(text: str) -> bool:
  """Whether a text has too few letters for the classifier."""
  return len(LETTER.findall(text)) < SHORT


def likeliest(text: str) -> str:
  """The language that the classifier finds likeliest."""
  return classifier()[0](text)[0][0]


def name_of(code: str) -> str:
  """What the classifier calls a language."""
  base = base_language(code)
  return OTHER_NAMES.get(base, base)


def other_language(text: str, code: str) -> bool:
  """The classifier finds it unlikely that a text is in its language, and knows that language."""
  rank, known = classifier()
  language = name_of(code)
  if language not in known or is_short(text):
    return False
  return dict(rank(text))[language] < UNLIKELY
