"""Flags of commands that run on several hosts, and how JAX starts there."""

from __future__ import annotations

import json
import logging
import os

from absl import flags

from dap_jax import command

DISTRIBUTED = flags.DEFINE_bool(
  "distributed", False, "Several hosts, found by JAX: Cloud TPU, Slurm, Open MPI, Kubernetes."
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if not found.")
PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes, with --coordinator.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them, with --coordinator.")


def set_up_jax(*, preemption: bool = False) -> None:
  """Several processes, if asked for, that end together; and the persistent compilation cache.

  Of several processes only the first logs, errors apart.

  Args:
    preemption: for a loop that saves when JAX's preemption service says so: with several processes
      that service takes SIGTERM. Without it SIGTERM ends a process as ever.
  """
  import jax

  if COORDINATOR.value or DISTRIBUTED.value:
    jax.config.update("jax_enable_preemption_service", preemption)
    given = (COORDINATOR.value, PROCESSES.value, PROCESS_ID.value) if COORDINATOR.value else ()
    try:
      jax.distributed.initialize(*given)
    except ValueError as error:
      command.fail(
        f"the processes cannot find each other: {error} --distributed needs a cluster that JAX"
        " knows; elsewhere --coordinator, --processes and --process_id are all needed",
        status=2,
      )
    from dap_jax import end_together

    command.together = end_together.Together()
    if command.together.index:
      logging.getLogger("dap_jax").setLevel(logging.ERROR)
  elif PROCESSES.value is not None or PROCESS_ID.value is not None:
    command.fail("--processes and --process_id are of --coordinator, which is not given", status=2)
  if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    jax.config.update("jax_compilation_cache_dir", os.path.join(home, "dap_jax", "compilation"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def take_part() -> bool:
  """`set_up_jax`; all processes have the same flags. Whether this one prints and writes."""
  set_up_jax()
  from dap_jax import processes

  given = flags.FLAGS.flag_values_dict()
  del given["process_id"]
  processes.same_start({"command": json.dumps(given, default=str).encode()})
  return processes.is_first()
