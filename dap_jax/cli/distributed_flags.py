"""Flags of commands that run on several hosts, and how JAX starts there."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading

from absl import flags

from dap_jax.cli import command
from dap_jax.distributed import shutdown

DISTRIBUTED = flags.DEFINE_bool(
  "distributed", False, "Several hosts, found by JAX: Cloud TPU, Slurm, Open MPI, Kubernetes."
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if not found.")
PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes, with --coordinator.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them, with --coordinator.")
MEET_SECONDS = flags.DEFINE_integer(
  "meet_seconds", 300, "Ends after so long when not all processes have come.", lower_bound=1
)


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
    alone = threading.Timer(MEET_SECONDS.value, end_alone)
    alone.start()
    try:  # JAX itself would end with a page of C++
      jax.distributed.initialize(*given, initialization_timeout=MEET_SECONDS.value + 60)
    except ValueError as error:
      command.fail(
        f"the processes cannot find each other: {error} --distributed needs a cluster that JAX"
        " knows; elsewhere --coordinator, --processes and --process_id are all needed",
        status=2,
      )
    finally:
      alone.cancel()
    from dap_jax.distributed import process_group

    shutdown.group = process_group.ProcessGroup()
    if shutdown.group.index:
      logging.getLogger("dap_jax").setLevel(logging.ERROR)
  elif PROCESSES.value is not None or PROCESS_ID.value is not None:
    command.fail("--processes and --process_id are of --coordinator, which is not given", status=2)
  if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    jax.config.update("jax_compilation_cache_dir", os.path.join(home, "dap_jax", "compilation"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def end_alone() -> None:
  """Ends this process, which has waited for the others in vain."""
  where = f" at {COORDINATOR.value}" if COORDINATOR.value else ""
  wanted = f" of {PROCESSES.value}" if PROCESSES.value else ""
  print(
    f"error: after {MEET_SECONDS.value} s not all{wanted} processes have met{where}: start all of"
    " them, each with its own --process_id and the address of process 0; see --meet_seconds",
    file=sys.stderr,
    flush=True,
  )
  os._exit(1)


def take_part() -> bool:
  """`set_up_jax`; all processes have the same flags. Whether this one prints and writes."""
  set_up_jax()
  from dap_jax.distributed import multihost

  given = flags.FLAGS.flag_values_dict()
  del given["process_id"]
  multihost.check_same_start({"command": json.dumps(given, default=str).encode()})
  return multihost.is_first()
