"""The tables of README.md: each system's figures, and paired differences between systems.

    python -m benchmarks.token_alignment.table runs/alignment/systems runs/alignment/controls ...
        [--json=FILE]

Reads runs.csv of each sweep and metrics.jsonl of its runs. A figure is a mean over languages, of
retrieval over queries; then over seeds, with the standard deviation over seeds. A difference is
paired by seed and language (retrieval's by seed): its interval is Student's over the seeds' mean
differences, 95 %; p is that of a permutation test that flips the signs of pairs, exact up to
`EXACT` pairs. The pairs of one seed share a model, so the interval is the more careful of the two.
The file of --json has the figures of each seed, system -> title -> values, for `ablations.py`.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import stats

from benchmarks import measuring
from dap_jax.workdir.records import read_records

EXACT = 16  # pairs of which all choices of signs are tried; of more, SAMPLES random ones
SAMPLES = 100_000
# Title -> the metric, whose `/LANGUAGE` are averaged if it has no value itself; whether larger is
# better.
FIGURES = {
  "AER": ("eval/word_alignment/aer", False),
  "mining F1": ("eval/bucc/test_f1", True),
  "precision": ("eval/bucc/test_precision", True),
  "recall": ("eval/bucc/test_recall", True),
  "xx->en": ("eval/retrieval/to_pivot_accuracy", True),
  "en->xx": ("eval/retrieval/from_pivot_accuracy", True),
  "Tatoeba xx->en": ("eval/tatoeba/to_english_accuracy", True),
  "Tatoeba en->xx": ("eval/tatoeba/from_english_accuracy", True),
}
COMPARED = ("AER", "mining F1", "xx->en", "Tatoeba xx->en")
# A system, and the one that it is compared with.
PAIRS = (
  ("DAP", "TR"),
  ("TR + TLM", "TR"),
  ("TR, twice the steps", "TR"),
  ("DAP, new decoder", "TR"),
  ("DAP", "DAP, new decoder"),
  ("DAP", "TR, twice the steps"),
  ("DAP, mean", "TR, mean"),
  ("DAP, random weights", "TR, random weights"),
  ("DAP", "RTL both ways"),
  ("DAP", "RTL from English"),
  ("DAP", "mask ratio 0.6"),
  ("DAP", "mask ratio 0.2"),
  ("DAP", "K = 1"),
  ("DAP", "K = 4"),
  ("best, [CLS] and margin", "DAP"),
  ("best", "DAP"),
)
Figures = dict[str, dict[str, float]]  # title -> language, or ALL -> value
ALL = "all"


def read_runs(sweeps: Iterable[pathlib.Path]) -> dict[str, dict[int, Figures]]:
  """System -> seed -> figures, of the complete runs of some sweeps."""
  runs: dict[str, dict[int, Figures]] = {}
  for sweep in sweeps:
    for line in csv.DictReader((sweep / "runs.csv").open(encoding="utf-8")):
      if line["state"] == "complete":
        figures = read_figures(line["workdir"])
        runs.setdefault(line["system"], {})[int(line["seed"])] = figures
  return runs


def read_figures(workdir: str) -> Figures:
  """The newest value of each figure in each language."""
  newest: dict[str, float] = {}
  for record in read_records(workdir):
    newest |= record
  found: Figures = {}
  for title, (metric, _) in FIGURES.items():
    languages = {
      name.removeprefix(f"{metric}/"): value
      for name, value in newest.items()
      if name.startswith(f"{metric}/")
    }
    languages.pop("mean", None)
    if metric in newest:
      languages = {ALL: newest[metric]}
    if languages:
      found[title] = languages
  return found


def mean_and_deviation(values: Sequence[float]) -> str:
  """`0.586 ± 0.004`, in which the deviation is that of a sample; of one value the value alone."""
  if not len(values):
    return "-"
  deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
  return f"{np.mean(values):.3f}{deviation}"


def language_means(seeds: Mapping[int, Figures], title: str) -> list[float]:
  """The mean over languages of each seed that has the figure."""
  return [np.mean([*figures[title].values()]) for figures in seeds.values() if title in figures]


def differences(
  system: Mapping[int, Figures], other: Mapping[int, Figures], title: str
) -> list[list[float]]:
  """For each seed that both have: system - other, language by language."""
  rows = []
  for seed in sorted(set(system) & set(other)):
    ours, theirs = (runs[seed].get(title, {}) for runs in (system, other))
    if languages := sorted(set(ours) & set(theirs)):
      rows.append([ours[language] - theirs[language] for language in languages])
  return rows


def permutation_p(values: Sequence[float]) -> float:
  """How often the mean is as far from 0 when the signs of values are flipped at random.

  Examples:
    >>> permutation_p([0.1, 0.2, 0.3])  # 2 of the 8 choices: all as they are, all flipped
    0.25
  """
  if len(values) <= EXACT:
    signs = np.array(list(itertools.product((1, -1), repeat=len(values))))
  else:
    signs = np.random.default_rng(0).choice((1, -1), (SAMPLES, len(values)))
    signs[0] = 1
  means = np.abs(signs @ np.asarray(values)) / len(values)
  return float(np.mean(means >= means[0] - 1e-12))


def interval(means: Sequence[float]) -> str:
  """Student's interval of 95 % around the mean of the seeds' differences, in points."""
  if len(means) < 2:
    return "-"
  low, high = stats.ttest_1samp(means, 0.0).confidence_interval(0.95)
  return f"{100 * low:+.1f} to {100 * high:+.1f}"


def comparison(rows: Sequence[Sequence[float]], *, larger_is_better: bool) -> list[str]:
  """Cells: the difference in points, its interval, p, in how many pairs the system is better."""
  if not rows:
    return ["-"] * 4
  pairs = np.concatenate(rows)
  better = np.count_nonzero(pairs > 0 if larger_is_better else pairs < 0)
  return [
    f"{100 * pairs.mean():+.1f}",
    interval([np.mean(row) for row in rows]),
    f"{permutation_p(pairs):.2g}",
    f"{better} of {len(pairs)}",
  ]


def write_values(runs: Mapping[str, Mapping[int, Figures]], path: pathlib.Path) -> None:
  """Writes the means over languages of each seed, a system a line."""
  lines = []
  for system, seeds in runs.items():
    values = {
      title: [round(float(value), 4) for value in language_means(seeds, title)] for title in FIGURES
    }
    lines.append(f"  {json.dumps(system)}: {json.dumps(values)}")
  path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> None:
  parser = argparse.ArgumentParser(description="Tables of the token alignment experiment.")
  parser.add_argument("sweeps", nargs="+", type=pathlib.Path, help="outputs of sweep.py")
  parser.add_argument("--json", type=pathlib.Path, help="a file to write")
  flags = parser.parse_args()
  runs = read_runs(flags.sweeps)
  if flags.json:
    write_values(runs, flags.json)
  measuring.print_header("system", "seeds", *FIGURES)
  for system, seeds in runs.items():
    cells = (mean_and_deviation(language_means(seeds, title)) for title in FIGURES)
    measuring.print_row(system, len(seeds), *cells)
  print()
  measuring.print_header("difference", "of", "seeds", "points", "95 %", "p", "better")
  for system, other in PAIRS:
    for title in COMPARED:
      rows = differences(runs.get(system, {}), runs.get(other, {}), title)
      if rows:
        cells = comparison(rows, larger_is_better=FIGURES[title][1])
        measuring.print_row(f"{system} - {other}", title, len(rows), *cells)
  print()
  for title in COMPARED[:2]:
    languages = sorted({x for s in runs.values() for f in s.values() for x in f.get(title, {})})
    if languages:
      measuring.print_header(f"{title} of each language", *languages)
    for system, seeds in runs.items() if languages else ():
      columns = ([f[title][x] for f in seeds.values() if x in f.get(title, {})] for x in languages)
      measuring.print_row(system, *map(mean_and_deviation, columns))
    print()


if __name__ == "__main__":
  main()
