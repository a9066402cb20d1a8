"""The runs of a sweep one after the other, as processes; complete ones are skipped."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from dap_jax.sweeps.plan import Evaluation, Plan, SweepRun, evaluate_command, train_command
from dap_jax.sweeps.state import is_complete, is_evaluated, is_trained, set_apart, take_back
from dap_jax.utils.errors import UserError
from dap_jax.workdir.records import read_records

ROOT = Path(__file__).parents[2]
POLL_SECONDS = 1.0


class Failed(Exception):
  """A run failed; the message is its reason, in one line."""


class Stopped(Exception):
  """A run ended early without an error, for instance after a SIGTERM to it alone."""


@contextlib.contextmanager
def opened_log(run: SweepRun) -> Iterator[BinaryIO | None]:
  """The run's log to append to, locked; None where another process has this run.

  The commands inherit the lock with their output, so it outlives a sweep that was killed while its
  run went on.
  """
  run.log.parent.mkdir(parents=True, exist_ok=True)
  with run.log.open("ab") as log:
    try:
      fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
      free = True
    except BlockingIOError:
      free = False
    yield log if free else None


def call(arguments: Sequence[str], log: BinaryIO, *, watch: Callable[[], None]) -> None:
  """Runs `python ARGUMENTS` to its end, all output to the log.

  Args:
    arguments: of the interpreter.
    log: a file.
    watch: called every second while it runs; an exception from it stops the process.

  Raises:
    Failed: the exit status is not 0.
  """
  log.write(f"$ python {shlex.join(arguments)}\n".encode())
  log.flush()
  first = log.tell()
  paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
  process = subprocess.Popen(
    [sys.executable, *arguments],
    stdin=subprocess.DEVNULL,
    stdout=log,
    stderr=subprocess.STDOUT,
    env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    start_new_session=True,  # ctrl-C reaches the sweep alone, which asks the run to save
  )
  try:
    while True:
      with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(POLL_SECONDS)
        break
      watch()
  except BaseException as error:
    if isinstance(error, KeyboardInterrupt):
      say("stopping: the run saves first; a second ctrl-C does not wait for it")
    stop(process)
    raise
  if process.returncode:
    raise Failed(why(process.returncode, Path(log.name), first=first))


def stop(process: subprocess.Popen) -> None:
  """Sends SIGTERM, upon which training saves; a second ctrl-C does not wait for that."""
  try:
    process.terminate()
    process.wait()
  finally:
    if process.poll() is None:
      process.kill()
      process.wait()


def why(status: int, log: Path, *, first: int) -> str:
  """The reason of a failure: the line of the error, else the last one, since byte `first`."""
  with log.open("rb") as file:
    file.seek(first)
    lines = [line for line in file.read().decode(errors="replace").split("\n") if line.strip()]
  errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
  message = (errors or lines or ["it printed nothing"])[-1].strip()
  if status < 0:
    return f"killed by {signal.Signals(-status).name}; its last line: {message}"
  return message if errors else f"exit status {status}: {message}"


class Sweep:
  """The runs of this machine's share.

  Args:
    plan: the whole sweep.
    share: those of its runs that are this machine's.
  """

  def __init__(self, plan: Plan, share: Sequence[SweepRun]):
    self._plan, self._share = plan, share
    self._seconds: list[float] = []  # of the runs that were completed by this start

  def run(self) -> dict[str, str]:
    """Takes every run to its end; returns those that are not complete, name -> reason.

    KeyboardInterrupt leaves the current run with a checkpoint.
    """
    problems = {}
    for number, run in enumerate(self._share, 1):
      title = f"{number}/{len(self._share)} {run}"
      if is_complete(run, self._plan):
        say(f"{title}: complete")
        continue
      started = time.monotonic()
      problem = self._run_one(run, title)
      seconds = time.monotonic() - started
      if problem:
        problems[str(run)] = problem
      else:
        self._seconds.append(seconds)
      outcome = problem or progress(run)
      say(f"{title}: {outcome}, {duration(seconds)}{self._left(number)}")
    return problems

  def _left(self, number: int) -> str:
    """Estimated time for the runs after this one, by the mean of those that this start took."""
    waiting = sum(not is_complete(run, self._plan) for run in self._share[number:])
    if not waiting or not self._seconds:
      return ""
    return f", about {duration(waiting * statistics.mean(self._seconds))} left"

  def _run_one(self, run: SweepRun, title: str) -> str:
    """Trains and evaluates; returns what went wrong, "" for nothing."""
    take_back(run)
    with opened_log(run) as log:
      if log is None:
        return "left to another process, which has it"
      try:
        self._train(run, log, title)
        for evaluation in self._plan.evaluations:
          self._evaluate(run, evaluation, log, title)
      except Stopped as reason:
        return str(reason)
      except (Failed, UserError) as reason:
        set_apart(run, str(reason))
        return f"FAILED: {reason}"
    return ""

  def _train(self, run: SweepRun, log: BinaryIO, title: str) -> None:
    """Raises Failed or Stopped."""
    if is_trained(run):
      return
    call(train_command(run), log, watch=lambda: show(f"{title}: {progress(run)}"))
    if not is_trained(run):
      raise Stopped(f"stopped at {progress(run)}")

  def _evaluate(self, run: SweepRun, evaluation: Evaluation, log: BinaryIO, title: str) -> None:
    """Raises Failed."""
    if is_evaluated(run, evaluation):
      return
    run.scores(evaluation).parent.mkdir(exist_ok=True)
    saying = f"{title}: {evaluation.name}"
    try:
      call(evaluate_command(run, evaluation), log, watch=lambda: show(saying))
    except Failed as reason:
      raise Failed(f"evaluation {evaluation.name}: {reason}") from reason


def newest(run: SweepRun) -> tuple[int, float | None]:
  """The newest step of metrics.jsonl, 0 before the first, and the newest loss."""
  lines = read_records(run.workdir)
  loss = next((line["loss"] for line in reversed(lines) if "loss" in line), None)
  return int(lines[-1]["step"]) if lines else 0, loss


def progress(run: SweepRun) -> str:
  """How far it is, in words."""
  step, loss = newest(run)
  where = "" if step == run.settings["steps"] else f"step {step} of {run.settings['steps']}, "
  return f"{where}loss {'-' if loss is None else format(loss, '.3f')}"


def duration(seconds: float) -> str:
  """45 s, 5 min, 1 h 10 min."""
  minutes = round(seconds / 60)
  if seconds < 59.5:
    return f"{seconds:.0f} s"
  return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def say(line: str) -> None:
  """Prints a line that stays."""
  clear = "\r\033[K" if sys.stderr.isatty() else ""
  print(f"{clear}{line}", file=sys.stderr, flush=True)


def show(line: str) -> None:
  """Prints a line that the next one replaces, on terminals only."""
  if sys.stderr.isatty():
    width = os.get_terminal_size(sys.stderr.fileno()).columns
    print(f"\r\033[K{line[: width - 1]}", end="", file=sys.stderr, flush=True)
