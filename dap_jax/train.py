"""Trains a sentence encoder; the same command again resumes.

    python -m dap_jax.train --config=configs/demo.py --workdir=runs/demo
        [--config.optimizer.learning_rate=1e-3 ...]

A start looks for, in this order: the newest checkpoint of the workdir, `init_from` (weights only),
random weights. Several hosts: run the same command on each; on TPU pods add --distributed.
"""

from __future__ import annotations

import os
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from dap_jax import command
from dap_jax.errors import UserError

CONFIG = config_flags.DEFINE_config_file("config", None, "The config, e.g. configs/demo.py.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where the run lives; may be gs://.")
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Several hosts, found by JAX (TPU, Slurm).")
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


def main() -> None:
  config = CONFIG.value
  if config is None or WORKDIR.value is None:
    command.fail("--config and --workdir are both needed; --help lists the flags", status=2)
  if not isinstance(config, ConfigDict):
    raise UserError(
      f"--config={flags.FLAGS['config'].config_filename}: its get_config() must return an"
      f" ml_collections.ConfigDict, it returned {type(config).__name__}"
    )
  settings: dict[str, Any] = config.to_dict()
  set_up_jax()
  from dap_jax import training  # after jax knows of its processes
  from dap_jax.settings import bind

  bind(training.train, settings, where="config", workdir=WORKDIR.value)()


if __name__ == "__main__":
  command.run(main)
