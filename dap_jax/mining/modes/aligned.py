"""Aligned texts: line i of the source beside line i of the target."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np

from dap_jax.mining import exact_search
from dap_jax.mining.work_folder import Sentences

logger = logging.getLogger(__name__)


class Aligned(NamedTuple):
  """C pairs, in the order of the input.

  Attributes:
    lines: int [C], the line of each, counted from 0.
    source, target: int [C], their sentences.
  """

  lines: np.ndarray
  source: np.ndarray
  target: np.ndarray


def align(source: Sentences, target: Sentences) -> Aligned:
  """The lines of which both sides take part; logs how many others there are."""
  there = (source.of_lines >= 0) & (target.of_lines >= 0)
  lines = np.flatnonzero(there)
  if missing := len(there) - len(lines):
    logger.info(
      "%d of %d pairs left out: a side is empty or without a usable vector", missing, len(there)
    )
  return Aligned(lines, source.of_lines[lines], target.of_lines[lines])


def cosines_of(pairs: Aligned, source: Sentences, target: Sentences) -> np.ndarray:
  """float64 [C], the cosine of each pair."""
  x = source.side._replace(rows=source.side.rows[pairs.source])
  near = exact_search.rescore(x, target.side, pairs.target[:, None], neighbours=1)
  return near.cosines[:, 0]
