"""Several runs side by side: their final figures, and where their configs differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dap_jax.report_page.measure import Measured
from dap_jax.report_page.runs import LoadedRun, config_differences
from dap_jax.utils.errors import UserError

# The formats of a value and of a difference.
SHARE, NUMBER = ("{:.1%}", "{:+z.1%}"), ("{:.3f}", "{:+z.3f}")
WHOLE = ("{:,.0f}", "{:+,.0f}")


def compare(runs: Sequence[LoadedRun], measured: Sequence[Measured | UserError]) -> dict[str, Any]:
  """The comparison that the template shows.

  Returns:
    `figures`: rows of a name and, for each run, its value and the difference to the first run's;
    `settings`: the config keys that differ and their values.
  """
  rows = []
  for name, values, formats in figures(runs, measured):
    cells = [
      cell(value, values[0] if place else None, formats) for place, value in enumerate(values)
    ]
    if any(value is not None for value in values):
      rows.append((name, cells))
  return {"runs": runs, "figures": rows, "settings": config_differences(runs)}


def cell(value: float | None, first: float | None, formats: tuple[str, str]) -> tuple[str, str]:
  """A value and its difference to the first run's, as text; "" where there is none."""
  if value is None:
    return "", ""
  return formats[0].format(value), "" if first is None else formats[1].format(value - first)


def figures(
  runs: Sequence[LoadedRun], measured: Sequence[Measured | UserError]
) -> list[tuple[str, list[float | None], tuple[str, str]]]:
  """Rows of the table: name, each run's value, the formats."""

  def of_checkpoint(get: Callable[[Measured], float | None]) -> list[float | None]:
    return [None if isinstance(each, UserError) else get(each) for each in measured]

  def score(key: str) -> list[float | None]:
    return of_checkpoint(lambda each: each.scores[key])

  def before(key: str) -> list[float | None]:
    return [run.before(f"eval/retrieval/{key}") for run in runs]

  def mean_true(each: Measured) -> float | None:
    return None if each.similarities is None else float(each.similarities.true.mean())

  def mean_other(each: Measured) -> float | None:
    return None if each.similarities is None else each.similarities.other

  objectives = dict.fromkeys(name for run in runs for name in run.objectives)
  losses = [
    (f"last loss of {name.replace('_', ' ')}", [run.last(name) for run in runs], NUMBER)
    for name in objectives
  ]
  return [
    ("step of the checkpoint", of_checkpoint(lambda each: each.step), WHOLE),
    ("to the pivot", score("to_pivot_accuracy"), SHARE),
    ("to the pivot, before training", before("to_pivot_accuracy"), SHARE),
    ("from the pivot", score("from_pivot_accuracy"), SHARE),
    ("from the pivot, before training", before("from_pivot_accuracy"), SHARE),
    ("held-out translations", score("queries"), WHOLE),
    *losses,
    ("mean cosine, true pairs", of_checkpoint(mean_true), NUMBER),
    ("mean cosine, other sentences", of_checkpoint(mean_other), NUMBER),
    ("encoder parameters", of_checkpoint(lambda each: each.parameters), WHOLE),
    ("pairs per second, median", [run.median("pairs_per_second") for run in runs], WHOLE),
    ("goodput, at the end", [run.last("goodput") for run in runs], SHARE),
    ("MFU, median", [run.median("mfu") for run in runs], SHARE),
  ]
