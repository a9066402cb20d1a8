"""Cleaning: texts are normalised, pairs filtered by the rules that `data.rules` names.

The rules of DAP's clean-up (arXiv 2305.09148, released program) have the prefix `dap_`. That
program counts mBERT's word pieces; here `tokens` are counted, which needs no vocabulary.
"""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from dap_jax.data.cleaning.interface_strings import (
  LEFT_OVER,
  mostly_placeholders,
  strip_interface_markup,
)
from dap_jax.data.cleaning.pairs import Pair, pairs_of
from dap_jax.data.readers.row import Row, is_negative
from dap_jax.data.texts.normal_forms import key_of, normalise
from dap_jax.utils.errors import UserError

# Scripts in which there are far fewer words between spaces than word pieces. An ideograph is a
# token; in scripts without spaces (Thai, Lao, Tibetan, Burmese, Khmer, kana) and in dense ones
# (Hebrew, Arabic, Hangul) a token has up to four characters.
IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
DENSE = "\u0590-\u08ff\u0e00-\u109f\u1780-\u17ff\u3041-\u30ff\uac00-\ud7a3\u200c\u200d"
PUNCTUATION = re.escape(string.punctuation) + "¡-¿\u2010-\u205e\u3001-\u303f\uff01-\uff0f،؛؟۔।॥"
TOKEN = re.compile(
  rf"[{PUNCTUATION}]|[{IDEOGRAPHS}]|(?:(?![{PUNCTUATION}])[{DENSE}]){{1,4}}"
  rf"|[^\s{IDEOGRAPHS}{DENSE}{PUNCTUATION}]+"
)


def tokens(text: str) -> list[str]:
  """Words and punctuation marks, roughly as many as word pieces; see `DENSE`."""
  return TOKEN.findall(text)


def dap_length(pivot: str, translation: str) -> bool:
  """DAP's rule on lengths: max(l1, l2) > max(2 min(l1, l2), 32), or min(l1, l2) > 64."""
  short, long = sorted((len(tokens(pivot)), len(tokens(translation))))
  return long > max(2 * short, 32) or short > 64


def dap_overlap(pivot: str, translation: str) -> bool:
  """Both sides have over 5 tokens, and at least half the tokens of one occur in the other."""
  a, b = tokens(pivot), tokens(translation)
  if min(len(a), len(b)) <= 5:
    return False
  sides = ((a, set(b)), (b, set(a)))
  return any(2 * sum(t in other for t in side) >= len(side) for side, other in sides)


def length_ratio(pivot: str, translation: str) -> bool:
  """One side has over 3 times as many tokens as the other, and over 14 more: no translation."""
  short, long = sorted((len(tokens(pivot)), len(tokens(translation))))
  return long > 3 * short and long - short > 14


def letters(text: str) -> int:
  """How many letters a text has."""
  return sum(map(str.isalpha, text))


def either(test: Callable[[str], bool]) -> Callable[[str, str], bool]:
  """The rule that rejects a pair if `test` holds for one of its sides."""
  return lambda pivot, translation: test(pivot) or test(translation)


# name -> whether the rule rejects (pivot, translation)
RULES: dict[str, Callable[[str, str], bool]] = {
  "empty": either(lambda text: not text),
  # One letter can be a Chinese word, but no English one.
  "no_letters": lambda pivot, translation: letters(pivot) < 2 or letters(translation) < 1,
  "equal": lambda pivot, translation: pivot.casefold() == translation.casefold(),
  "markup": either(lambda text: LEFT_OVER.search(text) is not None),
  "length_ratio": length_ratio,
  "dap_symbols": either(lambda text: "@" in text or "http" in text or text == "N/A"),
  "dap_short": either(lambda text: len(tokens(text)) <= 3),
  "dap_length": dap_length,
  "dap_overlap": dap_overlap,
}


# name -> the rules that it stands for
PRESETS = {"dap": ("empty", "equal", "dap_symbols", "dap_short", "dap_length", "dap_overlap")}


def expand_rules(names: Sequence[str]) -> tuple[str, ...]:
  """Names of rules and presets -> of rules. Raises UserError if one of them is neither."""
  rules: dict[str, None] = {}
  for name in names:
    if name not in RULES and name not in PRESETS:
      raise UserError(f"data.rules names {name!r}; known are {', '.join([*PRESETS, *RULES])}")
    rules |= dict.fromkeys(PRESETS.get(name, (name,)))
  return tuple(rules)


def why_rejected(pivot: str, translation: str, *, rules: Sequence[str]) -> str | None:
  """The name of the first rule that rejects the pair; None if all accept it."""
  return next((name for name in rules if RULES[name](pivot, translation)), None)


class Rejected(NamedTuple):
  """A pair that is left out: why, and where of which file it stands."""

  reason: str
  where: str
  language: str
  pivot: str
  translation: str

  @classmethod
  def of(cls, pair: Pair, reason: str) -> Rejected:
    return cls(reason, pair.where, pair.language, pair.pivot, pair.translation)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cleaning:
  """How rows are cleaned; the fields are keys of the config's `data` section.

  Attributes:
    pivot: the pivot's language code.
    rules: names in `RULES`, applied in order.
    markup: whether the texts are interface strings: they go through `strip_interface_markup`, and
      rows whose pivot is `mostly_placeholders` are dropped.
    drop_characters: taken out of every text first.
  """

  pivot: str
  rules: Sequence[str]
  markup: bool
  drop_characters: str

  def clean(self, row: Row) -> tuple[list[Pair], list[Rejected]]:
    """Normalises a row's texts -> the pairs that pass the rules, and those that do not.

    The rules do not apply to hard negatives: of these only `usable_negatives` are kept.

    Args:
      row: language -> text, the pivot's and hard negatives included.
    """
    if row.reason:
      return [], [Rejected(row.reason, row.where, "", row.get(self.pivot, ""), "")]
    dropped = str.maketrans("", "", self.drop_characters)
    texts = {code: normalise(text.translate(dropped)) for code, text in row.items()}
    pairs, pivot = pairs_of(texts, pivot=self.pivot, where=row.where), texts[self.pivot]
    if self.markup:
      if mostly_placeholders(pivot):
        return [], [Rejected.of(pair, "placeholders") for pair in pairs]
      texts = {code: strip_interface_markup(text) for code, text in texts.items()}
      pairs, pivot = pairs_of(texts, pivot=self.pivot, where=row.where), texts[self.pivot]
    kept, rejected = [], []
    for pair in pairs:
      if reason := why_rejected(pivot, pair.translation, rules=self.rules):
        rejected.append(Rejected.of(pair, reason))
      else:
        kept.append(pair)
    if kept and kept[0].negatives:
      negatives = tuple(usable_negatives(texts, pivot=self.pivot).values())
      kept = [pair._replace(negatives=negatives) for pair in kept]
    return kept, rejected


def usable_negatives(row: Mapping[str, str], *, pivot: str) -> dict[str, str]:
  """A row's hard negatives that have letters or digits, and not the same ones as the pivot."""
  unusable = {"", key_of(row[pivot])}
  return {
    key: text for key, text in row.items() if is_negative(key) and key_of(text) not in unusable
  }
