"""The held-out split: by English sentence, the same in every language, chosen by hash."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dap_jax.utils.errors import UserError

# A row's keys are languages, but for those that begin so: they hold its hard negatives.
NEGATIVE = "negative "


class Pair(NamedTuple):
  """One translation pair.

  Attributes:
    language: of the translation.
    pivot: the English text.
    translation: the other text.
    negatives: English texts that are no translation of it, but look like one: hard negatives.
  """

  language: str
  pivot: str
  translation: str
  negatives: tuple[str, ...] = ()


class Split(NamedTuple):
  """train: the pairs to learn from. heldout: per held-out sentence, language -> text."""

  train: list[Pair]
  heldout: list[dict[str, str]]


def key_of(text: str) -> str:
  """What makes two sentences the same for the split: their letters and digits, case aside."""
  return " ".join(re.findall(r"\w+", text.casefold()))


def is_negative(key: str) -> bool:
  """Whether a row's key is that of a hard negative, not a language."""
  return key.startswith(NEGATIVE)


def to_pairs(rows: Iterable[dict[str, str]], *, pivot: str) -> list[Pair]:
  """Rows -> one pair per view that is not the pivot; each has the row's hard negatives."""
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

  Nothing of a held-out sentence stays in training: not its other spellings (case, punctuation), not
  a pair whose translation is one of its translations in that language, and no hard negative that is
  one of them; the pair of that negative stays.

  Args:
    pairs: all pairs of all languages.
    pivot: the pivot's language code, a key of the held-out rows.
    sentences: how many to hold out.
    min_words: words a held-out English sentence has at least.
    min_languages: languages it is translated into at least.

  Raises:
    UserError: fewer sentences than asked for are eligible, or nothing remains to train on.
  """
  views: dict[str, dict[str, str]] = defaultdict(dict)
  for pair in pairs:
    row = views[key_of(pair.pivot)]
    row.setdefault(pivot, pair.pivot)
    row.setdefault(pair.language, pair.translation)
  eligible = [
    key
    for key, row in views.items()
    if len(row[pivot].split()) >= min_words and len(row) - 1 >= min_languages
  ]
  if len(eligible) < sentences:
    raise UserError(
      f"data.heldout.sentences={sentences}, but only {len(eligible)} English sentences have"
      f" {min_words} words and {min_languages} languages: lower one of data.heldout's three numbers"
    )
  eligible.sort(key=lambda key: hashlib.blake2b(key.encode(), digest_size=8).digest())
  chosen = set(eligible[:sentences])
  seen = {
    (pair.language, key_of(pair.translation)) for pair in pairs if key_of(pair.pivot) in chosen
  }
  train = [
    pair._replace(negatives=tuple(text for text in pair.negatives if key_of(text) not in chosen))
    for pair in pairs
    if key_of(pair.pivot) not in chosen and (pair.language, key_of(pair.translation)) not in seen
  ]
  if not train:
    raise UserError(f"data.heldout.sentences={sentences} leaves no pair to train on: lower it")
  return Split(train, [views[key] for key in eligible[:sentences]])
