"""Several runs side by side: their final figures, and where their configs differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dap_jax.report_page.measure import Measured
from dap_jax.report_page.runs import Run, differences
from dap_jax.utils.errors import UserError

# How a value and a difference are written.
SHARE, NUMBER = ("{:.1%}", "{:+z.1%}"), ("{:.3f}", "{:+z.3f}")
WHOLE = ("{:,.0f}", "{:+,.0f}")


def compare(runs: Sequence[Run], measured: Sequence[Measured | UserError]) -> dict[str, Any]:
  """`figures`: rows of a name and (value, difference to the first run) a run; `settings`: the keys
  that differ and their values.
  """
  rows = []
  for name, values, formats in figures(runs, measured):
    cells = [
      cell(value, values[0] if place else None, formats) for place, value in enumerate(values)
    ]
    if any(value is not None for value in values):
      rows.append((name, cells))
  return {"runs": runs, "figures": rows, "settings": differences(runs)}


def cell(value: float | None, first: float | None, formats: tuple[str, str]) -> tuple[str, str]:
  """A value and its difference to the first run's, as text; "" where there is none."""
  if value is None:
    return "", ""
  return formats[0].format(value), "" if first is None else formats[1].format(value - first)


def figures(
  runs: Sequence[Run], measured: Sequence[Measured | UserError]
) -> list[tuple[str, list[float | None], tuple[str, str]]]:
  """Name, each run's value, how it is written."""

  def of_checkpoint(get):
    return [None if isinstance(found, UserError) else get(found) for found in measured]

  def score(key):
    return of_checkpoint(lambda found: found.scores[key])

  objectives = dict.fromkeys(name for run in runs for name in run.objectives)
  losses = [
    (f"last loss of {name.replace('_', ' ')}", [run.last(name) for run in runs], NUMBER)
    for name in objectives
  ]
  return [
    ("step of the checkpoint", of_checkpoint(lambda found: found.step), WHOLE),
    ("to the pivot", score("to_pivot_accuracy"), SHARE),
    ("from the pivot", score("from_pivot_accuracy"), SHARE),
    ("held-out translations", score("queries"), WHOLE),
    *losses,
    (
      "mean cosine, true pairs",
      of_checkpoint(lambda found: found.similarities and float(found.similarities.true.mean())),
      NUMBER,
    ),
    (
      "mean cosine, other sentences",
      of_checkpoint(lambda found: found.similarities and found.similarities.other),
      NUMBER,
    ),
    ("encoder parameters", of_checkpoint(lambda found: found.parameters), WHOLE),
    ("pairs per second, median", [run.median("pairs_per_second") for run in runs], WHOLE),
  ]
