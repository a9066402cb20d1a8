"""Checks in two minutes, before a long run, that training works on these machines.

    python -m dap_jax.selfcheck --config=configs/demo.py [--workdir=gs://BUCKET/check]

Prints a line for each check, ok or what is wrong; the exit status is 1 if anything is wrong. It
takes a few steps of the config's model on random tokens, in float32, and writes and removes one
checkpoint in --workdir. On several hosts run the same command on each, with the flags that train
takes.
"""

from __future__ import annotations

import logging
import sys
import tempfile

from absl import flags

from dap_jax.cli import command, config_files, distributed_flags
from dap_jax.utils.old_configs import with_current_keys

CONFIG = config_files.define_flag()
WORKDIR = flags.DEFINE_string(
  "workdir", None, "Where the run will save; by default a temporary folder."
)

logger = logging.getLogger("dap_jax.selfcheck")  # __name__ is __main__ here


def main() -> None:
  if CONFIG.value is None:
    command.fail("--config is needed; --help lists the flags", status=2)
  distributed_flags.set_up_jax()

  from dap_jax.distributed import multihost  # after JAX knows of its processes
  from dap_jax.planning import checks

  with tempfile.TemporaryDirectory() as temporary:
    all_checks = checks.Checks(
      with_current_keys(CONFIG.value.to_dict()), folder=WORKDIR.value or temporary
    )
    wrong = 0
    for check in all_checks.all():
      wrong += not check.ok
      if multihost.is_first():
        print(f"{'ok   ' if check.ok else 'WRONG'}  {check.name:<14} {check.message}", flush=True)
  sys.exit(1 if wrong else 0)


if __name__ == "__main__":
  command.run(main)
