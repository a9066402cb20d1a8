"""The flags of commands that run on several hosts, and how JAX starts there."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading

from absl import flags

from dap_jax.cli import command
from dap_jax.distributed import shutdown
from dap_jax.utils.errors import UserError

DISTRIBUTED = flags.DEFINE_bool(
  "distributed",
  False,
  "Several hosts, detected by JAX: Cloud TPU, Slurm, Open MPI, Kubernetes.",
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if not detected.")
PROCESSES = flags.DEFINE_integer("processes", None, "With --coordinator: the number of processes.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "With --coordinator: which of them, from 0.")
MEET_SECONDS = flags.DEFINE_integer(
  "meet_seconds",
  300,
  "Ends after so long when not all processes have started.",
  lower_bound=1,
)


def set_up_jax(*, preemption: bool = False) -> None:
  """Connects the processes, if the flags ask for several, and sets the compilation cache.

  The processes then end together, and all but the first log errors alone.

  Args:
    preemption: whether JAX's preemption service handles SIGTERM, for a loop that saves when the
      service says so; it does with several processes only. Otherwise SIGTERM ends the process.
  """
  import jax

  if COORDINATOR.value or DISTRIBUTED.value:
    jax.config.update("jax_enable_preemption_service", preemption)
    address = COORDINATOR.value or None
    timer = threading.Timer(MEET_SECONDS.value, end_alone)  # JAX would end with a page of C++
    timer.start()
    try:
      jax.distributed.initialize(
        address,
        num_processes=PROCESSES.value if address else None,
        process_id=PROCESS_ID.value if address else None,
        initialization_timeout=MEET_SECONDS.value + 60,
      )
    except ValueError as error:
      command.fail(
        f"the processes cannot find each other: {error} --distributed needs a cluster that JAX"
        " knows; elsewhere --coordinator, --processes and --process_id are all needed",
        status=2,
      )
    finally:
      timer.cancel()
    from dap_jax.distributed import process_group

    shutdown.group = process_group.ProcessGroup()
    if shutdown.group.index:
      logging.getLogger("dap_jax").setLevel(logging.ERROR)
  elif PROCESSES.value is not None or PROCESS_ID.value is not None:
    command.fail("--processes and --process_id need --coordinator, which is not given", status=2)
  check_platform()
  if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    jax.config.update("jax_compilation_cache_dir", os.path.join(home, "dap_jax", "compilation"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def check_platform() -> None:
  """Raises UserError where JAX finds no device of the platforms that JAX_PLATFORMS asks for."""
  import jax

  asked = os.environ.get("JAX_PLATFORMS")
  try:
    jax.local_devices()
  except Exception as error:  # of several types, AssertionError among them
    if not asked:
      raise
    reason = next(iter(str(error).splitlines()), "it has no such device")
    raise UserError(
      f"JAX_PLATFORMS={asked}: JAX cannot use it here ({reason}): unset it, or name one of the"
      " platforms that are installed"
    ) from error


def end_alone() -> None:
  """Ends this process with an error: the others did not start in time."""
  where = f" at {COORDINATOR.value}" if COORDINATOR.value else ""
  count = f" of {PROCESSES.value}" if PROCESSES.value else ""
  print(
    f"error: after {MEET_SECONDS.value} s not all{count} processes have met{where}: start all of"
    " them, each with its own --process_id and the address of process 0; see --meet_seconds",
    file=sys.stderr,
    flush=True,
  )
  os._exit(1)


def take_part() -> bool:
  """Calls `set_up_jax` and checks that all processes were started with the same flags.

  Returns:
    Whether this process, the first, is the one that prints and writes.
  """
  set_up_jax()
  from dap_jax.distributed import multihost

  values = flags.FLAGS.flag_values_dict()
  del values["process_id"]
  multihost.check_same_start({"command": json.dumps(values, default=str).encode()})
  return multihost.is_first()
