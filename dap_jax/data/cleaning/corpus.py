"""A corpus, read and cleaned onto a stage: the format's reader, the languages, the rules."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dap_jax.data.cleaning.clean import Cleaning, Rejected
from dap_jax.data.cleaning.filters.rules import expand_rules
from dap_jax.data.cleaning.near_duplicates import bands_of
from dap_jax.data.cleaning.rejections import Rejections
from dap_jax.data.cleaning.stage import Stage, StageWriter, columns_of
from dap_jax.data.cleaning.swapped_sides import warn_of_swapped
from dap_jax.data.engines.processes import Workers
from dap_jax.data.readers import formats
from dap_jax.data.readers.row import Row, is_negative
from dap_jax.data.texts.text_files import line_limit
from dap_jax.utils.errors import UserError

CODE = re.compile(r"[A-Za-z0-9]+([-_@.][A-Za-z0-9]+)*")
CHUNK_ROWS = 2000


class CleanChunk(NamedTuple):
  """What `StageWriter.add` takes, and the pairs that are left out."""

  batch: pa.RecordBatch
  records: np.ndarray
  bands: np.ndarray
  languages: list[str]
  rejected: list[Rejected]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusReader:
  """How a corpus is read and cleaned; the fields are keys of the config's `data` section.

  Attributes:
    format, arguments: the reader of `formats` and that reader's own arguments.
    languages: codes to keep; empty keeps all.
    max_line_bytes: of a line of a text file.
    pivot, rules, rules_for, markup, drop_characters: see `clean.Cleaning`.
    near_duplicates: the similarity from which on a pair counts as near another, 0 for none; see
      `near_duplicates.py`.
  """

  format: str
  arguments: Mapping[str, Any]
  max_line_bytes: int
  pivot: str
  languages: Sequence[str]
  rules: Sequence[str]
  rules_for: Mapping[str, Sequence[str]]
  markup: bool
  drop_characters: str
  near_duplicates: float

  def read(self, folder: Path, rejections: Rejections, workers: Workers) -> Stage:
    """Reads and cleans the whole corpus onto a stage in the folder.

    Args:
      folder: made where it is absent.
      rejections: gets the pairs that are left out.
      workers: clean.

    Raises:
      UserError: the corpus cannot be read, a language of `languages` has no pairs, or no pair
        passes the filters.
    """
    available: set[str] = set()
    rows = self.rows(available)
    chunks = iter(lambda: list(itertools.islice(rows, CHUNK_ROWS)), [])
    clean = functools.partial(
      clean_chunk, cleaning=self.cleaning(), near_duplicates=self.near_duplicates
    )
    with StageWriter(folder) as writer:
      for chunk in workers.map(clean, chunks):
        rejections.add(chunk.rejected)
        check_codes(chunk.languages)
        writer.add(chunk.batch, chunk.records, chunk.bands, chunk.languages)
    stage = writer.stage()
    for language in self.languages:
      if language not in stage.languages:
        known = ", ".join(sorted(available - {self.pivot})) or "none"
        raise UserError(
          f"language {language!r} in data.languages has no pairs: there are pairs for {known}"
        )
    if not stage.size:
      counts = dict(rejections.counts)
      raise UserError(f"data.format={self.format!r} gave no pairs that pass data.rules: {counts}")
    return stage

  def cleaning(self) -> Cleaning:
    """How its rows are cleaned. Raises UserError for an unknown rule."""
    return Cleaning(
      pivot=self.pivot,
      rules=expand_rules(self.rules),
      rules_for={key: expand_rules(rules) for key, rules in self.rules_for.items()},
      markup=self.markup,
      drop_characters=self.drop_characters,
    )

  def rows(self, available: set[str]) -> Iterator[Row]:
    """The corpus's rows, reduced to `languages`; adds the codes of all languages to `available`.

    It warns where the texts of a pair look as if their languages were swapped.
    """
    return warn_of_swapped(self._rows(available), pivot=self.pivot)

  def _rows(self, available: set[str]) -> Iterator[Row]:
    codes = {self.pivot, *self.languages}
    with line_limit(self.max_line_bytes):
      for row in formats.read_rows(self.format, pivot=self.pivot, **self.arguments):
        if not self.languages:
          yield row
          continue
        available.update(key for key in row if not is_negative(key))
        if row.reason or not row.keys().isdisjoint(self.languages):
          texts = {key: text for key, text in row.items() if key in codes or is_negative(key)}
          yield row.with_texts(texts)


def check_codes(languages: Sequence[str]) -> None:
  """Raises UserError for what is no language code: codes are parts of names and of paths."""
  for code in languages:
    if not CODE.fullmatch(code):
      raise UserError(f"{code!r} is no language code: expected one like de, zh-Hant or pt_BR")


def clean_chunk(rows: Sequence[Row], cleaning: Cleaning, near_duplicates: float) -> CleanChunk:
  """Cleans some rows."""
  kept, rejected = [], []
  for row in rows:
    pairs, left_out = cleaning.clean(row)
    kept += pairs
    rejected += left_out
  batch, records, languages = columns_of(kept)
  return CleanChunk(batch, records, bands_of(kept, near_duplicates), languages, rejected)
