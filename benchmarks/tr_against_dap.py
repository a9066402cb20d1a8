"""The same run with and without RTL, over several seeds: held-out retrieval as a table.

    python benchmarks/tr_against_dap.py RUNS_FOLDER [--seeds=3] [--jobs=2] [flags of dap_jax.train]

Every run is configs/demo.py but for the weight of RTL (0 or 1) and the seed, which draws parameters
and the order of the pairs; corpus, split and vocabulary are the same. The last step is compared,
not the best one. Runs are `dap_jax.train` processes, each on its share of the cores; the same
command again resumes those that were interrupted. Needs requirements-demo.txt.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from dap_jax.workdir import records

ROOT = Path(__file__).parents[1]
SYSTEMS = {"TR": 0.0, "DAP": 1.0}
METRICS = ("to_pivot_accuracy", "from_pivot_accuracy")


def train(folder: Path, flags: list[str], cores: set[int]) -> dict[str, float]:
  """Trains a run, unless it is finished, on `cores`; returns its last evaluation."""
  command = [sys.executable, "-m", "dap_jax.train", f"--config={ROOT}/configs/demo.py"]
  folder.mkdir(parents=True, exist_ok=True)
  with (folder / "log.txt").open("a") as log:
    subprocess.run(
      [*command, f"--workdir={folder}", *flags],
      cwd=ROOT,
      stdout=log,
      stderr=log,
      check=True,
      preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
  return [line for line in records.read_records(folder) if f"eval/retrieval/{METRICS[0]}" in line][
    -1
  ]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("folder", type=Path)
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
  known, flags = parser.parse_known_args()
  cores = sorted(os.sched_getaffinity(0))
  shares = [set(cores[i :: known.jobs]) for i in range(known.jobs)]
  if not all(shares):
    sys.exit(f"error: --jobs={known.jobs}: expected at most the {len(cores)} cores")
  free = list(shares)
  wanted = [(name, seed) for seed in range(known.seeds) for name in SYSTEMS]

  def run(name: str, seed: int) -> dict[str, float]:
    share = free.pop()
    weight = f"--config.objectives.representation_translation.weight={SYSTEMS[name]}"
    try:
      folder = known.folder.resolve() / f"{name.lower()}_{seed}"
      return train(folder, [weight, f"--config.seed={seed}", *flags], share)
    finally:
      free.append(share)

  with ThreadPoolExecutor(known.jobs) as pool:
    scores = list(pool.map(lambda pair: run(*pair), wanted))

  print(
    f"{date.today()}, step {scores[0]['step']}, {known.seeds} seeds, mean (standard deviation)\n"
  )
  print("| system | to English | from English | each seed, to English |\n|---|---|---|---|")
  for name in SYSTEMS:
    own = [line for (system, _), line in zip(wanted, scores, strict=True) if system == name]
    cells = []
    for metric in METRICS:
      values = [line[f"eval/retrieval/{metric}"] for line in own]
      spread = statistics.stdev(values) if len(values) > 1 else 0.0
      cells.append(f"{statistics.mean(values):.3f} ({spread:.3f})")
    each = ", ".join(f"{line[f'eval/retrieval/{METRICS[0]}']:.3f}" for line in own)
    print(f"| {name} | {cells[0]} | {cells[1]} | {each} |")


if __name__ == "__main__":
  main()
