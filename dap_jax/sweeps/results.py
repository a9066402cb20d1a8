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
from typing import NamedTuple

from dap_jax.report_page import runs as workdirs
from dap_jax.sweeps import state
from dap_jax.sweeps.plan import Plan, Run
from dap_jax.utils.json_files import read_json
from dap_jax.workdir.records import is_score

SPEEDS = ("pairs_per_second", "tokens_per_second", "data_wait")  # columns of these are medians


class Cell(NamedTuple):
  """A system's figure: the mean over the seeds that have one.

  Attributes:
    mean: None where no seed has one.
    deviation: the sample standard deviation (n - 1); None for fewer than two.
    values: the seeds' own.
    wanted: how many seeds the sweep has.
  """

  mean: float | None
  deviation: float | None
  values: list[float]
  wanted: int


class Results(NamedTuple):
  """What is there of a sweep.

  Attributes:
    plan: the sweep.
    states: of each run, see `state.of`.
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
    own = [v for run, v in zip(self.plan.runs, self.values, strict=True) if run.system == system]
    found = [values[title] for values in own if title in values]
    mean = statistics.mean(found) if found else None
    return Cell(mean, statistics.stdev(found) if len(found) > 1 else None, found, len(own))

  def best(self, title: str) -> float | None:
    """The best mean of a column; None where no two systems can be compared."""
    means = [cell.mean for system in self.systems if (cell := self.cell(system, title)).values]
    if len(means) < 2:
      return None
    return min(means) if is_lower_better(self.plan, title) else max(means)


def is_lower_better(plan: Plan, title: str) -> bool:
  """Whether the column's key has a minus sign."""
  return plan.columns[title].startswith("-")


def collect(plan: Plan) -> Results:
  """Reads the workdirs. Raises UserError where a file in one is damaged."""
  states = [state.of(run, plan) for run in plan.runs]
  values = [
    figures(run, plan) if each == state.COMPLETE else {}
    for run, each in zip(plan.runs, states, strict=True)
  ]
  return Results(plan, states, values)


def figures(run: Run, plan: Plan) -> dict[str, float]:
  """Column title -> the figure of a complete run, without those that it lacks."""
  figures = workdirs.read_one(str(run.workdir), name=str(run))
  evaluated = {each.name: own_scores(run.scores(each)) for each in plan.evaluations}
  found = {}
  for title, key in plan.columns.items():
    name, colon, metric = key.removeprefix("-").partition(":")
    if colon:
      value = evaluated[name].get(metric)
    else:
      value = figures.median(name) if name in SPEEDS else figures.last(name)
    if isinstance(value, int | float) and math.isfinite(value):
      found[title] = float(value)
  return found


def own_scores(path: Path) -> dict[str, float]:
  """METRIC -> value of an evaluation's file, where they are called eval/SUITE/METRIC."""
  content = read_json(path)
  return {key.split("/", 2)[2]: v for key, v in content.items() if is_score(key)}


def decimals(values: Sequence[float]) -> int:
  """So many that the largest has three digits, 0.786 or 78.6, and four at most."""
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
  few = len(cell.values) < cell.wanted
  return f"{text} ({len(cell.values)} of {cell.wanted})" if few else text


def markdown(results: Results) -> str:
  """The table, what its figures are, and the runs that are not in it."""
  columns, systems = results.plan.columns, results.systems
  rows = [["system", *(f"{t} ↓" if is_lower_better(results.plan, t) else t for t in columns)]]
  cells = {(s, t): results.cell(s, t) for s in systems for t in columns}
  means = {t: [cells[s, t].mean for s in systems if cells[s, t].values] for t in columns}
  shown = {t: {"digits": decimals(means[t]), "best": results.best(t)} for t in columns}
  rows += [[s, *(cell_text(cells[s, t], **shown[t]) for t in columns)] for s in systems]
  rows = [[text.replace("|", "\\|") for text in row] for row in rows]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = [
    "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
    for row in rows
  ]
  lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
  return "\n".join([*lines, "", legend(results), *absent(results)]) + "\n"


def legend(results: Results) -> str:
  """What a cell holds."""
  counts = {results.cell(system, "").wanted for system in results.systems}
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
  said = ["", title, "", *lines] if lines else []
  for column, key in results.plan.columns.items():
    if complete and not any(column in values for values in results.values):
      known = difflib.get_close_matches(
        key.removeprefix("-"), metrics_of(complete[0], results.plan), n=3, cutoff=0
      )
      said += ["", f"No run has {key} of the column {column}. Runs have, say, {', '.join(known)}."]
  return said


def metrics_of(run: Run, plan: Plan) -> list[str]:
  """Every key that a column may have, for a complete run."""
  records = workdirs.read_one(str(run.workdir), name=str(run)).records
  found = dict.fromkeys(key for line in records for key in line)
  for each in plan.evaluations:
    found |= dict.fromkeys(f"{each.name}:{metric}" for metric in own_scores(run.scores(each)))
  return list(found)


def write(results: Results, output: Path) -> str:
  """Writes the three files; returns the text of the table."""
  columns = list(results.plan.columns)
  text = markdown(results)
  replace(output / "table.md", text)
  header = ["system", *(f"{t} {what}" for t in columns for what in ("mean", "sd", "seeds"))]
  rows = []
  for system in results.systems:
    cells = [results.cell(system, title) for title in columns]
    rows.append([system, *(x for c in cells for x in (c.mean, c.deviation, len(c.values)))])
  replace(output / "table.csv", csv_text(header, rows))
  raw = zip(results.plan.runs, results.states, results.values, strict=True)
  rows = [[r.system, r.seed, state, r.workdir, *map(own.get, columns)] for r, state, own in raw]
  replace(output / "runs.csv", csv_text(["system", "seed", "state", "workdir", *columns], rows))
  return text


def csv_text(header: Sequence[str], rows: Sequence[Sequence]) -> str:
  """A CSV file; None becomes an empty field."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(header)
  writer.writerows(rows)
  return text.getvalue()


def replace(path: Path, text: str) -> None:
  """Writes a file whole, also while another machine does."""
  temporary = path.with_name(f"{path.name}.{os.uname().nodename}.{os.getpid()}.tmp")
  temporary.write_text(text, encoding="utf-8")
  temporary.replace(path)
