"""A warning where the sides of pairs look swapped: the texts of two columns, or of two files.

No rule shows it: most compare the sides with each other, and `language` would leave out every pair.
Only the first pairs of a language in each file are looked at, which costs next to nothing. A pair
counts as swapped where each side looks like the other's language: of close languages the classifier
takes one for the other at times, but rarely both at once.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Iterator

from dap_jax.data.cleaning.filters.languages import is_short, likeliest, name_of
from dap_jax.data.readers.row import Row, is_negative

logger = logging.getLogger(__name__)

TRIED = 1000  # pairs of a language in a file that may be too short to tell
JUDGED = 100  # of these
FEWEST = 20  # that have to be judged
SHARE = 0.8  # of these, that have to look swapped
ALL_TRIED = 50_000  # in the whole corpus; up to 120 µs each


@dataclasses.dataclass
class Tally:
  """Of a language in a file: pairs that were tried, judged, and found swapped; the last of these.

  Attributes:
    tried, judged, swapped: how many.
    row: the last that was judged.
  """

  tried: int = 0
  judged: int = 0
  swapped: int = 0
  row: Row | None = None

  def is_complete(self) -> bool:
    right = self.judged >= FEWEST and self.swapped < self.judged / 2  # as nearly always
    return right or self.tried >= TRIED or self.judged >= JUDGED


def warn_of_swapped(rows: Iterator[Row], *, pivot: str) -> Iterator[Row]:
  """Passes rows on; warns, once for a language in a file, if its pairs look swapped.

  Args:
    rows: as they are in the files; each with the pivot, or with a reason why it is left out.
    pivot: the pivot's language code.
  """
  tallies: collections.defaultdict[tuple[str, str], Tally] = collections.defaultdict(Tally)
  tried = 0
  for row in rows:
    if tried < ALL_TRIED and not row.reason:
      for language in [key for key in row if key != pivot and not is_negative(key)]:
        tally = tallies[file_of(row), language]
        if not tally.is_complete():
          tried += 1
          judge(row, pivot, language, tally)
          if tally.is_complete():
            warn(tally, pivot, language)
    yield row
  for (_, language), tally in tallies.items():
    if not tally.is_complete():
      warn(tally, pivot, language)


def file_of(row: Row) -> str:
  """The file that a row is from: its place is `FILE:LINE` or `FILE: KEY`."""
  file, colon, _ = row.where.partition(": ")
  return file if colon else row.where.rpartition(":")[0]


def judge(row: Row, pivot: str, language: str, tally: Tally) -> None:
  """Counts a row's pair of a language."""
  tally.tried += 1
  if is_short(row[pivot]) or is_short(row[language]):
    return
  tally.judged, tally.row = tally.judged + 1, row
  names = name_of(pivot), name_of(language)
  if names[0] != names[1] and likeliest(row[language]) == names[0]:
    tally.swapped += likeliest(row[pivot]) == names[1]


def warn(tally: Tally, pivot: str, language: str) -> None:
  """Logs that a language's pairs look swapped, if they do."""
  if tally.row is None or tally.judged < FEWEST or tally.swapped < SHARE * tally.judged:
    return
  row = tally.row
  columns = [origin for code, origin in row.origins.items() if code in (pivot, language)]
  cure = "name them the other way round"
  if len(columns) == 2 and all(isinstance(column, int) for column in columns):
    cure = f"set data.arguments.columns=({columns[1]}, {columns[0]})"
  logger.warning(
    "%s: %s looks like %s, %s like %s: swapped? If so, %s",
    file_of(row),
    place_of(row, language),
    pivot,
    place_of(row, pivot),
    language,
    cure,
  )


def place_of(row: Row, language: str) -> str:
  """Where a row's text in a language is from, in words."""
  origin = row.origins.get(language, f"the text in {language}")
  return f"column {origin}" if isinstance(origin, int) else origin
