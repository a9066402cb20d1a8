"""Mining beside faiss-cpu's exact index: seconds, peak memory, planted pairs found, in one run.

    python benchmarks/mine_against_faiss.py [--rows=100000] [--width=256] [--planted=20000]

Two sets of random unit vectors, of which the planted pairs have a cosine between 0.6 and 0.9;
unrelated ones stay below 0.4. Both programs find the 4 nearest in both directions, each in a
process of its own on the same .npy files, one after the other: `exact_search.nearest`, and two
IndexFlatIP, each filled and searched. Seconds are those of the search, with compilation, without
the start of Python; CPU seconds those of the whole process on all cores; the peak is the kernel's
figure of the resident set, pages of the mapped files included. A planted pair is found if each is
the other's nearest. Then the command itself runs, timed with its start. Needs jax and faiss-cpu.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

NEIGHBOURS = 4
LOWEST, HIGHEST = 0.6, 0.9  # cosines of planted pairs
SIDES = ("source", "target")


def make(folder: Path, *, rows: int, width: int, planted: int) -> None:
  """Writes x.npy and y.npy, float32 [rows, width], and pairs.npy, int [planted, 2]."""
  rng = np.random.default_rng(0)
  x, y = (unit(rng.standard_normal((rows, width), np.float32)) for _ in range(2))
  pairs = np.stack([rng.permutation(rows)[:planted] for _ in range(2)], axis=1)
  of_x, noise = x[pairs[:, 0]], y[pairs[:, 1]]
  across = unit(noise - (noise * of_x).sum(1, keepdims=True) * of_x)
  cosines = rng.uniform(LOWEST, HIGHEST, (planted, 1)).astype(np.float32)
  y[pairs[:, 1]] = cosines * of_x + np.sqrt(1 - cosines**2) * across
  for name, array in (("x", x), ("y", y), ("pairs", pairs)):
    np.save(folder / f"{name}.npy", array)


def unit(vectors: np.ndarray) -> np.ndarray:
  return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ours(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The nearest row of y of each x, and of x of each y."""
  from dap_jax.mining import exact_search

  found = exact_search.nearest(
    exact_search.Side.whole(x), exact_search.Side.whole(y), neighbours=NEIGHBOURS
  )
  return tuple(near.rows[:, 0] for near in found)


def faiss_flat(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The same by FAISS."""
  import faiss

  found = []
  for queries, candidates in ((x, y), (y, x)):
    index = faiss.IndexFlatIP(candidates.shape[1])
    index.add(candidates)
    found.append(index.search(queries, NEIGHBOURS)[1][:, 0])
  return tuple(found)


def work(name: str, folder: Path) -> None:
  """One program, in this process; prints seconds and how many planted pairs it found."""
  x, y = (np.load(folder / f"{side}.npy", mmap_mode="r") for side in "xy")
  i, j = np.load(folder / "pairs.npy").T
  program = {"dap_jax": ours, "faiss": faiss_flat}[name]
  clock = time.perf_counter()
  of_x, of_y = program(x, y)
  seconds = time.perf_counter() - clock
  print(json.dumps([seconds, int(((of_x[i] == j) & (of_y[j] == i)).sum())]))


def measured(command: list[str]) -> tuple[str, float, resource.struct_rusage]:
  """Runs a command: what it printed, seconds, what the kernel counted."""
  clock = time.perf_counter()
  process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
  printed = process.stdout.read()
  _, status, usage = os.wait4(process.pid, 0)
  if status:
    sys.exit(f"{' '.join(command)} failed")
  return printed, time.perf_counter() - clock, usage


def command_found(folder: Path) -> tuple[float, int, resource.struct_rusage]:
  """The command on the same vectors: seconds, planted pairs in its file, the kernel's counts."""
  files = [f"--{side}_vectors={folder}/{name}.npy" for side, name in zip(SIDES, "xy", strict=True)]
  output = folder / "pairs.tsv"
  flags = [*files, f"--output={output}", f"--neighbours={NEIGHBOURS}"]
  _, seconds, usage = measured([sys.executable, "-m", "dap_jax.mine", *flags])
  lines = (line.split("\t") for line in output.read_text().splitlines())
  found = {(int(source) - 1, int(target) - 1) for _, _, source, target in lines}
  planted = set(map(tuple, np.load(folder / "pairs.npy").tolist()))
  return seconds, len(found & planted), usage


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--rows", type=int, default=100_000, help="of each side")
  parser.add_argument("--width", type=int, default=256)
  parser.add_argument("--planted", type=int, default=20_000, help="pairs")
  parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
  flags = parser.parse_args()
  if flags.work:
    work(flags.work[0], Path(flags.work[1]))
    return
  print(f"{date.today()}, {os.cpu_count()} cores ({platform.machine()});", end=" ")
  print(f"{flags.rows} x {flags.rows} x {flags.width}, {flags.planted} planted\n")
  print("| program | seconds | CPU seconds | peak memory | planted pairs found |")
  print("|---|---|---|---|---|")
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    make(folder, rows=flags.rows, width=flags.width, planted=flags.planted)
    for program in ("dap_jax", "faiss"):
      printed, _, usage = measured([sys.executable, __file__, "--work", program, name])
      show(program, *json.loads(printed), usage)
    show("python -m dap_jax.mine", *command_found(folder))


def show(program: str, seconds: float, found: int, usage: resource.struct_rusage) -> None:
  busy, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9
  print(f"| {program} | {seconds:.1f} | {busy:.1f} | {peak:.2f} GB | {found} |", flush=True)


if __name__ == "__main__":
  main()
