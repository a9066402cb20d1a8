"""Memory of a chip by batch size and microbatches: what the TPU compiler says, no TPU needed.

    python -m benchmarks.pods.memory [--topology=v5e:4x4] [--batches=1024,4096,16384,65536]

The model is that of configs/dap_xlmr.py, its layers rematerialised or not. A minute or two a row on
two cores. Needs libtpu, see requirements-plan.txt. In seconds: --config=tests/tiny.py
--topology=v5e:2x2 --batches=16 --microbatches=1,2.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

os.environ |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}

import jax  # noqa: E402
from absl import app, flags  # noqa: E402
from ml_collections import config_flags  # noqa: E402

from benchmarks import measuring  # noqa: E402
from dap_jax.planning import chips, step  # noqa: E402
from dap_jax.planning.compiled.compiler import compiled_cost, devices_of  # noqa: E402
from dap_jax.planning.cost import TooLarge  # noqa: E402

CONFIG = config_flags.DEFINE_config_file("config", "configs/dap_xlmr.py")
TOPOLOGY = flags.DEFINE_string("topology", "v5e:4x4", "TPUs.")
BATCHES = flags.DEFINE_list("batches", ["1024", "4096", "16384", "65536"], "Pairs.")
MICROBATCHES = flags.DEFINE_list("microbatches", ["1", "8", "64"], "Of config.program.")
REMATS = flags.DEFINE_list("remats", ["none"], "Of config.program.")


def peak_bytes(
  devices: list[jax.Device], *, batch_size: int, program: Mapping[str, Any]
) -> float | None:
  """Of a chip; None where the compiler refuses the step and does not say how much it needs."""
  config = CONFIG.value.to_dict()
  config["batch_size"] = batch_size
  config["program"] |= program
  planned = step.plan_step(config, devices=devices, **measuring.plan_sizes(config))
  cost = compiled_cost(*planned)
  return cost.needed if isinstance(cost, TooLarge) else cost.memory["peak"]


def main(argv: list[str]) -> None:
  del argv
  topology = chips.parse_topology(TOPOLOGY.value)
  devices = devices_of(topology)
  measuring.print_header("batch", "pairs a chip", "remat", "microbatches", "GB a chip", "seconds")
  for batch_size in map(int, BATCHES.value):
    pairs = batch_size // topology.chips
    for remat in REMATS.value:
      for chunks in map(int, MICROBATCHES.value):
        if pairs % chunks:
          continue
        started = time.monotonic()
        program = {"microbatches": chunks, "remat": remat}
        size = peak_bytes(devices, batch_size=batch_size, program=program)
        memory = "more than a chip has" if size is None else f"{size / 1e9:.2f}"
        seconds = f"{time.monotonic() - started:.0f}"
        measuring.print_row(f"{batch_size:,}", pairs, remat, chunks, memory, seconds)


if __name__ == "__main__":
  app.run(main)
