"""Cleaning: texts are normalised, and pairs filtered by `rules.RULES`."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dap_jax.data.cleaning.filters.interface_strings import (
  mostly_placeholders,
  strip_interface_markup,
)
from dap_jax.data.cleaning.filters.rules import why_rejected
from dap_jax.data.cleaning.pairs import Pair, pairs_of
from dap_jax.data.readers.row import Row, is_negative
from dap_jax.data.texts.normal_forms import key_of, normalise


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
    rules: names of rules, applied in order.
    rules_for: further ones: a language's code, or a pattern of files, -> the rules in place of
      these; a file's count more than a language's.
    markup: whether the texts are interface strings: they go through `strip_interface_markup`, and
      rows whose pivot is `mostly_placeholders` are dropped.
    drop_characters: taken out of every text first.
  """

  pivot: str
  rules: Sequence[str]
  rules_for: Mapping[str, Sequence[str]]
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
    texts = {code: normalise(text) for code, text in self.without_dropped(row).items()}
    pairs, pivot = pairs_of(texts, pivot=self.pivot, where=row.where), texts[self.pivot]
    if self.markup:
      if mostly_placeholders(pivot):
        return [], [Rejected.of(pair, "placeholders") for pair in pairs]
      texts = {code: strip_interface_markup(text) for code, text in texts.items()}
      pairs, pivot = pairs_of(texts, pivot=self.pivot, where=row.where), texts[self.pivot]
    kept, rejected = [], []
    for pair in pairs:
      rules = self.rules_of(pair.language, row.where)
      languages = self.pivot, pair.language
      if reason := why_rejected(pivot, pair.translation, rules=rules, languages=languages):
        rejected.append(Rejected.of(pair, reason))
      else:
        kept.append(pair)
    if kept and kept[0].negatives:
      negatives = tuple(usable_negatives(texts, pivot=self.pivot).values())
      kept = [pair._replace(negatives=negatives) for pair in kept]
    return kept, rejected

  def without_dropped(self, row: Mapping[str, str]) -> Mapping[str, str]:
    """A row's texts without `drop_characters`."""
    if not self.drop_characters:
      return row
    dropped = str.maketrans("", "", self.drop_characters)
    return {code: text.translate(dropped) for code, text in row.items()}

  def rules_of(self, language: str, where: str) -> Sequence[str]:
    """The rules for the pairs of a language at some place, FILE:LINE say."""
    rules = self.rules
    if self.rules_for:
      file = where.rpartition(":")[0] or where
      rules = self.rules_for.get(language, rules)
      for pattern, of_files in self.rules_for.items():
        if is_pattern(pattern) and fnmatch.fnmatch(file, pattern):
          rules = of_files
    return rules


def is_pattern(name: str) -> bool:
  """Whether a key of `rules_for` is a pattern of files, and no language's code."""
  return any(character in name for character in "*?[")


def usable_negatives(row: Mapping[str, str], *, pivot: str) -> dict[str, str]:
  """A row's hard negatives that have letters or digits, and not the same ones as the pivot."""
  unusable = {"", key_of(row[pivot])}
  return {
    key: text for key, text in row.items() if is_negative(key) and key_of(text) not in unusable
  }
