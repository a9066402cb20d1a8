"""What a reader yields: a sentence and its translations, and where they stand in the file."""

from __future__ import annotations

from collections.abc import Mapping

# A row's keys are language codes, except those with this prefix: they hold its hard negatives.
NEGATIVE = "negative "
Origins = Mapping[str, int | str]
ONE_PLACE: Origins = {}


class Row(dict[str, str]):
  """Language -> text, the pivot's included; hard negatives are under the keys of `NEGATIVE`.

  Attributes:
    where: of the file, for people: `de-en.tsv:17`, `memory.tmx: tu 17`; "" where it is not known.
    origins: language -> where its text is from: the number of a column, from 1, else in words, the
      name of a column or a file; empty where all texts are from one place.
    reason: why the reader itself leaves the row out, one word such as `fuzzy` or `no_target`, which
      is counted; "" for a row to be used.
  """

  __slots__ = ("origins", "reason", "where")

  def __init__(
    self,
    texts: Mapping[str, str],
    *,
    where: str = "",
    reason: str = "",
    origins: Origins = ONE_PLACE,
  ):
    super().__init__(texts)
    self.where, self.reason, self.origins = where, reason, origins

  def with_texts(self, texts: Mapping[str, str]) -> Row:
    """Other texts, from the same place."""
    return Row(texts, where=self.where, reason=self.reason, origins=self.origins)


def is_negative(key: str) -> bool:
  """Whether a row's key names a hard negative, not a language."""
  return key.startswith(NEGATIVE)
