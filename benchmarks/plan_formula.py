"""How far `plan`'s formula, which serves GPUs, is from a real compiler: both for the same TPUs.

    python -m benchmarks.plan_formula [--config=configs/dap_xlmr.py] [--topology=v5e:4x4] [--cases=]

Needs jax and libtpu; minutes a line. One line a way to compute the step: temporary memory, peak
memory with the state, and traffic of a chip; bytes that its collectives carry. The work is the same
by definition, the matrix multiplications of the trace. In seconds: --config=tests/tiny.py
--topology=v5e:2x2 --cases=scan.

v5e:4x4, DAP from XLM-R base, 1,024 pairs of 32 tokens, 2026-11-21 (jax 0.10.2, libtpu 0.0.42.1):
compiled / formula, GB a chip

| step | temporary | peak | to be safe | traffic | sent |
|---|---|---|---|---|---|
| as it is | 2.94 / 2.18 | 9.10 / 8.34 | 9.10 / 11.27 | 27.57 / 38.05 | 1.09 / 1.09 |
| scan | 3.85 / 3.76 | 10.01 / 9.92 | 10.01 / 13.40 | 29.50 / 43.50 | 1.09 / 1.09 |
| scan, remat | 2.62 / 1.11 | 8.78 / 7.27 | 8.78 / 9.83 | 28.81 / 42.64 | 1.09 / 1.09 |
| scan, remat, fsdp | 3.32 / 1.70 | 4.10 / 2.48 | 4.10 / 5.24 | 15.62 / 32.75 | 2.40 / 2.62 |
| remat, 4,096 in 4 | 4.76 / 2.68 | 10.92 / 8.84 | 10.92 / 13.89 | 79.79 / 158.36 | 2.43 / 2.08 |

Temporary memory is too low where little is kept: this compiler then holds copies of the embeddings
in two layouts, which "to be safe" allows for. Traffic is 1.4 to 2.1 times too high: on a TPU
many activations never leave the chip (128 MB of VMEM); caches of GPUs are smaller.
"""

from __future__ import annotations

import os

from absl import app, flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", "configs/dap_xlmr.py")
TOPOLOGY = flags.DEFINE_string("topology", "v5e:4x4", "TPUs.")
CASES = flags.DEFINE_multi_string("cases", [], "Names of the table's lines; none means all.")

SCAN = {"program.scan_layers": True}
REMAT = {**SCAN, "program.remat": "layers"}
STEPS = {
  "as it is": {},
  "scan": SCAN,
  "scan, remat": REMAT,
  "scan, remat, fsdp": {**REMAT, "mesh.fsdp": 8},
  "remat, 4,096 in 4": {**REMAT, "program.microbatches": 4, "batch_size": 4096},
}


def main(argv: list[str]) -> None:
  del argv
  os.environ["JAX_PLATFORMS"] = "cpu"
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
  os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
  from benchmarks import measuring
  from dap_jax.planning import chips, step
  from dap_jax.planning.compiled.compiler import compiled_cost, devices_of
  from dap_jax.planning.cost import TooLarge
  from dap_jax.planning.formula.estimate import estimate

  devices = devices_of(chips.parse_topology(TOPOLOGY.value))
  print(f"{TOPOLOGY.value}, {measuring.machine('jax', 'libtpu')}: compiled / formula, GB a chip\n")
  measuring.print_header("step", "temporary", "peak", "to be safe", "traffic", "sent")
  for name in CASES.value or STEPS:
    changed = CONFIG.value.copy_and_resolve_references()
    changed.update_from_flattened_dict(STEPS[name])
    config = changed.to_dict()
    sizes = {**measuring.plan_sizes(config), "devices": devices}
    train_program, batch = step.plan_step(config, **sizes)
    estimated = estimate(train_program, batch, step.trace_on_one(config, **sizes))
    compiled = compiled_cost(train_program, batch)
    if isinstance(compiled, TooLarge):
      peak = f"{estimated.memory['peak'] / 1e9:.2f}"
      measuring.print_row(name, f"too large / {peak} at the peak", "", "", "", "")
      continue
    pairs = zip(figures_of(compiled), figures_of(estimated), strict=True)
    measuring.print_row(name, *(f"{exact:.2f} / {about:.2f}" for exact, about in pairs))


def figures_of(cost) -> list[float]:
  """Temporary memory, peak, the peak with its uncertainty, traffic and bytes sent, in GB."""
  memory = cost.memory
  sent = sum(collective.times * collective.size for collective in cost.collectives)
  safe = memory["peak"] + memory["uncertainty"]
  return [size / 1e9 for size in (memory["temporary"], memory["peak"], safe, cost.traffic, sent)]


if __name__ == "__main__":
  app.run(main)
