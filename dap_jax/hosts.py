"""Flags of commands that run on several hosts, and how JAX starts there."""

from __future__ import annotations

import os

from absl import flags

DISTRIBUTED = flags.DEFINE_bool(
  "distributed", False, "Several hosts, found by JAX: Cloud TPU, Slurm, Open MPI, Kubernetes."
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if not found.")
PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes, with --coordinator.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them, with --coordinator.")


def set_up_jax() -> None:
  """Several processes, if asked for; and the persistent compilation cache."""
  import jax

  if COORDINATOR.value:
    jax.distributed.initialize(COORDINATOR.value, PROCESSES.value, PROCESS_ID.value)
  elif DISTRIBUTED.value:
    jax.distributed.initialize()
  if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    jax.config.update("jax_compilation_cache_dir", os.path.join(home, "dap_jax", "compilation"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
