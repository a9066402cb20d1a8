"""Seconds that Python needs to import the library, to start a command, and to encode a first text.

    python -m benchmarks.start_up MODEL [--rounds=5]

MODEL is an exported folder. Every line is a process of its own, from its start to its end, and the
lines take turns, so that a busy machine slows all of them; the first round, which reads files from
disk and fills the compilation cache, does not count. The peers: an import of jax alone, which no
program in JAX can avoid, and sentence-transformers on the same folder and text. Needs
requirements-dev.txt. In seconds: --rounds=1.
"""

from __future__ import annotations

import argparse
import os
import tempfile

import numpy as np

from benchmarks import measuring

OUR_FIRST = "from dap_jax.inference import embedder; embedder.load({!r}).encode(['Good morning.'])"
PEER_FIRST = (
  "from sentence_transformers import SentenceTransformer;"
  " SentenceTransformer({!r}, device='cpu').encode(['Good morning.'])"
)


def programs(model: str) -> dict[str, tuple[str, ...]]:
  """What a line measures -> the arguments of Python."""
  return {
    "Python alone": ("-c", "pass"),
    "import jax": ("-c", "import jax"),
    "import dap_jax.inference.embedder": ("-c", "import dap_jax.inference.embedder"),
    "import sentence_transformers": ("-c", "import sentence_transformers"),
    "dap_jax.embed --help": ("-m", "dap_jax.embed", "--help"),
    "dap_jax.train --help": ("-m", "dap_jax.train", "--help"),
    "first vector, dap_jax": ("-c", OUR_FIRST.format(model)),
    "first vector, sentence-transformers": ("-c", PEER_FIRST.format(model)),
  }


def main() -> None:
  parser = argparse.ArgumentParser(description="Time of imports, commands and a first vector.")
  parser.add_argument("model", help="an exported folder")
  parser.add_argument("--rounds", type=int, default=5)
  flags = parser.parse_args()
  lines = programs(os.path.abspath(flags.model))
  runs: dict[str, list[measuring.Finished]] = {name: [] for name in lines}
  with tempfile.TemporaryDirectory() as cache:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    for _ in range(1 + flags.rounds):
      for name, arguments in lines.items():
        runs[name].append(measuring.run_python(*arguments))
  print(f"{measuring.processor()}, {flags.rounds} rounds\n")
  measuring.print_header("process", "seconds, median", "spread", "CPU seconds", "peak memory")
  for name, (_, *finished) in runs.items():
    seconds = [process.seconds for process in finished]
    measuring.print_row(
      name,
      f"{np.median(seconds):.2f}",
      f"{min(seconds):.2f} to {max(seconds):.2f}",
      f"{np.median([process.cpu_seconds for process in finished]):.2f}",
      f"{max(process.peak_bytes for process in finished) / 1e6:.0f} MB",
    )


if __name__ == "__main__":
  main()
