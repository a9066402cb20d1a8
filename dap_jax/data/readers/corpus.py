"""A corpus as clean pairs: the reader, the choice of languages, the filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dap_jax.data.readers import clean, formats, split
from dap_jax.utils.errors import UserError


def read_pairs(
  *,
  format: str,
  arguments: Mapping[str, Any],
  pivot: str,
  languages: Sequence[str],
  rules: Sequence[str],
  markup: bool,
  drop_characters: str,
  rejected: Counter,
) -> list[split.Pair]:
  """Reads and cleans a corpus.

  Args:
    format, arguments: the reader of `formats` and its own arguments.
    pivot: the pivot's language code.
    languages: which to keep; empty keeps all.
    rules: names of the filters of `clean`.
    markup: whether the texts are interface strings, with tags and placeholders to strip.
    drop_characters: taken out of every text.
    rejected: counts the rejected pairs per reason.

  Raises:
    UserError: a language that was asked for has no pairs, or there are none at all.
  """
  available = set()

  def wanted(row: formats.Row) -> formats.Row:
    available.update(key for key in row if not split.is_negative(key))
    kept = {pivot, *languages}
    return {key: text for key, text in row.items() if key in kept or split.is_negative(key)}

  rows = formats.read(format, pivot=pivot, **arguments)
  if languages:
    rows = (row for row in map(wanted, rows) if not row.keys().isdisjoint(languages))
  pairs = split.to_pairs(
    clean.clean_rows(
      rows,
      rules=rules,
      pivot=pivot,
      markup=markup,
      drop_characters=drop_characters,
      rejected=rejected,
    ),
    pivot=pivot,
  )
  found = Counter(pair.language for pair in pairs)
  for language in languages:
    if not found[language]:
      known = ", ".join(sorted(available - {pivot})) or "none"
      raise UserError(
        f"language {language!r} in data.languages has no pairs: there are pairs for {known}"
      )
  if not pairs:
    raise UserError(f"data.format={format!r} gave no pairs that pass data.rules: {dict(rejected)}")
  return pairs
