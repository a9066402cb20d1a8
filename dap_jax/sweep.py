"""Many runs from one file, ending in one table and one plot; the same command again resumes.

    python -m dap_jax.sweep --sweep=configs/sweeps/lr.py --output=runs/lr

dap_jax/sweeps/hyper.py says what a sweep file holds. Every run is checked before the first one
starts. Then each is trained and evaluated by the commands, one after the other; complete ones are
skipped, failed ones set apart in OUTPUT/failed and tried again by the next start. Equal data is
prepared once, see OUTPUT/prepared. Paths in a sweep file are relative to where this is started.

On many machines: --shard=1/4, ..., --shard=4/4 with one shared OUTPUT, or --print, which gives a
shell command a line for a scheduler of your own, and --table at the end. Exit status 1: some run
of this share is not complete.
"""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from dap_jax.cli import command
from dap_jax.utils.errors import writing

if TYPE_CHECKING:  # importing them takes a second, which `--help` should not
  from dap_jax.sweeps.plan import Plan, SweepRun

SWEEP = flags.DEFINE_string(
  "sweep", None, "The sweep, FILE[:ARG], or the name of a shipped one, e.g. lr."
)
OUTPUT = flags.DEFINE_string("output", None, "The folder of all its runs, and of the table.")
PRINT = flags.DEFINE_bool("print", False, "Only print the commands, a line for each run.")
TABLE = flags.DEFINE_bool("table", False, "Only make the table and the plot of what is there.")
SHARD = flags.DEFINE_string("shard", "1/1", "I/N: only every N-th run, from the I-th on.")


def shell_line(run: SweepRun, plan: Plan) -> str:
  """All commands of a run, as one line for a shell."""
  from dap_jax.sweeps.plan import evaluate_command, train_command

  steps = [["python", *train_command(run)]]
  if plan.evaluations:
    steps.append(["mkdir", "-p", str(run.workdir / "scores")])
  steps += [["python", *evaluate_command(run, each)] for each in plan.evaluations]
  return " && ".join(map(shlex.join, steps))


def finish(plan: Plan, output: Path) -> None:
  """Writes and prints the table, draws the plot."""
  from dap_jax.sweeps import plot, results

  collected = results.collect(plan)
  print(results.write(collected, output), end="", flush=True)
  plot.draw(collected, output)


def main() -> None:
  if SWEEP.value is None or OUTPUT.value is None:
    command.fail("--sweep and --output are both needed; --help lists the flags", status=2)
  if PRINT.value and TABLE.value:
    command.fail("--print and --table exclude each other", status=2)
  from dap_jax.sweeps import plan as plans
  from dap_jax.sweeps import runner

  plan, output = plans.read_sweep(SWEEP.value, OUTPUT.value), Path(OUTPUT.value)
  share = plans.share(plan.runs, SHARD.value)
  if PRINT.value:
    print("\n".join(shell_line(run, plan) for run in share))
    return
  with writing(f"--output={output}"):
    output.mkdir(parents=True, exist_ok=True)
  problems = {}
  if not TABLE.value:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's stop, as ctrl-C
    problems = runner.Sweep(plan, share).run()
  finish(plan, output)
  if problems:
    command.fail(
      f"{len(problems)} of {len(share)} runs are not complete: {', '.join(problems)};"
      " the same command tries them again",
      status=1,
    )


if __name__ == "__main__":
  command.run(main, saves_when_interrupted=True)
