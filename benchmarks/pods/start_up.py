"""Seconds until XLM-R base's first step could run, on this machine's CPU.

    python -m benchmarks.pods.start_up [--layers=unrolled,scan]

The step of configs/dap_xlmr.py is traced and compiled for one device, with a loop over its layers
and without; then again by a new process that finds it in the compilation cache. In seconds:
--config=tests/tiny.py --layers=scan.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

from absl import app, flags
from ml_collections import config_flags

from benchmarks import measuring

CONFIG = config_flags.DEFINE_config_file("config", "configs/dap_xlmr.py")
LAYERS = flags.DEFINE_list("layers", ["unrolled", "scan"], "How layers are compiled.")
CHILD = flags.DEFINE_bool("child", False, "Compile once, in this process.")
BATCH_SIZE = 64


def compile_once(*, scan_layers: bool) -> dict[str, float]:
  """Seconds to trace and lower, and to compile."""
  import jax

  from dap_jax.planning import step

  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  config = CONFIG.value.to_dict()
  config["batch_size"], config["program"]["scan_layers"] = BATCH_SIZE, scan_layers
  planned = step.plan_step(config, devices=jax.devices()[:1], **measuring.plan_sizes(config))
  train_program, batch = planned
  with jax.set_mesh(train_program.mesh):
    started = time.monotonic()
    lowered = train_program.trace(batch).lower()
    traced = time.monotonic() - started
    lowered.compile()
  return {"trace": traced, "compile": time.monotonic() - started - traced}


def main(argv: list[str]) -> None:
  del argv
  if CHILD.value:
    print(json.dumps(compile_once(scan_layers=LAYERS.value == ["scan"])))
    return
  print(f"{measuring.processor()}\n")
  measuring.print_header("layers", "start", "trace, s", "compile, s")
  for layers in LAYERS.value:
    with tempfile.TemporaryDirectory() as cache:
      environment = {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": cache}
      command = [sys.executable, "-m", "benchmarks.pods.start_up", *sys.argv[1:]]
      for start in ("first", "second"):
        process = subprocess.run(
          [*command, "--child", f"--layers={layers}"],
          env={**os.environ, **environment},
          stdout=subprocess.PIPE,
          text=True,
          check=True,
        )
        seconds = json.loads(process.stdout.splitlines()[-1])
        measuring.print_row(layers, start, *(f"{value:.1f}" for value in seconds.values()))


if __name__ == "__main__":
  app.run(main)
