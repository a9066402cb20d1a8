"""The page of fine-tunings and of XTREME: every language's scores as a map, and learning curves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from dap_jax.evals import MEAN
from dap_jax.evals.transfer import MEAN as ZERO_SHOT_MEAN
from dap_jax.evals.xtreme.scoring.score import FIGURE, TITLES
from dap_jax.evals.xtreme.submission import PREDICTIONS
from dap_jax.evals.xtreme.tasks import TASKS
from dap_jax.inference import finetuned
from dap_jax.report_page import charts
from dap_jax.report_page.html import Charts, Curve, curve_figure, rendered
from dap_jax.report_page.runs import curve_of, names_of
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json
from dap_jax.workdir import layout, records

CURVES = (
  Curve("Loss", {"loss": "loss"}, "Of training batches."),
  Curve("Training accuracy", {"accuracy": "accuracy"}, "Of training batches.", share=True),
  Curve(
    "Development split",
    {"eval/dev/f1": "F1", "eval/dev/accuracy": "accuracy", "eval/dev/exact_match": "exact match"},
    "In the language of training; where a checkpoint is chosen, by the first of these.",
    share=True,
  ),
  Curve("Learning rate", {"learning_rate": "rate"}, "As scheduled."),
)
Columns = dict[str, dict[str, float]]
Named = Sequence[tuple[list[str], float]]  # the parts of a score's name behind the suite, the score
MEANS = (ZERO_SHOT_MEAN, MEAN)  # rows before the languages


@dataclasses.dataclass(frozen=True)
class Training:
  """One fine-tuning: what the page calls it, and the lines of its metrics.jsonl."""

  name: str
  records: list[dict[str, float]]

  def curve(self, key: str) -> list[tuple[float, float]]:
    """(step, value) of every record that has the key."""
    return curve_of(self.records, key)


@dataclasses.dataclass(frozen=True)
class Scored:
  """A workdir of `finetune` or `xtreme`.

  Attributes:
    name: what the page calls it.
    columns: title -> row -> score; the rows are languages and their mean.
    most: the largest score that there can be, 1 or 100.
    figures: further scores by name, XTREME's averages.
    protocols: name -> what its scores mean.
    trainings: the fine-tunings.
  """

  name: str
  columns: Columns
  most: float
  figures: dict[str, float]
  protocols: dict[str, dict[str, Any]]
  trainings: list[Training]


def are_scored(folders: Sequence[str]) -> bool:
  """Whether the workdirs are of `finetune` or `xtreme`. Raises UserError where only some are."""
  scored = [finetuned.is_finetuning(folder) or is_xtreme(folder) for folder in folders]
  if any(scored) and not all(scored):
    first = folders[scored.index(False)]
    raise UserError(f"--workdir={first} is of another kind than the others: give each its page")
  return any(scored)


def is_xtreme(folder: str) -> bool:
  """Whether `xtreme` wrote this folder."""
  path = epath.Path(folder)
  parts = [PREDICTIONS, *TASKS, "squad"]
  return not layout.is_workdir(path) and any(
    finetuned.is_finetuning(path / part) or (part == PREDICTIONS and (path / part).is_dir())
    for part in parts
  )


def read_scored(folders: Sequence[str]) -> list[Scored]:
  """Reads workdirs. Raises UserError: a file is damaged, or a folder is given twice."""
  return [
    read(epath.Path(folder), name=name)
    for folder, name in zip(folders, names_of(folders), strict=True)
  ]


def read(folder: epath.Path, *, name: str) -> Scored:
  """Reads one workdir, which may not be complete."""
  alone = finetuned.is_finetuning(folder)
  places = [folder] if alone else sorted(filter(finetuned.is_finetuning, folder.iterdir()))
  trainings = [
    Training(name if alone else place.name, records.read_records(place)) for place in places
  ]
  path = folder / finetuned.SCORES
  content = read_json(path) if path.exists() else {}
  named = [(key.split("/")[2:], value) for key, value in content.items() if key.startswith("eval/")]
  columns, figures = of_finetuning(named) if alone else of_xtreme(named)
  most = 1.0 if alone else 100.0
  return Scored(name, columns, most, figures, content.get("protocol", {}), trainings)


def of_finetuning(named: Named) -> tuple[Columns, dict[str, float]]:
  """The columns of METRIC/LANGUAGE -> score."""
  columns: Columns = {}
  for (metric, row), value in named:
    columns.setdefault(metric.replace("_", " "), {})[row] = value
  return columns, {}


def of_xtreme(named: Named) -> tuple[Columns, dict[str, float]]:
  """The columns of TASK/METRIC/LANGUAGE -> score that count in averages; and the averages."""
  columns: Columns = {}
  figures: dict[str, float] = {}
  for parts, value in named:
    if len(parts) < 3:  # TASK/figure, group/GROUP, overall
      figures[" ".join(part for part in parts if part not in ("group", FIGURE))] = value
    elif parts[1] in TASKS[parts[0]].figures:
      columns.setdefault(parts[0] + TITLES.get(parts[1], ""), {})[parts[2]] = value
  figures = {name.replace("_", " "): value for name, value in figures.items()}
  return columns, figures


def render(scored: Sequence[Scored]) -> str:
  """The page."""
  drawn = Charts()
  trainings = [
    dataclasses.replace(each, name=f"{one.name}: {each.name}") if several(scored, one) else each
    for one in scored
    for each in one.trainings
  ]
  figures = [figure for curve in CURVES if (figure := curve_figure(curve, trainings, drawn))]
  colors = charts.run_colors(range(len(trainings)))
  return rendered(
    "transfer.html",
    drawn,
    title=", ".join(one.name for one in scored),
    table=score_map(scored),
    scored=scored,
    trainings=[(each.name, color) for each, color in zip(trainings, colors, strict=True)],
    curves=figures,
    shades=charts.SHADES,
    means=MEANS,
  )


def several(scored: Sequence[Scored], one: Scored) -> bool:
  """Whether the name of a fine-tuning does not tell whose it is."""
  return len(scored) > 1 and [each.name for each in one.trainings] != [one.name]


def score_map(scored: Sequence[Scored]) -> dict[str, Any] | None:
  """Titles, and for each row its cells: the score as text and its shade; None without scores.

  Rows: the means, then the languages, the best first by the mean of their cells.
  """
  titles: list[str] = []
  cells: dict[str, dict[int, tuple[str, int]]] = {}
  shares: dict[str, list[float]] = {}
  for one in scored:
    for title, column in one.columns.items():
      place = len(titles)
      titles.append(f"{one.name}: {title}" if len(scored) > 1 else title)
      for row, value in column.items():
        share = value / one.most
        shade = min(max(int(share * len(charts.SHADES)), 0), len(charts.SHADES) - 1)
        cells.setdefault(row, {})[place] = (f"{100 * share:.1f}", shade)
        shares.setdefault(row, []).append(share)
  if not cells:
    return None
  languages = [row for row in cells if row not in MEANS]
  languages.sort(key=lambda row: (-float(np.mean(shares[row])), row))
  rows = [row for row in MEANS if row in cells] + languages
  return {
    "titles": titles,
    "rows": [(row, [cells[row].get(place) for place in range(len(titles))]) for row in rows],
  }
