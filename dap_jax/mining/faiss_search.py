"""Nearest neighbours through an index of FAISS: approximate, and fast where a full search is slow.

Candidates from the index are compared again in float64, so every cosine is exact; but the index may
miss neighbours, which also falsifies margins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from dap_jax.mining import exact_search
from dap_jax.utils.errors import UserError
from dap_jax.utils.progress import Progress
from dap_jax.utils.unit_vectors import unit

if TYPE_CHECKING:
  import faiss

TRAINING_ROWS = 500_000  # a sample of so many vectors is enough to train an index
BLOCK_ROWS = 16_384  # added to the index, or searched for, at a time


def nearest(
  x: exact_search.Side, y: exact_search.Side, *, factory: str, neighbours: int, what: str
) -> tuple[exact_search.Neighbours, exact_search.Neighbours]:
  """The nearest of y to each of x, and of x to each of y, as far as the index finds them.

  Args:
    x, y: of the same width.
    factory: a string for FAISS's index_factory, `IVF1024,Flat`; search parameters may follow after
      a colon, `IVF1024,Flat:nprobe=16`.
    neighbours: k; all vectors of a side that has fewer.
    what: the name that progress is reported under.

  Returns:
    The neighbours of the vectors x, and those of the vectors y.

  Raises:
    UserError: FAISS is not installed, or does not accept the factory or these vectors.
  """
  return (
    one_way(x, y, factory=factory, neighbours=neighbours, what=f"{what}, forward"),
    one_way(y, x, factory=factory, neighbours=neighbours, what=f"{what}, backward"),
  )


def one_way(
  queries: exact_search.Side,
  candidates: exact_search.Side,
  *,
  factory: str,
  neighbours: int,
  what: str,
) -> exact_search.Neighbours:
  """The neighbours of each query among the candidates; the arguments are those of `nearest`."""
  n, m = len(queries.rows), len(candidates.rows)
  rows = np.empty((n, min(neighbours + exact_search.SPARE, m)), np.int64)
  index = make_index(factory, width=candidates.vectors.shape[1])
  with refusals(factory), Progress(what, total=n + m, unit="row") as progress:
    if not index.is_trained:
      sample = np.linspace(0, m - 1, min(m, TRAINING_ROWS)).astype(int)
      index.train(unit_rows(candidates, sample))
    for start in range(0, m, BLOCK_ROWS):
      block = unit_rows(candidates, np.arange(start, min(start + BLOCK_ROWS, m)))
      index.add(block)
      progress.advance(len(block))
    for start in range(0, n, BLOCK_ROWS):
      block = unit_rows(queries, np.arange(start, min(start + BLOCK_ROWS, n)))
      rows[start : start + len(block)] = index.search(block, rows.shape[1])[1]
      progress.advance(len(block))
  return exact_search.rescore(queries, candidates, rows, neighbours=min(neighbours, m))


def make_index(factory: str, *, width: int) -> faiss.Index:
  """An empty index of inner products. Raises UserError: see `nearest`."""
  try:
    import faiss
  except ImportError as error:
    raise UserError("--index=faiss:... needs FAISS: pip install faiss-cpu") from error
  kind, _, parameters = factory.partition(":")
  with refusals(factory):
    index = faiss.index_factory(width, kind, faiss.METRIC_INNER_PRODUCT)
    if parameters:
      space = faiss.ParameterSpace()
      space.set_index_parameters(index, parameters)  # type: ignore[arg-type]  # no stub of this form
  return index


@contextlib.contextmanager
def refusals(factory: str) -> Iterator[None]:
  """Turns errors of FAISS into a UserError; it raises Python's general ones."""
  try:
    yield
  except (RuntimeError, AssertionError) as error:
    reason = str(error).split("failed: ")[-1].strip() or "it cannot search in this way"
    raise UserError(f"--index=faiss:{factory} is refused by FAISS: {reason}") from error


def unit_rows(side: exact_search.Side, positions: np.ndarray) -> np.ndarray:
  """Some rows of a side, float32 of length 1."""
  return unit(side.vectors[side.rows[positions]].astype(np.float64)).astype(np.float32)
