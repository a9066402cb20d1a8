"""How far `plan`'s formula, which serves GPUs, is from a real compiler: both for the same TPUs.

    python benchmarks/plan_formula.py [--config=configs/dap_xlmr.py] [--topology=v5e:4x4]

Needs jax and libtpu; minutes a line. One line a way to compute the step: temporary memory, peak
memory with the state, and traffic of a chip; bytes that its collectives carry. The work is the same
by definition, the matrix multiplications of the trace.

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
from datetime import date

from absl import app, flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", "configs/dap_xlmr.py")
TOPOLOGY = flags.DEFINE_string("topology", "v5e:4x4", "TPUs.")
ENGLISH_IDS, LANGUAGES = 37_000, 37
SCAN = {"program.scan_layers": True}
CASES = {
  "as it is": {},
  "scan": SCAN,
  "scan, remat": {**SCAN, "program.remat": "layers"},
  "scan, remat, fsdp": {**SCAN, "program.remat": "layers", "mesh.fsdp": 8},
  "remat, 4,096 in 4": {
    **SCAN,
    "program.remat": "layers",
    "program.microbatches": 4,
    "batch_size": 4096,
  },
}


def main(argv: list[str]) -> None:
  del argv
  os.environ["JAX_PLATFORMS"] = "cpu"
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
  os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
  from dap_jax.planning import chips, formula, measure, step

  topology = chips.parse(TOPOLOGY.value)
  devices = measure.devices_of(topology)
  print(f"{TOPOLOGY.value}, {date.today()}: compiled / formula, GB a chip")
  print("| step | temporary | peak | to be safe | traffic | sent |\n|---|---|---|---|---|---|")
  for name, changes in CASES.items():
    config = CONFIG.value.copy_and_resolve_references()
    config.update_from_flattened_dict(changes)
    config = config.to_dict()
    vocabulary = step.guess_vocabulary(config, english_ids=ENGLISH_IDS)
    given = {"vocabulary": vocabulary, "languages": LANGUAGES, "devices": devices}
    train_program, batch = step.plan_step(config, **given)
    guessed = formula.estimate(train_program, batch, step.trace_on_one(config, **given))
    compiled = measure.measure(train_program, batch)
    if isinstance(compiled, measure.TooLarge):
      print(f"| {name} | too large / {guessed.memory['peak'] / 1e9:.2f} at the peak |", flush=True)
      continue
    figures = [figures_of(found) for found in (compiled, guessed)]
    columns = [f"{exact:.2f} / {about:.2f}" for exact, about in zip(*figures, strict=True)]
    print(f"| {name} | {' | '.join(columns)} |", flush=True)


def figures_of(found) -> list[float]:
  """Temporary memory, peak, the peak with its uncertainty, traffic and bytes sent, in GB."""
  memory = found.memory
  sent = sum(own.times * own.size for own in found.collectives)
  safe = memory["peak"] + memory["uncertainty"]
  return [size / 1e9 for size in (memory["temporary"], memory["peak"], safe, found.traffic, sent)]


if __name__ == "__main__":
  app.run(main)
