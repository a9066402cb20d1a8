"""A corpus as clean pairs: the format's reader, the choice of languages, the filters."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dap_jax.data.cleaning import clean, split
from dap_jax.data.readers import formats
from dap_jax.data.readers.row import Row, is_negative
from dap_jax.utils.errors import UserError


class CleanCorpus(NamedTuple):
  """pairs: those that passed every filter. rejected: reason -> how many pairs did not pass."""

  pairs: list[split.Pair]
  rejected: Counter[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusReader:
  """How a corpus is read and cleaned; the fields are keys of the config's `data` section.

  Attributes:
    format, arguments: the reader of `formats` and that reader's own arguments.
    pivot: the pivot's language code.
    languages: codes to keep; empty keeps all.
    rules: names of the filters of `clean`.
    markup: whether the texts are interface strings, with tags and placeholders to strip.
    drop_characters: taken out of every text.
  """

  format: str
  arguments: Mapping[str, Any]
  pivot: str
  languages: Sequence[str]
  rules: Sequence[str]
  markup: bool
  drop_characters: str

  def read(self) -> CleanCorpus:
    """Reads and cleans the whole corpus.

    Raises:
      UserError: the corpus cannot be read, a language of `languages` has no pairs, or no pair
        passes the filters.
    """
    available: set[str] = set()
    rejected: Counter[str] = Counter()
    cleaned = clean.clean_rows(
      self._rows(available),
      rules=self.rules,
      pivot=self.pivot,
      markup=self.markup,
      drop_characters=self.drop_characters,
      rejected=rejected,
    )
    pairs = split.to_pairs(cleaned, pivot=self.pivot)
    with_pairs = {pair.language for pair in pairs}
    for language in self.languages:
      if language not in with_pairs:
        known = ", ".join(sorted(available - {self.pivot})) or "none"
        raise UserError(
          f"language {language!r} in data.languages has no pairs: there are pairs for {known}"
        )
    if not pairs:
      raise UserError(
        f"data.format={self.format!r} gave no pairs that pass data.rules: {dict(rejected)}"
      )
    return CleanCorpus(pairs, rejected)

  def _rows(self, available: set[str]) -> Iterator[Row]:
    """The corpus's rows, reduced to `languages`; adds the codes of all languages to `available`."""
    rows = formats.read_rows(self.format, pivot=self.pivot, **self.arguments)
    if not self.languages:
      yield from rows
      return
    codes = {self.pivot, *self.languages}
    for row in rows:
      available.update(key for key in row if not is_negative(key))
      if row.reason or not row.keys().isdisjoint(self.languages):
        texts = {key: text for key, text in row.items() if key in codes or is_negative(key)}
        yield row.with_texts(texts)
