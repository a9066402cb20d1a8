"""Nearest neighbours through an index of FAISS: approximate, and quick where a full search is not.

What the index finds is compared again in float64, so every cosine is exact; but it may miss
neighbours, and then margins are off too.
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

TRAINING_ROWS = 500_000  # a sample of this size is enough to train an index
PIECE_ROWS = 16_384


def nearest(
  x: exact_search.Side, y: exact_search.Side, *, factory: str, neighbours: int, what: str
) -> tuple[exact_search.Neighbours, exact_search.Neighbours]:
  """The found neighbours of x in y, and of y in x.

  Args:
    x, y: of the same width.
    factory: what FAISS's index_factory takes, `IVF1024,Flat`; parameters of the search may follow
      after a colon, `IVF1024,Flat:nprobe=16`.
    neighbours: k; all of a side where it has fewer.
    what: the name of the search, to report its progress under.

  Raises:
    UserError: FAISS is not installed, or does not accept the factory or these vectors.
  """
  return tuple(
    one_way(*sides, factory=factory, neighbours=neighbours, what=f"{what}, {direction}")
    for sides, direction in (((x, y), "forward"), ((y, x), "backward"))
  )


def one_way(
  queries: exact_search.Side,
  candidates: exact_search.Side,
  *,
  factory: str,
  neighbours: int,
  what: str,
) -> exact_search.Neighbours:
  """The neighbours of one side."""
  n, m = len(queries.rows), len(candidates.rows)
  found = np.empty((n, min(neighbours + exact_search.SPARE, m)), np.int64)
  index = make_index(factory, width=candidates.vectors.shape[1])
  with refusals(factory), Progress(what, total=n + m, unit="row") as progress:
    if not index.is_trained:
      sample = np.linspace(0, m - 1, min(m, TRAINING_ROWS)).astype(int)
      index.train(unit_rows(candidates, sample))
    for start in range(0, m, PIECE_ROWS):
      piece = unit_rows(candidates, np.arange(start, min(start + PIECE_ROWS, m)))
      index.add(piece)
      progress.advance(len(piece))
    for start in range(0, n, PIECE_ROWS):
      piece = unit_rows(queries, np.arange(start, min(start + PIECE_ROWS, n)))
      found[start : start + len(piece)] = index.search(piece, found.shape[1])[1]
      progress.advance(len(piece))
  return exact_search.rescore(queries, candidates, found, neighbours=min(neighbours, m))


def make_index(factory: str, *, width: int) -> faiss.Index:
  """An empty index by inner product. Raises UserError: see `nearest`."""
  try:
    import faiss
  except ImportError as error:
    raise UserError("--index=faiss:... needs FAISS: pip install faiss-cpu") from error
  kind, _, parameters = factory.partition(":")
  with refusals(factory):
    index = faiss.index_factory(width, kind, faiss.METRIC_INNER_PRODUCT)
    if parameters:
      faiss.ParameterSpace().set_index_parameters(index, parameters)
  return index


@contextlib.contextmanager
def refusals(factory: str) -> Iterator[None]:
  """Turns what FAISS raises, which has no exceptions of its own, into a UserError."""
  try:
    yield
  except (RuntimeError, AssertionError) as error:
    said = str(error).split("failed: ")[-1].strip() or "it cannot search in this way"
    raise UserError(f"--index=faiss:{factory} is refused by FAISS: {said}") from error


def unit_rows(side: exact_search.Side, places: np.ndarray) -> np.ndarray:
  """Some rows of a side, float32 of length 1."""
  return unit(side.vectors[side.rows[places]].astype(np.float64)).astype(np.float32)
