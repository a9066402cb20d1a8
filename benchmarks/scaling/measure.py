"""How long preparing a corpus takes, and starting to train on it, and how much memory they need.

    export GUARD=../shared/data/tatoeba_v1:../shared/data/tico19:../shared/data/sts17
    python -m benchmarks.scaling.measure runs/pairs [--results=results.jsonl]

Runs the commands `prepare` and `train` (60 steps of the demo's model) of `config.py` in a folder
that it removes. Memory is what all processes of a command hold together at their peak, without the
pages of mapped files, which the system takes back when it needs them. Linux alone. What follows
`--` goes to both commands.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import measuring

SECONDS = 0.5  # between two looks at the memory
FIRST_STEP = re.compile(r"first step done ([\d.]+) s after the start")


class Watched(NamedTuple):
  """A command that has ended: its output, its seconds, those of all cores, its peak memory."""

  output: str
  seconds: float
  cpu_seconds: float
  peak_bytes: int


def watch(*arguments: str) -> Watched:
  """Runs `python ARGUMENTS`, and looks at its memory. Ends this program where that one fails."""
  started, cpu_before, peak = time.perf_counter(), cpu_seconds(), 0
  with tempfile.TemporaryFile("w+") as output:
    process = subprocess.Popen(
      [sys.executable, *arguments], cwd=measuring.ROOT, stdout=output, stderr=subprocess.STDOUT
    )
    while process.poll() is None:
      peak = max(peak, sum(map(memory_of, family(process.pid))))
      time.sleep(SECONDS)
    output.seek(0)
    text = output.read()
  if process.returncode:
    sys.exit(f"python {' '.join(arguments)} failed:\n{text[-2000:]}")
  return Watched(text, time.perf_counter() - started, cpu_seconds() - cpu_before, peak)


def cpu_seconds() -> float:
  """Of all commands that have ended, and of their processes."""
  usage = resource.getrusage(resource.RUSAGE_CHILDREN)
  return usage.ru_utime + usage.ru_stime


def family(root: int) -> list[int]:
  """A process and all that descend from it."""
  parents: dict[int, list[int]] = {}
  for folder in pathlib.Path("/proc").glob("[0-9]*"):
    fields = status_of(int(folder.name))
    if "PPid" in fields:
      parents.setdefault(int(fields["PPid"]), []).append(int(folder.name))
  found, waiting = [], [root]
  while waiting:
    found.append(waiting.pop())
    waiting += parents.get(found[-1], [])
  return found


def memory_of(process: int) -> int:
  """Bytes that a process holds, mapped files not counted; 0 of one that has ended."""
  fields = status_of(process)
  return sum(1024 * int(fields.get(key, "0").split()[0]) for key in ("RssAnon", "RssShmem"))


def status_of(process: int) -> dict[str, str]:
  """What the kernel says about a process; nothing of one that has ended."""
  try:
    lines = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
  except OSError:
    return {}
  return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def measure(
  corpus: pathlib.Path, workdir: pathlib.Path, overrides: Sequence[str]
) -> dict[str, float]:
  """What the two commands took."""
  config = f"--config=benchmarks/scaling/config.py:{corpus.resolve()}"
  arguments = (config, f"--workdir={workdir}", *overrides)
  prepared = watch("-m", "dap_jax.prepare", *arguments)
  info = json.loads((workdir / "data" / "info.json").read_text())
  trained = watch("-m", "dap_jax.train", *arguments)
  first_step = FIRST_STEP.search(trained.output)
  assert first_step, trained.output
  return {
    "pairs": sum(info["pairs"].values()) + sum(info["rejected"].values()),
    "kept": sum(info["pairs"].values()),
    "languages": len(info["pairs"]),
    "corpus_bytes": sum(path.stat().st_size for path in corpus.iterdir()),
    "prepare_seconds": round(prepared.seconds, 1),
    "prepare_cpu_seconds": round(prepared.cpu_seconds, 1),
    "prepare_peak_bytes": prepared.peak_bytes,
    "first_step_seconds": float(first_step[1]),
    "train_peak_bytes": trained.peak_bytes,
  }


def main() -> None:
  parser = argparse.ArgumentParser(description="Time and memory of preparing a corpus.")
  parser.add_argument("corpora", nargs="+", type=pathlib.Path, help="folders of corpus.py")
  parser.add_argument("--results", type=pathlib.Path, help="a file to which a line is added")
  own = list(itertools.takewhile(lambda argument: argument != "--", sys.argv[1:]))
  flags = parser.parse_args(own)
  print(measuring.machine("numpy", "pyarrow", "tokenizers", "sentencepiece"))
  titles = ("pairs/s", "of CPU time", "memory, MB", "first step, s", "training, MB")
  measuring.print_header("pairs", "seconds", *titles)
  for corpus in flags.corpora:
    with tempfile.TemporaryDirectory() as name:
      result = measure(corpus, pathlib.Path(name) / "run", sys.argv[len(own) + 2 :])
    measuring.print_row(
      f"{result['pairs']:,}",
      f"{result['prepare_seconds']:,.0f}",
      f"{result['pairs'] / result['prepare_seconds']:,.0f}",
      f"{result['pairs'] / result['prepare_cpu_seconds']:,.0f}",
      f"{result['prepare_peak_bytes'] / 2**20:,.0f}",
      result["first_step_seconds"],
      f"{result['train_peak_bytes'] / 2**20:,.0f}",
    )
    if flags.results:
      with flags.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
  main()
