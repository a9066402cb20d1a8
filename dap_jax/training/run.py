"""A training run: from its config to its parts, and from these to the loop."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from typing import Any, NamedTuple

import jax
from etils import epath

from dap_jax.distributed import multihost, sharding
from dap_jax.distributed.preemption import Preemption
from dap_jax.distributed.watchdog import Watchdog
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.training import build, initial_weights, run_data
from dap_jax.training.config import RunConfig
from dap_jax.training.evaluation import Evaluator
from dap_jax.training.loop import Schedule, Session, train_loop
from dap_jax.training.metric_accumulator import MetricAccumulator
from dap_jax.training.metric_writer import MetricWriter, was_evaluated
from dap_jax.training.not_finite import SkipOrStop
from dap_jax.training.replay import replay
from dap_jax.training.run_data import OpenSource, RunData
from dap_jax.training.start import Start, decided_before, place_frozen, resume_or_begin
from dap_jax.training.summary import log_run_summary
from dap_jax.training.teacher import teachers
from dap_jax.training.trackers import load_package, open_tracker
from dap_jax.training.utilisation import Utilisation, of_run
from dap_jax.utils import prompts
from dap_jax.utils.binding import bind
from dap_jax.workdir.checkpointing import Checkpoints


class RunParts(NamedTuple):
  """What a run is made of, before it has a state.

  Attributes:
    config: of the run; its `model` section has what `init_from` decides.
    train_program: the network, its step, and where arrays lie.
    data: what it trains on.
    teacher: of the objectives that need one, or None.
    utilisation: of its devices, or None where their peak is not known.
  """

  config: RunConfig
  train_program: build.TrainProgram
  data: RunData
  teacher: teachers.Teacher | None
  utilisation: Utilisation | None


def train(
  config: RunConfig,
  *,
  workdir: str,
  replay_step: int | None,
  hang_seconds: float,
  tracker: str = "",
) -> None:
  """Trains, from where the workdir is to the last step, or until the job is to be stopped.

  Args:
    config: of the run.
    workdir: where the run lives.
    replay_step: looks at this one step again, and trains nothing; None trains.
    hang_seconds: without a step for so long it ends; 0 waits for ever.
    tracker: see `trackers.open_tracker`; "" = none.

  Raises:
    UserError: a mistake in the config, the data or the workdir; the training diverged.
  """
  started = time.monotonic()
  if tracker:  # first, so that a mistake costs no time
    load_package(tracker.partition(":")[0])
  multihost.check_same_run(config.to_dict(), workdir=workdir)
  config.check()
  open_checkpoints = bind(checkpoints_of, config.retention, where="checkpoint", workdir=workdir)

  source = source_of(config)
  with contextlib.ExitStack() as held:
    parts = assemble(config, workdir=workdir, source=source, held=held)
    with (
      jax.set_mesh(parts.train_program.mesh),
      open_checkpoints() as checkpoints,
      Preemption() as preemption,
      Watchdog(hang_seconds) as watchdog,
    ):
      with watchdog.paused():  # it compiles, and reads what may be large and far away
        start = resume_or_begin(
          parts.train_program,
          checkpoints,
          source=source,
          english_ids=parts.data.corpus.english_ids,
          new_decoder=config.new_decoder,
          part_of_source=parts.data.tokenizer if config.prunes else None,
          at_most=replay_step,
        )
      if replay_step is not None:
        replay_one(parts, start, workdir=workdir, step=replay_step)
        return
      log_run_summary(parts.train_program, parts.data, start=start.description)
      with open_writer(config, workdir, tracker, first_step=start.step) as writer:
        session = Session(
          checkpoints=checkpoints,
          preemption=preemption,
          watchdog=watchdog,
          writer=writer,
          started=started,
        )
        train_from(start, parts, session, workdir=workdir)


def open_writer(config: RunConfig, workdir: str, tracker: str, *, first_step: int) -> MetricWriter:
  """What takes the metrics of a start; process 0 alone has a tracker, as it alone writes."""
  writes = multihost.is_first()
  return MetricWriter(
    workdir,
    steps=config.steps,
    first_step=first_step,
    writes=writes,
    tracker=open_tracker(tracker, workdir, config.to_dict()) if tracker and writes else None,
  )


def source_of(config: RunConfig) -> OpenSource:
  """Opens `init_from`: once, and not at all in a run that resumes."""

  @functools.cache
  def source() -> initial_weights.WeightSource | None:
    return initial_weights.open_source(config.init_from) if config.init_from else None

  return source


def assemble(
  config: RunConfig, *, workdir: str, source: OpenSource, held: contextlib.ExitStack
) -> RunParts:
  """Prepares the data where that is to be done, and builds what trains on it."""
  config, data, teacher = prepare_data(
    config, workdir=workdir, source=source, held=held, engine=run_data.local_engine
  )
  vocabulary = vocabulary_of(
    data.tokenizer,
    rows=config.model["encoder"]["vocabulary_size"],
    english_ids=data.corpus.english_ids,
  )
  settings: dict[str, Any] = {key: getattr(config, key) for key in build.KEYS}
  settings |= {"vocabulary": vocabulary, "languages": 1 + len(data.corpus.languages)}
  settings["teacher"] = None if teacher is None else teacher.network
  train_program = build.build(**settings)
  return RunParts(config, train_program, data, teacher, of_run(train_program, **settings))


def prepare(config: RunConfig, *, workdir: str, engine: run_data.Engine) -> run_data.RunData:
  """What `train` does first, and no more: the data of a run, prepared in its workdir.

  Args:
    config: of the run.
    workdir: where the run will live.
    engine: who prepares it.

  Raises:
    UserError: a mistake in the config, the data or the workdir.
  """
  multihost.check_same_run(config.to_dict(), workdir=workdir)
  config.check()

  with contextlib.ExitStack() as held:
    source = source_of(config)
    return prepare_data(config, workdir=workdir, source=source, held=held, engine=engine)[1]


def prepare_data(
  config: RunConfig,
  *,
  workdir: str,
  source: OpenSource,
  held: contextlib.ExitStack,
  engine: run_data.Engine,
) -> tuple[RunConfig, run_data.RunData, teachers.Teacher | None]:
  """Checks the sections of the config, and prepares the data where that is to be done.

  Returns:
    The config, with what `init_from` decides; the data; and the teacher, where one is needed.
  """
  decided, stored = decided_before(epath.Path(workdir), config.init_from)
  if not decided and (weights := source()):
    decided = initial_weights.decided_by(weights, prunes=config.prunes)
    stored = weights.prompts
  model = initial_weights.decide(config.model, decided)
  config = dataclasses.replace(config, model=model, prompts=prompts.resolve(config.prompts, stored))
  mesh = bind(sharding.make_mesh, config.mesh, where="mesh", devices=None)()
  build.check_rows(mesh, config.program, batch_size=config.batch_size)
  needed = build.needs(config.objectives)
  teacher = None
  if "teacher" in needed:
    teacher = bind(teachers.load, config.teacher, where="teacher", pivot=config.data["pivot"])()
  data = run_data.load_or_prepare(
    workdir,
    config=config,
    source=source,
    needed=needed,
    teacher=teacher,
    held=held,
    engine=engine,
  )
  return config, data, teacher


def train_from(start: Start, parts: RunParts, session: Session, *, workdir: str) -> None:
  """The loop, with what a training run evaluates and does about steps that are not finite."""
  config, train_program, data = parts.config, parts.train_program, parts.data
  frozen = place_frozen(
    train_program, start.state, step=start.step, workdir=workdir, teacher=parts.teacher
  )
  evaluate = Evaluator(
    train_program=train_program,
    data=data,
    model=config.model,
    prompts=config.prompts,
    pivot=config.data["pivot"],
    suites=config.suites,
    best_metric=session.checkpoints.best_metric,
    writer=session.writer,
  )
  schedule = Schedule(
    first_step=start.step,
    steps=config.steps,
    log_steps=config.log_steps,
    eval_steps=config.eval_steps,
    save_steps=config.save_steps,
    scores_are_missing=(start.step > 0 or config.eval_at_start)
    and not was_evaluated(workdir, start.step),
  )
  rows = sharding.local_rows(train_program.mesh, config.batch_size)
  _, step = train_loop(
    start.state,
    train_program=train_program,
    frozen=frozen,
    batches=data.batches(first_step=start.step, rows=rows),
    batch_size=config.batch_size,
    metrics=MetricAccumulator(
      config.batch_size * (data.corpus.views - 1),
      unit="pair",
      started=session.started,
      utilisation=parts.utilisation,
    ),
    schedule=schedule,
    session=session,
    evaluate=evaluate,
    on_not_finite=SkipOrStop(session, data, at_most=config.skip_not_finite),
  )
  if step == config.steps:
    best = session.checkpoints.best_step()
    session.writer.announce(f"finished at step {step}; best checkpoint: step {best}")


def replay_one(parts: RunParts, start: Start, *, workdir: str, step: int) -> None:
  """See `replay`."""
  frozen = place_frozen(
    parts.train_program, start.state, step=start.step, workdir=workdir, teacher=parts.teacher
  )
  replay(
    parts.train_program,
    start.state,
    first_step=start.step,
    step=step,
    batch_at=parts.data.batch_at,
    frozen=frozen,
  )


def checkpoints_of(*, workdir: str, keep_last: int, best_metric: str) -> Checkpoints:
  """The checkpoints of the workdir; the arguments are the config's `checkpoint` section."""
  return Checkpoints(workdir, keep_last=keep_last, best_metric=best_metric)
