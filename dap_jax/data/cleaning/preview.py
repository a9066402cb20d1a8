"""The beginning of a corpus before and after cleaning: a look at it before anything is written."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from dap_jax.data.cleaning.corpus import CorpusReader
from dap_jax.data.cleaning.pairs import pairs_of
from dap_jax.data.cleaning.swapped_sides import place_of
from dap_jax.data.readers.row import Row

ROWS = 50_000  # how far it looks for examples of each language


def preview(reader: CorpusReader, *, examples: int) -> Iterator[str]:
  """Lines of text: of each language the first pairs as they are in the files, and what becomes of
  them: the cleaned texts, or the rule that rejects them; then how many of the rows read were kept.
  """
  cleaning = reader.cleaning()
  shown: Counter[str] = Counter()
  kept: Counter[str] = Counter()
  rejected: Counter[str] = Counter()
  count = 0
  for row in itertools.islice(reader.rows(set()), ROWS):
    count += 1
    pairs, left_out = cleaning.clean(row)
    kept.update(pair.language for pair in pairs)
    rejected.update(each.reason for each in left_out)
    outcomes = {each.language: f"rejected: {each.reason}" for each in left_out}
    outcomes |= {pair.language: f"{pair.pivot}  |||  {pair.translation}" for pair in pairs}
    for language, outcome in outcomes.items():
      if shown[language] < examples:
        shown[language] += 1
        yield from example_lines(row, language, outcome, pivot=reader.pivot)
  reasons = ", ".join(f"{reason} {count}" for reason, count in rejected.most_common())
  yield f"{count} rows read: {sum(kept.values())} pairs kept; rejected: {reasons or 'none'}"


def example_lines(row: Row, language: str, outcome: str, *, pivot: str) -> Iterator[str]:
  """One pair: where it stands, its texts as they are, and the outcome."""
  raw = [pair for pair in pairs_of(row, pivot=pivot) if pair.language == language]
  yield f"{language or 'left out by the reader'}  {row.where}"
  for pair in raw:
    if row.origins:
      sides = (f"{code}, {place_of(row, code)}" for code in (pivot, pair.language))
      yield f"  texts   {'  |||  '.join(sides)}"
    yield f"  before  {pair.pivot!r}  |||  {pair.translation!r}"
  yield f"  after   {outcome}"
