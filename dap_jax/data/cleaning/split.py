"""The held-out split: by English sentence, the same in every language, chosen by hash."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dap_jax.data.readers.row import is_negative
from dap_jax.data.texts.normal_forms import key_of
from dap_jax.utils.errors import UserError


class Pair(NamedTuple):
  """One translation pair.

  Attributes:
    language: of the translation.
    pivot: the English text.
    translation: the other text.
    negatives: hard negatives: English texts that look like a translation of it, but are none.
  """

  language: str
  pivot: str
  translation: str
  negatives: tuple[str, ...] = ()


class Split(NamedTuple):
  """train: the pairs to learn from. heldout: per held-out sentence, language -> text."""

  train: list[Pair]
  heldout: list[dict[str, str]]


def to_pairs(rows: Iterable[dict[str, str]], *, pivot: str) -> list[Pair]:
  """Rows -> one pair for each translation; every pair of a row has the row's hard negatives."""
  pairs = []
  for row in rows:
    negatives = tuple(text for key, text in row.items() if is_negative(key))
    pairs += [
      Pair(key, row[pivot], text, negatives)
      for key, text in row.items()
      if key != pivot and not is_negative(key)
    ]
  return pairs


def split_pairs(
  pairs: Sequence[Pair],
  *,
  pivot: str,
  sentences: int,
  min_words: int,
  min_languages: int,
) -> Split:
  """Holds out `sentences` English sentences, those with the smallest hash.

  Nothing of a held-out sentence stays in training: neither its other spellings (case, punctuation)
  nor a pair whose translation is one of its translations in that language. A held-out sentence is
  also removed from the hard negatives of other pairs; those pairs stay.

  Args:
    pairs: all pairs of all languages.
    pivot: the pivot's language code, a key of the held-out rows.
    sentences: how many to hold out.
    min_words: the fewest words a held-out English sentence may have.
    min_languages: the fewest languages it may be translated into.

  Raises:
    UserError: fewer sentences than asked for are eligible, or nothing remains to train on.
  """
  rows = rows_by_key(pairs, pivot=pivot)
  eligible = [
    key
    for key, row in rows.items()
    if len(row[pivot].split()) >= min_words and len(row) - 1 >= min_languages
  ]
  if len(eligible) < sentences:
    raise UserError(
      f"data.heldout.sentences={sentences}, but only {len(eligible)} sentences in {pivot} have"
      f" {min_words} words and {min_languages} languages: lower one of data.heldout's three numbers"
    )
  eligible.sort(key=lambda key: hashlib.blake2b(key.encode(), digest_size=8).digest())
  chosen = eligible[:sentences]
  train = without_sentences(pairs, set(chosen))
  if not train:
    raise UserError(f"data.heldout.sentences={sentences} leaves no pair to train on: lower it")
  return Split(train, [rows[key] for key in chosen])


def rows_by_key(pairs: Sequence[Pair], *, pivot: str) -> dict[str, dict[str, str]]:
  """`key_of` a pivot text -> language -> text: of each language the first one, pivot included."""
  rows: dict[str, dict[str, str]] = defaultdict(dict)
  for pair in pairs:
    row = rows[key_of(pair.pivot)]
    row.setdefault(pivot, pair.pivot)
    row.setdefault(pair.language, pair.translation)
  return rows


def without_sentences(pairs: Sequence[Pair], keys: set[str]) -> list[Pair]:
  """The pairs that share no text with some sentences, and without them as hard negatives.

  Args:
    pairs: all pairs.
    keys: `key_of` the English sentences.
  """
  translations = {
    (pair.language, key_of(pair.translation)) for pair in pairs if key_of(pair.pivot) in keys
  }
  return [
    pair._replace(negatives=tuple(text for text in pair.negatives if key_of(text) not in keys))
    for pair in pairs
    if key_of(pair.pivot) not in keys
    and (pair.language, key_of(pair.translation)) not in translations
  ]
