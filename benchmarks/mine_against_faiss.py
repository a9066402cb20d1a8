"""Mining beside faiss-cpu's exact index: seconds, peak memory, planted pairs found, in one run.

    python -m benchmarks.mine_against_faiss [--rows=100000] [--width=256] [--planted=20000]

Two sets of random unit vectors, of which the planted pairs have a cosine between 0.6 and 0.9;
unrelated ones stay below 0.4. Both programs find the 4 nearest in both directions, each in a
process of its own on the same .npy files, one after the other: `exact_search.nearest`, and two
IndexFlatIP, each filled and searched. Seconds are those of the search, with compilation, without
the start of Python; CPU seconds those of the whole process on all cores; the peak is the kernel's
figure of the resident set, pages of the mapped files included. A planted pair is found if each is
the other's nearest. Then the command itself runs, timed with its start. Needs jax and faiss-cpu. In
seconds: --rows=500 --width=64 --planted=50.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import measuring

NEIGHBOURS = 4
LOWEST, HIGHEST = 0.6, 0.9  # cosines of planted pairs
SIDES = ("source", "target")


def make_vectors(folder: Path, *, rows: int, width: int, planted: int) -> None:
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


def exact_search(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
  """The nearest row of y of each x, and of x of each y."""
  from dap_jax.mining import exact_search

  sides = exact_search.Side.whole(x), exact_search.Side.whole(y)
  return [near.rows[:, 0] for near in exact_search.nearest(*sides, neighbours=NEIGHBOURS)]


def faiss_flat(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
  """The same by FAISS."""
  import faiss

  nearest = []
  for queries, candidates in ((x, y), (y, x)):
    index = faiss.IndexFlatIP(candidates.shape[1])
    index.add(candidates)
    nearest.append(index.search(queries, NEIGHBOURS)[1][:, 0])
  return nearest


PROGRAMS = {"dap_jax": exact_search, "faiss": faiss_flat}


def search(name: str, folder: Path) -> None:
  """One program, in this process; prints its seconds and how many planted pairs it found."""
  x, y = (np.load(folder / f"{side}.npy", mmap_mode="r") for side in "xy")
  i, j = np.load(folder / "pairs.npy").T
  started = time.perf_counter()
  of_x, of_y = PROGRAMS[name](x, y)
  seconds = time.perf_counter() - started
  print(json.dumps([seconds, int(((of_x[i] == j) & (of_y[j] == i)).sum())]))


def command_row(folder: Path) -> None:
  """The command on the same vectors."""
  files = [f"--{side}_vectors={folder}/{name}.npy" for side, name in zip(SIDES, "xy", strict=True)]
  output = folder / "pairs.tsv"
  command = ["-m", "dap_jax.mine", *files, f"--output={output}", f"--neighbours={NEIGHBOURS}"]
  process = measuring.run_python(*command)
  lines = (line.split("\t") for line in output.read_text().splitlines())
  mined = {(int(source) - 1, int(target) - 1) for _, _, source, target in lines}
  planted = set(map(tuple, np.load(folder / "pairs.npy").tolist()))
  print_row("python -m dap_jax.mine", process.seconds, len(mined & planted), process)


def print_row(program: str, seconds: float, pairs: int, process: measuring.Finished) -> None:
  peak = f"{process.peak_bytes / 1e9:.2f} GB"
  measuring.print_row(program, f"{seconds:.1f}", f"{process.cpu_seconds:.1f}", peak, pairs)


def main() -> None:
  parser = argparse.ArgumentParser(description="Mining beside FAISS.")
  parser.add_argument("--rows", type=int, default=100_000, help="of each side")
  parser.add_argument("--width", type=int, default=256)
  parser.add_argument("--planted", type=int, default=20_000, help="pairs")
  parser.add_argument("--role", choices=("make", *PROGRAMS), help=argparse.SUPPRESS)
  parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
  flags = parser.parse_args()
  sizes = {"rows": flags.rows, "width": flags.width, "planted": flags.planted}
  if flags.role == "make":
    make_vectors(flags.folder, **sizes)
    return
  if flags.role:
    search(flags.role, flags.folder)
    return
  print(f"{measuring.processor()};", end=" ")
  print(f"{flags.rows} x {flags.rows} x {flags.width}, {flags.planted} planted\n")
  measuring.print_header("program", "seconds", "CPU seconds", "peak memory", "planted pairs found")
  with tempfile.TemporaryDirectory() as name:
    size_flags = [f"--{size}={value}" for size, value in sizes.items()]
    command = ["-m", "benchmarks.mine_against_faiss", *size_flags, f"--folder={name}"]
    measuring.run_python(*command, "--role=make")
    for program in PROGRAMS:
      process = measuring.run_python(*command, f"--role={program}")
      print_row(program, *json.loads(process.output), process)
    command_row(Path(name))


if __name__ == "__main__":
  main()
