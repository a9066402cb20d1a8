"""The training loop, of training and of fine-tuning: evaluate(n), save(n), batch(n), step."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from dap_jax.core.mean import Mean
from dap_jax.core.train_step import Frozen, TrainState
from dap_jax.distributed import multihost, sharding
from dap_jax.distributed.preemption import Preemption
from dap_jax.distributed.watchdog import Watchdog
from dap_jax.training.build import TrainProgram
from dap_jax.training.metric_accumulator import MetricAccumulator, NotFinite
from dap_jax.training.metric_writer import MetricWriter
from dap_jax.utils.errors import NotFiniteError, UserError
from dap_jax.utils.progress import still_working
from dap_jax.workdir.checkpointing import Checkpoints

Batch = dict[str, np.ndarray]


class Schedule(NamedTuple):
  """At which steps a run evaluates, saves and logs. Step n is the state after n updates.

  Attributes:
    first_step: where this start of the run begins.
    steps: the last step.
    log_steps, eval_steps, save_steps: every how many.
    scores_are_missing: there are none of `first_step`, where they are due: the run was stopped and
      saved there, or is to be evaluated before it trains.
  """

  first_step: int
  steps: int
  log_steps: int
  eval_steps: int
  save_steps: int
  scores_are_missing: bool = False

  def should_evaluate(self, step: int, *, stopping: bool) -> bool:
    """Not where the job is to be stopped: it has no time for that."""
    is_due = step == self.steps or step % self.eval_steps == 0
    is_new = step > self.first_step or self.scores_are_missing
    return is_due and is_new and not stopping

  def should_save(self, step: int, *, stopping: bool, evaluated: bool) -> bool:
    """The step that this start begins with has its checkpoint, but perhaps not these scores."""
    if step == self.first_step:
      return evaluated
    return stopping or step == self.steps or step % self.save_steps == 0

  def should_log(self, step: int) -> bool:
    """Also where a checkpoint is saved: a run that is killed then writes the same lines again.

    Not after the first update of a start, which compiles: its time is no measure of speed.
    """
    is_due = step == self.steps or 0 in (step % self.log_steps, step % self.save_steps)
    return is_due and step > self.first_step + 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Session:
  """What accompanies the steps of one start of a run; all of them are open.

  Attributes:
    checkpoints: where it saves.
    preemption: tells when to stop.
    watchdog: is told that the run goes on.
    writer: what it writes.
    started: `time.monotonic()` at the start, for the time to the first step.
  """

  checkpoints: Checkpoints
  preemption: Preemption
  watchdog: Watchdog
  writer: MetricWriter
  started: float


@multihost.reporting_dead_peers()
def train_loop(
  state: TrainState,
  *,
  train_program: TrainProgram,
  frozen: Frozen,
  batches: Iterator[Batch],
  batch_size: int,
  metrics: MetricAccumulator,
  schedule: Schedule,
  session: Session,
  evaluate: Callable[[TrainState, int], dict[str, float]] | None,
  on_not_finite: Callable[[NotFinite], None],
) -> tuple[TrainState, int]:
  """Steps until the last one, or until the job is to be stopped -> the newest state and its step.

  Args:
    state: at `schedule.first_step`; donated.
    train_program, frozen: the step, and parameters that it reads and never changes.
    batches: this process's rows of every batch, from the first step on.
    batch_size: rows of the global batch.
    metrics: empty; collects what the steps report.
    schedule, session: see there.
    evaluate: (state, step) -> scores, `eval/SUITE/METRIC`; None evaluates nothing.
    on_not_finite: called for each step that was not finite before the state is evaluated, saved or
      logged; raises where the run must not go on.
  """
  step, checkpoints, writer = schedule.first_step, session.checkpoints, session.writer
  while True:
    session.watchdog.alive()
    stopping = session.preemption.requested(step)
    scores: dict[str, float] = {}
    if evaluate is not None and schedule.should_evaluate(step, stopping=stopping):
      check_finite(metrics, on_not_finite)
      with metrics.not_timed(), session.watchdog.paused(), saved_on_error(checkpoints, state, step):
        scores = evaluate(state, step)
    if schedule.should_save(step, stopping=stopping, evaluated=bool(scores)):
      check_finite(metrics, on_not_finite)
      checkpoints.save(step, state, metrics=scores)
    if stopping or step == schedule.steps:
      break
    with metrics.waiting_for_data():
      rows = next(batches)
    batch = sharding.put_batch(rows, train_program.mesh, batch_size=batch_size)
    compiles = step == schedule.first_step
    with first_step(session) if compiles else contextlib.nullcontext():
      state, means = take_step(train_program, state, batch, frozen, wait=compiles)
    metrics.add(step, means, batch)
    step += 1
    writer.advance()
    if compiles:
      metrics.restart_clock()
    elif schedule.should_log(step):
      check_finite(metrics, on_not_finite)
      log(step, metrics, writer, train_program=train_program)
  checkpoints.wait()
  if step < schedule.steps:
    writer.announce(f"stopped at step {step} as asked; the same command resumes")
  return state, step


@contextlib.contextmanager
def first_step(session: Session) -> Iterator[None]:
  """Around the first step of a start, which compiles, for minutes: says so, and when it is done."""
  say = session.writer.announce
  with session.watchdog.paused(), still_working("compiling the first step", say=say):
    yield
  say(f"first step done {time.monotonic() - session.started:.1f} s after the start")


def take_step(
  train_program: TrainProgram,
  state: TrainState,
  batch: dict[str, jax.Array],
  frozen: Frozen,
  *,
  wait: bool,
) -> tuple[TrainState, dict[str, Mean]]:
  """One update, in which nothing moves between host and device; `wait`: until it is done."""
  with jax.transfer_guard("disallow"):
    state, means = train_program.step(state, batch, frozen)
    if wait:
      jax.block_until_ready(means)
  return state, means


def check_finite(metrics: MetricAccumulator, on_not_finite: Callable[[NotFinite], None]) -> None:
  """Tells of the steps that were not finite since this was last called."""
  for event in metrics.new_not_finite():
    on_not_finite(event)


@contextlib.contextmanager
def saved_on_error(checkpoints: Checkpoints, state: TrainState, step: int) -> Iterator[None]:
  """Around an evaluation: where a benchmark's files are wrong, the steps so far are not lost."""
  try:
    yield
  except NotFiniteError:  # not worth keeping: the newest checkpoint is the way back
    raise
  except UserError:
    checkpoints.save(step, state, metrics={})
    checkpoints.wait()
    raise


def log(
  step: int,
  metrics: MetricAccumulator,
  writer: MetricWriter,
  *,
  train_program: TrainProgram,
) -> None:
  """Writes a line of metrics.jsonl, and tells how far the run is; then a new line."""
  numbers = metrics.compute()
  numbers["learning_rate"] = float(train_program.learning_rate(step - 1))
  writer.write(step, numbers)
  speed = numbers[metrics.speed]
  text = f"loss {numbers.get('loss', math.nan):.3f}"
  if "accuracy" in numbers:
    text += f"  accuracy {numbers['accuracy']:.3f}"
  text += f"  {speed:.0f} {metrics.unit}s/s"
  writer.say(step, text)
  metrics.restart()
