"""The table of a sweep: a row a system, mean and standard deviation over its seeds.

OUTPUT/table.md    the table, best means in bold, and what is missing
OUTPUT/table.csv   mean, standard deviation and number of seeds of every cell
OUTPUT/runs.csv    a line a run: its state and its raw numbers
"""

from __future__ import annotations

import csv
import difflib
import io
import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dap_jax.report_page.runs import read_run
from dap_jax.sweeps import state
from dap_jax.sweeps.plan import Plan, SweepRun
from dap_jax.utils.json_files import read_json
from dap_jax.workdir.records import is_score

# Columns of these are medians.
SPEEDS = ("pairs_per_second", "tokens_per_second", "data_wait", "mfu", "goodput")


class Cell(NamedTuple):
  """A cell of the table: the mean over the seeds that have a figure.

  Attributes:
    mean: None where no seed has one.
    deviation: the sample standard deviation (n - 1); None for fewer than two.
    values: of each seed that has one.
    seeds: how many the sweep has.
  """

  mean: float | None
  deviation: float | None
  values: list[float]
  seeds: int


class Results(NamedTuple):
  """The results of a sweep so far.

  Attributes:
    plan: the sweep.
    states: of each run, see `state.state_of`.
    values: of each run, column title -> its figure; only complete runs have any.
  """

  plan: Plan
  states: list[str]
  values: list[dict[str, float]]

  @property
  def systems(self) -> list[str]:
    """Their names in the order of the sweep file."""
    return list(dict.fromkeys(run.system for run in self.plan.runs))

  def cell(self, system: str, title: str) -> Cell:
    """One cell of the table."""
    pairs = zip(self.plan.runs, self.values, strict=True)
    by_seed = [figures for run, figures in pairs if run.system == system]
    values = [figures[title] for figures in by_seed if title in figures]
    mean = statistics.mean(values) if values else None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Cell(mean, deviation, values, len(by_seed))

  def means(self, title: str) -> list[float]:
    """The means of a column, of the systems that have one."""
    cells = (self.cell(system, title) for system in self.systems)
    return [cell.mean for cell in cells if cell.mean is not None]

  def best(self, title: str) -> float | None:
    """The best mean of a column; None where no two systems can be compared."""
    means = self.means(title)
    if len(means) < 2:
      return None
    return min(means) if is_lower_better(self.plan, title) else max(means)


def is_lower_better(plan: Plan, title: str) -> bool:
  """Whether the column's key has a minus sign."""
  return plan.columns[title].startswith("-")


def collect(plan: Plan) -> Results:
  """Reads the workdirs. Raises UserError where a file in one is damaged."""
  states = [state.state_of(run, plan) for run in plan.runs]
  values = [
    figures(run, plan) if each == state.COMPLETE else {}
    for run, each in zip(plan.runs, states, strict=True)
  ]
  return Results(plan, states, values)


def figures(run: SweepRun, plan: Plan) -> dict[str, float]:
  """Column title -> the figure of a complete run; columns without one are left out."""
  figures = read_run(str(run.workdir), name=str(run))
  evaluated = {each.name: evaluation_scores(run.scores(each)) for each in plan.evaluations}
  by_title = {}
  for title, key in plan.columns.items():
    name, colon, metric = key.removeprefix("-").partition(":")
    if colon:
      value = evaluated[name].get(metric)
    else:
      value = figures.median(name) if name in SPEEDS else figures.last(name)
    if isinstance(value, int | float) and math.isfinite(value):
      by_title[title] = float(value)
  return by_title


def evaluation_scores(path: Path) -> dict[str, float]:
  """METRIC -> value of an evaluation's file, where they are called eval/SUITE/METRIC."""
  content = read_json(path)
  return {key.split("/", 2)[2]: v for key, v in content.items() if is_score(key)}


def decimals(values: Sequence[float]) -> int:
  """Decimals with which the largest value has three digits, 0.786 or 78.6; at most four."""
  largest = max((abs(value) for value in values), default=0.0)
  return min(4, max(0, 2 - math.floor(math.log10(largest)))) if largest else 1


def cell_text(cell: Cell, *, digits: int, best: float | None) -> str:
  """`0.786 ± 0.002`, bold if its mean looks like the best, with the seeds if they are not all."""
  if cell.mean is None:
    return "missing"
  text = shown = f"{cell.mean:.{digits}f}"
  if cell.deviation is not None:
    text += f" ± {cell.deviation:.{digits}f}"
  if best is not None and shown == f"{best:.{digits}f}":
    text = f"**{text}**"
  few = len(cell.values) < cell.seeds
  return f"{text} ({len(cell.values)} of {cell.seeds})" if few else text


def markdown(results: Results) -> str:
  """The table, a line that explains it, and the runs that are not in it."""
  columns, systems = results.plan.columns, results.systems
  rows = [["system", *(f"{t} ↓" if is_lower_better(results.plan, t) else t for t in columns)]]
  cells = {(s, t): results.cell(s, t) for s in systems for t in columns}
  digits = {t: decimals(results.means(t)) for t in columns}
  best = {t: results.best(t) for t in columns}
  for s in systems:
    texts = (cell_text(cells[s, t], digits=digits[t], best=best[t]) for t in columns)
    rows.append([s, *texts])
  rows = [[text.replace("|", "\\|") for text in row] for row in rows]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = [
    "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
    for row in rows
  ]
  lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
  return "\n".join([*lines, "", legend(results), *absent(results)]) + "\n"


def legend(results: Results) -> str:
  """The line below the table that explains a cell."""
  counts = {results.cell(system, "").seeds for system in results.systems}
  seeds = " or ".join(map(str, sorted(counts)))
  text = f"Mean ± sample standard deviation over {seeds} seed{'s' if max(counts) > 1 else ''}"
  if any(is_lower_better(results.plan, title) for title in results.plan.columns):
    text += "; ↓: smaller is better"
  return f"{text}."


def absent(results: Results) -> list[str]:
  """A line for each run without figures, and for each column without any."""
  pairs = list(zip(results.plan.runs, results.states, strict=True))
  complete = [run for run, each in pairs if each == state.COMPLETE]
  lines = [f"- {run}: {each}" for run, each in pairs if each != state.COMPLETE]
  title = f"Not in the table, {len(lines)} of {len(pairs)} runs:"
  paragraphs = ["", title, "", *lines] if lines else []
  for column, key in results.plan.columns.items():
    if complete and not any(column in values for values in results.values):
      known = difflib.get_close_matches(
        key.removeprefix("-"), metrics_of(complete[0], results.plan), n=3, cutoff=0
      )
      paragraphs += [
        "",
        f"No run has {key} of the column {column}. Runs have, say, {', '.join(known)}.",
      ]
  return paragraphs


def metrics_of(run: SweepRun, plan: Plan) -> list[str]:
  """Every key that a column may have, for a complete run."""
  records = read_run(str(run.workdir), name=str(run)).records
  metrics = dict.fromkeys(key for line in records for key in line)
  for each in plan.evaluations:
    metrics |= dict.fromkeys(
      f"{each.name}:{metric}" for metric in evaluation_scores(run.scores(each))
    )
  return list(metrics)


def write(results: Results, output: Path) -> str:
  """Writes the three files; returns the text of the table."""
  columns = list(results.plan.columns)
  text = markdown(results)
  write_shared(output / "table.md", text)
  header = ["system", *(f"{t} {what}" for t in columns for what in ("mean", "sd", "seeds"))]
  rows: list[list[Any]] = []
  for system in results.systems:
    cells = [results.cell(system, title) for title in columns]
    rows.append([system, *(x for c in cells for x in (c.mean, c.deviation, len(c.values)))])
  write_shared(output / "table.csv", csv_text(header, rows))
  raw = zip(results.plan.runs, results.states, results.values, strict=True)
  rows = [
    [run.system, run.seed, each, str(run.workdir), *map(figures.get, columns)]
    for run, each, figures in raw
  ]
  write_shared(
    output / "runs.csv", csv_text(["system", "seed", "state", "workdir", *columns], rows)
  )
  return text


def csv_text(header: Sequence[str], rows: Sequence[Sequence]) -> str:
  """A CSV file; None becomes an empty field."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(header)
  writer.writerows(rows)
  return text.getvalue()


def write_shared(path: Path, text: str) -> None:
  """Writes a file whole or not at all, though other machines may write it at the same time."""
  temporary = path.with_name(f"{path.name}.{os.uname().nodename}.{os.getpid()}.tmp")
  temporary.write_text(text, encoding="utf-8")
  temporary.replace(path)
