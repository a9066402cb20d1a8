"""When two texts are the same: for training, where white space decides nothing; for the split."""

from __future__ import annotations

import itertools
import re
import unicodedata

import regex

WORD = regex.compile(r"(?:[\p{L}\p{N}_]\p{M}*+)++")  # its \w is without "²", and has lone marks
# Of an ASCII text: what its words are made of, in lower case, and spaces between them.
ASCII_WORDS = "".join(c.lower() if WORD.match(c) else " " for c in map(chr, range(128)))


def normalise(text: str) -> str:
  """Unicode NFC; every run of white space (tabs, line ends) one space; no invisible characters.

  Control and format characters are removed (byte-order marks, soft hyphens, bidi marks, zero-width
  spaces), except the zero-width joiner and non-joiner: Indic and Arabic scripts spell words with
  them.
  """
  if not text.isprintable():  # it has control or format characters, or white space beside " "
    text = re.sub(r"\s", " ", text)
    visible = (unicodedata.category(c) not in ("Cc", "Cf") or c in "\u200c\u200d" for c in text)
    text = "".join(itertools.compress(text, visible))
  return re.sub(" {2,}", " ", unicodedata.normalize("NFC", text)).strip()


def has_word(text: str) -> bool:
  """Whether a text has a letter or a digit: whether its `key_of` is not empty."""
  return text[:1].isalnum() or WORD.search(text) is not None


def key_of(text: str) -> str:
  """A text's letters and digits without case: texts of one key are one sentence for the split.

  Marks belong to letters: without its vowel signs a Hindi, Thai or Tamil word is another word.
  """
  if text.isascii():  # several times faster
    return " ".join(text.translate(ASCII_WORDS).split())
  return " ".join(WORD.findall(text.casefold()))
