"""The same run with and without RTL, over several seeds: held-out retrieval as a table.

    python -m benchmarks.tr_against_dap RUNS_FOLDER [--seeds=3] [--jobs=2] [flags of dap_jax.train]

Every run is configs/demo.py but for the weight of RTL (0 or 1) and the seed, which draws parameters
and the order of the pairs; corpus, split and vocabulary are the same. The last step is compared,
not the best one. Runs are `dap_jax.train` processes, each on its share of the cores; the same
command again resumes those that were interrupted. Needs requirements-demo.txt. In a minute:
--seeds=1 --config=tests/tiny.py:CORPUS --config.steps=2, CORPUS as `tests/commands.py` makes it.
"""

from __future__ import annotations

import argparse
import os
import queue
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import measuring
from dap_jax.workdir import records

SYSTEMS = {"TR": 0.0, "DAP": 1.0}
METRICS = ("eval/retrieval/to_pivot_accuracy", "eval/retrieval/from_pivot_accuracy")


def train(folder: Path, flags: list[str], cores: set[int]) -> records.Record:
  """Trains a run, unless it is finished, on `cores`; returns the record of its last evaluation."""
  folder.mkdir(parents=True, exist_ok=True)
  with (folder / "log.txt").open("a") as log:
    subprocess.run(
      [sys.executable, "-m", "dap_jax.train", f"--workdir={folder}", *flags],
      cwd=measuring.ROOT,
      stdout=log,
      stderr=log,
      check=True,
      preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
  return [record for record in records.read_records(folder) if METRICS[0] in record][-1]


def train_all(flags: argparse.Namespace, train_flags: list[str]) -> dict[str, list[records.Record]]:
  """System -> the last evaluation of each seed."""
  cores = sorted(os.sched_getaffinity(0))
  shares: queue.Queue[set[int]] = queue.Queue()
  for job in range(flags.jobs):
    shares.put(set(cores[job :: flags.jobs]))

  def run(system: str, seed: int) -> records.Record:
    share = shares.get()
    weight = f"--config.objectives.representation_translation.weight={SYSTEMS[system]}"
    changes = [f"--config={flags.config}", weight, f"--config.seed={seed}", *train_flags]
    try:
      return train(flags.folder.resolve() / f"{system.lower()}_{seed}", changes, share)
    finally:
      shares.put(share)

  runs = [(system, seed) for seed in range(flags.seeds) for system in SYSTEMS]
  with ThreadPoolExecutor(flags.jobs) as pool:
    evaluations = list(pool.map(lambda system_and_seed: run(*system_and_seed), runs))
  by_system: dict[str, list[records.Record]] = {system: [] for system in SYSTEMS}
  for (system, _), evaluation in zip(runs, evaluations, strict=True):
    by_system[system].append(evaluation)
  return by_system


def mean_and_deviation(values: list[float]) -> str:
  """As a cell of the table; one value deviates by 0."""
  deviation = statistics.stdev(values) if len(values) > 1 else 0.0
  return f"{statistics.mean(values):.3f} ({deviation:.3f})"


def main() -> None:
  parser = argparse.ArgumentParser(
    description="Runs with and without RTL; further flags go to dap_jax.train.", allow_abbrev=False
  )
  parser.add_argument("folder", type=Path)
  parser.add_argument("--config", default="configs/demo.py")
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
  flags, train_flags = parser.parse_known_args()
  if flags.jobs > (cores := len(os.sched_getaffinity(0))):
    sys.exit(f"error: --jobs={flags.jobs}: expected at most the {cores} cores")
  by_system = train_all(flags, train_flags)
  step = by_system["TR"][0]["step"]
  print(f"{measuring.processor()}, step {step}, {flags.seeds} seeds, mean (standard deviation)\n")
  measuring.print_header("system", "to English", "from English", "each seed, to English")
  for system, evaluations in by_system.items():
    to_english, from_english = ([line[metric] for line in evaluations] for metric in METRICS)
    each = ", ".join(f"{value:.3f}" for value in to_english)
    cells = map(mean_and_deviation, (to_english, from_english))
    measuring.print_row(system, *cells, each)


if __name__ == "__main__":
  main()
