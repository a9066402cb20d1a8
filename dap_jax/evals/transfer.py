"""Scores of zero-shot transfer: a row for each language, and their mean without the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dap_jax.evals import Result, by_row

MEAN = "zero_shot_mean"


def transfer_result(
  scores: Mapping[str, Mapping[str, float]], protocol: Mapping[str, Any], *, train_language: str
) -> Result:
  """A result with a row a language.

  Args:
    scores: metric -> language -> value; the first metric orders the rows.
    protocol: what the scores mean.
    train_language: its row stands before the others, behind their mean.
  """
  named = {}
  for metric, values in scores.items():
    others = [value for code, value in values.items() if code != train_language]
    if others:
      named[f"{metric}/{MEAN}"] = float(np.mean(others))
    named |= {f"{metric}/{code}": value for code, value in values.items()}
  columns = {metric: by_row(named, metric) for metric in scores}
  of_rows = next(iter(columns.values()))
  first = [row for row in (MEAN, train_language) if row in of_rows]
  rest = sorted(set(of_rows) - set(first), key=lambda row: (-of_rows[row], row))
  return Result(protocol, named, columns, [*first, *rest])
