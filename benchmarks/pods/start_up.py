"""Seconds until XLM-R base's first step could run, on this machine's CPU.

    python -m benchmarks.pods.start_up

The step of configs/dap_xlmr.py is traced and compiled for one device, with a loop over its layers
and without; then again by a new process that finds it in the compilation cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time


def compile_once(scan_layers: bool) -> dict[str, float]:
  """Seconds to trace and lower, and to compile."""
  import jax

  from configs import dap_xlmr
  from dap_jax.planning import step

  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  config = dap_xlmr.get_config().to_dict()
  config["batch_size"], config["program"]["scan_layers"] = 64, scan_layers
  vocabulary = step.guess_vocabulary(config, english_ids=37_000)
  train_program, batch = step.plan_step(config, vocabulary=vocabulary, languages=37, devices=None)
  with jax.set_mesh(train_program.mesh):
    clock = time.monotonic()
    lowered = train_program.trace(batch).lower()
    traced = time.monotonic() - clock
    lowered.compile()
  return {"trace": traced, "compile": time.monotonic() - clock - traced}


def main() -> None:
  if len(sys.argv) > 1:
    print(json.dumps(compile_once(sys.argv[1] == "scan")))
    return
  print("| layers | start | trace, s | compile, s |\n|---|---|---|---|")
  for kind in ("unrolled", "scan"):
    with tempfile.TemporaryDirectory() as cache:
      for start in ("first", "second"):
        given = {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": cache}
        command = [sys.executable, "-m", "benchmarks.pods.start_up", kind]
        ran = subprocess.run(
          command, env={**os.environ, **given}, capture_output=True, text=True, check=True
        )
        found = json.loads(ran.stdout.splitlines()[-1])
        print(f"| {kind} | {start} | {found['trace']:.1f} | {found['compile']:.1f} |", flush=True)


if __name__ == "__main__":
  main()
