"""Twenty steps on 1, 2 and 4 processes and three meshes of 8 devices, against one device.

    python -m benchmarks.pods.processes

Real processes on loopback, dropout on; the tests' tiny model. Prints the largest relative
difference of a loss.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"

from tests.commands import Commands  # noqa: E402
from tests.test_elastic import MESHES, mesh_flags, short_run  # noqa: E402


def main() -> None:
  with tempfile.TemporaryDirectory() as folder:
    commands = Commands(Path(folder)).straight_run()
    expected = short_run(commands, "one", devices=1)
    print("| processes | mesh | losses | largest relative difference |\n|---|---|---|---|")
    for processes in (1, 2, 4):
      for mesh in MESHES:
        flags = mesh_flags(mesh)
        found = short_run(commands, f"{processes}_{mesh}", *flags, processes=processes)
        worst = max(abs(a / b - 1) for a, b in zip(found, expected, strict=True))
        print(f"| {processes} | {mesh} | {len(found)} | {worst:.1e} |", flush=True)


if __name__ == "__main__":
  main()
