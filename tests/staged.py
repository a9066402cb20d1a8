"""Pairs and rows through the stage, for tests that have them in memory."""

import contextlib
import pathlib
import tempfile

import numpy as np

from dap_jax.data import tokenised_pairs
from dap_jax.data.cleaning import selection
from dap_jax.data.cleaning.clean import Cleaning
from dap_jax.data.cleaning.corpus import CorpusReader
from dap_jax.data.cleaning.near_duplicates import bands_of
from dap_jax.data.cleaning.rejections import Rejections
from dap_jax.data.cleaning.stage import StageWriter, columns_of, pairs_in
from dap_jax.data.engines.processes import Processes
from dap_jax.data.readers.row import Row


@contextlib.contextmanager
def staged(pairs, *, batch=7, near_duplicates=0.0):
  """A stage of these pairs, in batches of so many."""
  with tempfile.TemporaryDirectory() as folder:
    with StageWriter(pathlib.Path(folder)) as writer:
      for start in range(0, len(pairs), batch):
        part = pairs[start : start + batch]
        texts, records, languages = columns_of(part)
        writer.add(texts, records, bands_of(part, near_duplicates), languages)
    yield writer.stage()


def split_pairs(pairs, *, min_pairs=1, guard=(), near_duplicates=0.0, **settings):
  """The pairs to train on, and the held-out rows."""
  with staged(pairs, near_duplicates=near_duplicates) as stage:
    settings |= {"guard": np.array(sorted(guard), np.uint64), "near_duplicates": near_duplicates}
    chosen = selection.select(stage, min_pairs=min_pairs, **settings)
    kept = tokenised_pairs.kept_pairs(stage, chosen)
    return [pair for batch in kept for pair in batch], chosen.heldout


def clean_rows(rows, **changes):
  """The pairs of some rows that pass, and how many do not, by reason."""
  settings = {"pivot": "en", "rules": (), "rules_for": {}, "markup": False, "drop_characters": ""}
  cleaning = Cleaning(**settings | changes)
  results = [cleaning.clean(row if isinstance(row, Row) else Row(row)) for row in rows]
  with tempfile.TemporaryDirectory() as folder, Rejections(pathlib.Path(folder)) as rejections:
    for _, rejected in results:
      rejections.add(rejected)
    return [pair for pairs, _ in results for pair in pairs], dict(rejections.counts)


def read_pairs(**settings):
  """All pairs of a corpus that pass the rules; settings: of `CorpusReader`."""
  settings = {"max_line_bytes": 1 << 20, "rules_for": {}, "near_duplicates": 0.0} | settings
  with tempfile.TemporaryDirectory() as name, Rejections(pathlib.Path(name) / "r") as rejections:
    stage = CorpusReader(**settings).read(pathlib.Path(name) / "s", rejections, Processes())
    batches = [batch.pairs for batch in stage.batches()]
    return [pair for batch in batches for pair in pairs_in(batch, range(batch.num_rows))]
