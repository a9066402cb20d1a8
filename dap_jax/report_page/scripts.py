"""The writing system of texts, by the names that Unicode gives their letters.

A letter's name begins with its script ("CYRILLIC SMALL LETTER A"). Digits, signs and marks belong
to many scripts and do not count.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable

RENAMED = {"CJK": "Han", "HIRAGANA": "Kana", "KATAKANA": "Kana"}
FORMS = ("FULLWIDTH", "HALFWIDTH", "MODIFIER")  # of a letter; its script is the next word
NO_LETTERS = "no letters"


def script_of(texts: Iterable[str]) -> str:
  """The script of most letters, `NO_LETTERS` where there are none; Japanese is Kana."""
  characters = Counter(character for text in texts for character in text)
  scripts: Counter[str] = Counter()
  for character, times in characters.items():
    if unicodedata.category(character).startswith("L"):
      scripts[script_of_letter(character)] += times
  return scripts.most_common(1)[0][0] if scripts else NO_LETTERS


def script_of_letter(letter: str) -> str:
  """The first word of the letter's name that is not the form of a letter."""
  words = unicodedata.name(letter, "UNNAMED").split()
  word = next((word for word in words if word not in FORMS), "UNNAMED")
  return RENAMED.get(word, word.title())
