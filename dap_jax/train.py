"""Trains a sentence encoder; after a kill the same command resumes.

    python -m dap_jax.train --config=configs/demo.py --workdir=runs/demo
        [--config.optimizer.learning_rate=1e-3 ...]

Training starts from the newest checkpoint of the workdir; if there is none, from the weights of the
config's `init_from`; if that is empty, from random weights. On several hosts run the same command
on each; on TPU pods add --distributed.
"""

from __future__ import annotations

from absl import flags

from dap_jax.cli import command, config_files, distributed_flags

CONFIG = config_files.define_flag()
WORKDIR = flags.DEFINE_string("workdir", None, "The folder of the run; may be gs://.")
REPLAY_STEP = flags.DEFINE_integer(
  "replay_step", None, "Repeats this one step and prints its details; trains nothing."
)
HANG_SECONDS = flags.DEFINE_float(
  "hang_seconds", 1800, "Ends the run after so long without a step, when a host hangs; 0 = never."
)
TRACKER = flags.DEFINE_string(
  "tracker", "", "Takes the metrics too: wandb or trackio, or with a project wandb:PROJECT."
)


def main() -> None:
  if CONFIG.value is None or WORKDIR.value is None:
    command.fail("--config and --workdir are both needed; --help lists the flags", status=2)
  settings = config_files.settings_of(CONFIG.value)
  distributed_flags.set_up_jax(preemption=True)
  from dap_jax.training import run  # after jax knows of its processes
  from dap_jax.training.config import RunConfig
  from dap_jax.utils.binding import bind

  run.train(
    bind(RunConfig, settings, where="config")(),
    workdir=WORKDIR.value,
    replay_step=REPLAY_STEP.value,
    hang_seconds=HANG_SECONDS.value,
    tracker=TRACKER.value,
  )


if __name__ == "__main__":
  command.run(main)
