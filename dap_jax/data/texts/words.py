"""Where the words of a text are, and when two of them are the same word.

White space ends a word; a run of punctuation and symbols is a word too. In scripts that are written
without spaces between words, the caller says where to cut.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Collection
from typing import NamedTuple

import regex

# Unicode's script extensions (scx): a sign that several scripts share, as "ー", belongs to each.
SPACELESS = ("Han", "Hira", "Kana", "Thai", "Laoo", "Khmr", "Mymr")
_SPACELESS = "".join(rf"\p{{scx={script}}}" for script in SPACELESS)
_OTHER = r"\s\p{P}\p{S}"
_RUN = regex.compile(
  rf"(?V1)(?P<spaceless>[[{_SPACELESS}]--[{_OTHER}]]+)"
  rf"|(?P<spaced>[^{_OTHER}{_SPACELESS}]+)|[\p{{P}}\p{{S}}]+"
)


class Word(NamedTuple):
  """A stretch of a text.

  Attributes:
    start, end: its characters, [start, end).
    kind: "spaced" or "spaceless", as its script is written; None for punctuation and symbols.
    key: the same for words that differ only in case and Unicode normalisation.
  """

  start: int
  end: int
  kind: str | None
  key: str


def words(text: str, *, cuts: Collection[int] = ()) -> list[Word]:
  """The words of a text; one of a spaceless script also ends at each of the characters `cuts`."""
  result = []
  for run in _RUN.finditer(text):
    start, end = run.span()
    inside = range(start + 1, end) if run.lastgroup == "spaceless" else ()
    edges = [start, *(at for at in inside if at in cuts), end]
    for start, end in itertools.pairwise(edges):
      result.append(Word(start, end, run.lastgroup, fold(text[start:end])))
  return result


def fold(text: str) -> str:
  """The text without case, in Unicode NFC; accents stay."""
  return text.casefold() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


def glue(first: Word, second: Word) -> str:
  """What is between two neighbouring words in the key of a phrase: nothing or a space."""
  together = first.kind == second.kind == "spaceless" and first.end == second.start
  return "" if together else " "


def phrase_key(text: str) -> str:
  """The key of a whole text: its words' keys, joined by spaces; "" if all is punctuation."""
  parts = words(text)
  return " ".join(word.key for word in parts) if any(word.kind for word in parts) else ""
