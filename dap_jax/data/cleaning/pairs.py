"""Pairs of translations, and the numbers by which they are compared without their texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from dap_jax.data.readers.row import is_negative
from dap_jax.data.texts.normal_forms import key_of

# What is known of a pair beside its texts; the hashes are `hash_of`.
#   pair              language, pivot and translation
#   pivot_key         `key_of` the pivot: texts of one key are one sentence for the split
#   translation_key   `key_of` the translation
#   pivot_text, translation_text
#   language          its number, in the order in which the languages first appear
#   words             of the pivot
RECORD = np.dtype(
  [
    *((name, "<u8") for name in ("pair", "pivot_key", "translation_key")),
    *((name, "<u8") for name in ("pivot_text", "translation_text")),
    ("language", "<u2"),
    ("words", "<u2"),
  ]
)
MOST_WORDS = 2**16 - 1


class Pair(NamedTuple):
  """One translation pair.

  Attributes:
    language: of the translation.
    pivot: the English text.
    translation: the other text.
    negatives: hard negatives: English texts that look like a translation of it, but are none.
    where: of the file it stands, for people.
  """

  language: str
  pivot: str
  translation: str
  negatives: tuple[str, ...] = ()
  where: str = ""


def hash_of(text: str) -> int:
  """64 bits of blake2b, the first the highest: sorting by it is sorting by the digests."""
  return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def pairs_of(row: Mapping[str, str], *, pivot: str, where: str = "") -> list[Pair]:
  """One pair for each translation of a row; each has the row's hard negatives."""
  negatives = tuple(text for key, text in row.items() if is_negative(key))
  return [
    Pair(key, row[pivot], text, negatives, where)
    for key, text in row.items()
    if key != pivot and not is_negative(key)
  ]


def records_of(pairs: Iterable[Pair], *, numbers: Mapping[str, int]) -> np.ndarray:
  """`RECORD` of each pair; numbers: those of the languages."""
  records = []
  pivot, of_pivot = None, (0, 0, 0)
  for pair in pairs:
    if pair.pivot != pivot:  # the pairs of a row share it
      pivot = pair.pivot
      words = min(len(pivot.split()), MOST_WORDS)
      of_pivot = hash_of(key_of(pivot)), hash_of(pivot), words
    key, text, words = of_pivot
    language, translation = pair.language, pair.translation
    records.append(
      (
        hash_of(f"{language}\0{pivot}\0{translation}"),
        key,
        hash_of(key_of(translation)),
        text,
        hash_of(translation),
        numbers[language],
        words,
      )
    )
  return np.array(records, RECORD)
