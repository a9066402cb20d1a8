"""Mode search: the nearest sentences of the target to every line of the source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dap_jax.mining.exact_search import Neighbours
from dap_jax.mining.options import Options
from dap_jax.mining.table_file import BLOCK_ROWS, blocks, write_table
from dap_jax.mining.work_folder import Sentences


def write(
  source: Sentences,
  target: Sentences,
  path: Path,
  *,
  found: Sequence[Neighbours],
  options: Options,
) -> int:
  """Writes the neighbours of each line, the nearest first. Returns how many there are.

  `found` are the neighbours of the source's sentences.
  """
  (near,) = found
  return write_table(rows_of(source, target, near, min_cosine=options.min_cosine), path)


def rows_of(
  source: Sentences, target: Sentences, near: Neighbours, *, min_cosine: float
) -> Iterator[list[str]]:
  """The rows of the table, with the columns that `dap_jax.mine` describes."""
  lines = np.flatnonzero(source.of_lines >= 0)
  for block in blocks(len(lines), size=max(1, BLOCK_ROWS // near.rows.shape[1])):
    queries = source.of_lines[lines[block]]
    cosines = near.cosines[queries]
    places, ranks = np.nonzero(np.isfinite(cosines) & (cosines >= min_cosine))
    rows = near.rows[queries[places], ranks]
    columns = (
      (lines[block][places] + 1).tolist(),
      (ranks + 1).tolist(),
      [f"{cosine:.6f}" for cosine in cosines[places, ranks]],
      (target.lines[rows] + 1).tolist(),
    )
    asked, texts = source.read(queries), target.read(rows)
    for place, text, *fields in zip(places, texts, *columns, strict=True):
      both = [asked[place], text] if target.texts else []
      yield [*map(str, fields), *both]
