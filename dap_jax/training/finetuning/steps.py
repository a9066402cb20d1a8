"""The steps of a fine-tuning by the loop of training, and which checkpoint is the model."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import time
from collections.abc import Mapping
from typing import Any

import jax
from etils import epath

from dap_jax.core.train_step import Frozen, TrainState
from dap_jax.distributed.preemption import Preemption
from dap_jax.distributed.watchdog import Watchdog
from dap_jax.training import build
from dap_jax.training.finetuning.batches import Batches
from dap_jax.training.finetuning.evaluation import Predictor
from dap_jax.training.finetuning.task import Task
from dap_jax.training.loop import Schedule, Session, train_loop
from dap_jax.training.metric_accumulator import MetricAccumulator, NotFinite
from dap_jax.training.metric_writer import MetricWriter, was_evaluated
from dap_jax.utils.errors import UserError
from dap_jax.workdir import restore
from dap_jax.workdir.checkpointing import Checkpoints

logger = logging.getLogger(__name__)

LOG_STEPS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneRun:
  """One start of a fine-tuning.

  Attributes:
    task: what it learns.
    batches: of the train split.
    train_program: network with head, optimizer, step.
    predictor: of the network.
    steps: of the whole run.
    eval_steps: a development score every so many steps; 0 = none.
    folder: the workdir.
  """

  task: Task
  batches: Batches
  train_program: build.TrainProgram
  predictor: Predictor
  steps: int
  eval_steps: int
  folder: epath.Path

  @property
  def best_metric(self) -> str:
    """The score that chooses the checkpoint, "" where the last one is taken."""
    return self.task.metric if self.eval_steps else ""


def train(run: FinetuneRun, *, first: Mapping[str, Any], save_steps: int) -> TrainState | None:
  """The state after the last step; None if the job was told to stop before, and saved.

  Args:
    run: what trains, on what.
    first: parameters to begin with where there is no checkpoint; they are donated.
    save_steps: a checkpoint every so many steps, where none is chosen by its score.
  """
  started, train_program, batches = time.monotonic(), run.train_program, run.batches
  with (
    jax.set_mesh(train_program.mesh),
    Checkpoints(run.folder, keep_last=1, best_metric=run.best_metric) as checkpoints,
    Preemption() as preemption,
    Watchdog(0) as watchdog,
  ):
    restored = checkpoints.restore(train_program.abstract_state)
    state = train_program.init(dict(first)) if restored is None else restored.state
    first_step = 0 if restored is None else restored.step
    size, length = batches.batch_size, batches.max_tokens
    logger.info(
      "%d steps of %d sequences of up to %d tokens, from step %d",
      *(run.steps, size, length, first_step),
    )
    with MetricWriter(run.folder, steps=run.steps, first_step=first_step, writes=True) as writer:
      state, step = train_loop(
        state,
        train_program=train_program,
        frozen=Frozen(),
        batches=map(batches.batch, itertools.count(first_step)),
        batch_size=size,
        metrics=MetricAccumulator(size, unit="example", started=started),
        schedule=schedule_of(run, first_step, save_steps=save_steps),
        session=Session(
          checkpoints=checkpoints,
          preemption=preemption,
          watchdog=watchdog,
          writer=writer,
          started=started,
        ),
        evaluate=functools.partial(dev_scores, run, writer) if run.best_metric else None,
        on_not_finite=refuse,
      )
  return state if step == run.steps else None


def schedule_of(run: FinetuneRun, first_step: int, *, save_steps: int) -> Schedule:
  """When the run evaluates and saves: at the same steps, so that the best checkpoint is kept."""
  is_due = bool(run.eval_steps and first_step) and (
    first_step == run.steps or first_step % run.eval_steps == 0
  )
  return Schedule(
    first_step=first_step,
    steps=run.steps,
    log_steps=LOG_STEPS,
    eval_steps=run.eval_steps or run.steps,
    save_steps=run.eval_steps or save_steps,
    scores_are_missing=is_due and not was_evaluated(run.folder, first_step),
  )


def dev_scores(
  run: FinetuneRun, writer: MetricWriter, state: TrainState, step: int
) -> dict[str, float]:
  """The scores of the development split, which it writes and tells."""
  scores = run.task.dev_scores(run.predictor.of(state.params))
  writer.write(step, scores)
  text = ", ".join(f"{name.split('/')[-1]} {value:.3f}" for name, value in scores.items())
  writer.announce(f"step {step}: development {text}")
  return scores


def chosen(run: FinetuneRun, state: TrainState) -> tuple[Any, int]:
  """The parameters that are the model, and their step; state: the last."""
  if not run.best_metric:
    return state.params, run.steps
  step = restore.step_number(run.folder, "best")
  if step == run.steps:
    return state.params, step
  abstract = run.train_program.abstract_state.params
  return restore.restore(run.folder, abstract, step=str(step)).state, step


def refuse(event: NotFinite) -> None:
  """Raises UserError: a fine-tuning is short, so it passes over no such step."""
  raise UserError(
    f"the loss is not finite at step {event.step}: lower --learning_rate, in another --workdir"
  )
