"""What a reader yields: a sentence and its translations, and where they stand in the file."""

from __future__ import annotations

from collections.abc import Mapping

# A row's keys are language codes, except those with this prefix: they hold its hard negatives.
NEGATIVE = "negative "


class Row(dict[str, str]):
  """Language -> text, the pivot's included; hard negatives are under the keys of `NEGATIVE`.

  Attributes:
    where: of the file, for people: `de-en.tsv:17`, `memory.tmx: tu 17`; "" where it is not known.
    reason: why the reader itself leaves the row out, one word such as `fuzzy` or `no_target`, which
      is counted; "" for a row to be used.
  """

  __slots__ = ("reason", "where")

  def __init__(self, texts: Mapping[str, str], *, where: str = "", reason: str = ""):
    super().__init__(texts)
    self.where, self.reason = where, reason

  def with_texts(self, texts: Mapping[str, str]) -> Row:
    """Other texts, from the same place."""
    return Row(texts, where=self.where, reason=self.reason)


def is_negative(key: str) -> bool:
  """Whether a row's key names a hard negative, not a language."""
  return key.startswith(NEGATIVE)
