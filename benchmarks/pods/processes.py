"""Twenty steps on 1, 2 and 4 processes and three meshes of 8 devices, against one device.

    python -m benchmarks.pods.processes [--processes=1,2,4] [--meshes=8x1x1,4x2x1,2x2x2]

Real processes on loopback, dropout on; the tests' tiny model. Prints the largest relative
difference of a loss. In a minute: --processes=1 --meshes=2x2x2.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"

from benchmarks import measuring  # noqa: E402
from tests.commands import Commands  # noqa: E402
from tests.test_elastic import MESHES, mesh_flags, short_run  # noqa: E402


def main() -> None:
  parser = argparse.ArgumentParser(description="Losses on processes and meshes.")
  parser.add_argument("--processes", default="1,2,4")
  parser.add_argument("--meshes", default=",".join(MESHES))
  flags = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    commands = Commands(Path(folder)).straight_run()
    expected = short_run(commands, "one", devices=1)
    measuring.print_header("processes", "mesh", "losses", "largest relative difference")
    for processes in map(int, flags.processes.split(",")):
      for mesh in flags.meshes.split(","):
        run = f"{processes}_{mesh}"
        losses = short_run(commands, run, *mesh_flags(mesh), processes=processes)
        worst = max(abs(a / b - 1) for a, b in zip(losses, expected, strict=True))
        measuring.print_row(processes, mesh, len(losses), f"{worst:.1e}")


if __name__ == "__main__":
  main()
