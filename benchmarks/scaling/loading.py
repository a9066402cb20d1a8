"""What a host holds of a corpus that it trains on, and how fast it reads batches, without a model.

    python -m benchmarks.scaling.loading runs/WORKDIR [runs/WORKDIR ...] [--seconds=60]

Each workdir's data is loaded as `train` loads it, and batches of 128 pairs are read from the first
step on, in a process of its own. Memory is without the pages of mapped files. Linux alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from benchmarks import measuring
from benchmarks.scaling.measure import memory_of
from dap_jax.data import loader, store
from dap_jax.workdir import layout

PAIRS = 128  # of a batch
LOOK = 20  # batches between two looks at the memory
CHILD = "--alone"


def measure(workdir: str, *, seconds: float) -> None:
  """Prints the row of a workdir."""
  before = memory_of(os.getpid())
  corpus = store.load(f"{workdir}/data", pad_id=0)
  config = layout.read_config(workdir)
  batches = loader.batches(
    corpus.sources,
    rates=corpus.rates,
    bucket_tokens=config["data"]["bucket_tokens"] or (corpus.info["max_tokens"],),
    seed=config["seed"],
    batch_size=PAIRS,
    rows=slice(0, PAIRS),
    first_step=0,
  )
  started, count, peak = time.perf_counter(), 0, 0
  while (elapsed := time.perf_counter() - started) < seconds or not count:
    next(batches)
    if count % LOOK == 0:
      peak = max(peak, memory_of(os.getpid()))
    count += 1
  pairs = sum(len(source) for source in corpus.sources.values())
  megabytes = (size >> 20 for size in (before, peak - before))
  measuring.print_row(f"{pairs:,}", *megabytes, f"{count * PAIRS / elapsed:,.0f}")


def main() -> None:
  parser = argparse.ArgumentParser(description="Memory and speed of reading prepared data.")
  parser.add_argument("workdirs", nargs="+")
  parser.add_argument("--seconds", type=float, default=60, help="of reading, for each")
  parser.add_argument(CHILD, action="store_true", help=argparse.SUPPRESS)
  flags = parser.parse_args()
  if flags.alone:
    measure(flags.workdirs[0], seconds=flags.seconds)
    return
  measuring.print_header("pairs", "imports, MB", "data, MB", "pairs/s read")
  sys.stdout.flush()
  for workdir in flags.workdirs:
    command = [sys.executable, "-m", "benchmarks.scaling.loading", workdir, CHILD]
    subprocess.run([*command, f"--seconds={flags.seconds}"], cwd=measuring.ROOT, check=True)


if __name__ == "__main__":
  main()
