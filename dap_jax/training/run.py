"""One run from its config to the loop: its data, its parts, where it resumes or begins."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from dap_jax import evals
from dap_jax.data import loader, store
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.distributed import multihost, sharding
from dap_jax.distributed.preemption import Preemption
from dap_jax.distributed.watchdog import Watchdog
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.training import build, frozen, initial_weights, replay, run_data, summary
from dap_jax.training.loop import Run
from dap_jax.training.metric_writer import MetricWriter, was_evaluated
from dap_jax.training.start import begin, begun_model
from dap_jax.training.teacher import teachers
from dap_jax.utils.binding import bind
from dap_jax.utils.errors import UserError
from dap_jax.workdir.checkpointing import Checkpoints


class Prepared(NamedTuple):
  """What a run is made of, before it has a state.

  Attributes:
    train_program, corpus, tokens: the model, what it trains on, its tokenizer.
    teacher: of the objectives that need one, or None.
    suites: benchmarks, name -> folder.
    bucket_tokens: the lengths of batches.
    batches: (first step, rows) -> the endless stream of batches.
    rows: those of the global batch that this process reads.
    model: the config's section, with what a checkpoint decided.
  """

  train_program: build.TrainProgram
  corpus: store.Corpus
  tokens: Tokenizer
  teacher: teachers.Teacher | None
  suites: dict[str, str]
  bucket_tokens: list[int]
  batches: Callable[..., Iterator[dict[str, np.ndarray]]]
  rows: slice
  model: dict[str, Any]


# Arguments of `train` that are no keys of the config.
FLAGS = ("workdir", "replay_step", "hang_seconds")


def train(
  *,
  workdir: str,
  replay_step: int | None,
  hang_seconds: float,
  seed: int,
  steps: int,
  batch_size: int,
  max_tokens: int,
  gradient_accumulation_steps: int,
  skip_not_finite: int,
  log_steps: int,
  eval_steps: int,
  eval_suites: str,
  init_from: str,
  data: Mapping[str, Any],
  tokenizer: Mapping[str, Any],
  model: Mapping[str, Any],
  decoder: Mapping[str, Any],
  unmasking: Mapping[str, Any],
  teacher: Mapping[str, Any],
  objectives: Mapping[str, Any],
  matryoshka_dimensions: Sequence[int],
  optimizer: Mapping[str, Any],
  program: Mapping[str, Any],
  mesh: Mapping[str, Any],
  sharding_rules: Sequence[tuple[str, Sequence[str | None]]],
  checkpoint: Mapping[str, Any],
) -> None:
  """Trains; the other arguments are the keys of the config (`configs/base.py` explains each).

  Args:
    workdir: where the run lives.
    replay_step: looks at this one step again, and trains nothing; None trains.
    hang_seconds: without a step for so long it ends; 0 waits for ever.

  Raises:
    UserError: a mistake in the config, the data or the workdir.
  """
  config = {key: value for key, value in locals().items() if key not in FLAGS}
  started = time.monotonic()
  multihost.agree(config, workdir=workdir)
  refuse_accumulation(gradient_accumulation_steps)
  for name, value in {"steps": steps, "log_steps": log_steps, "eval_steps": eval_steps}.items():
    if value < 1:
      raise UserError(f"{name}={value}: expected 1 or more")
  policy = dict(checkpoint)
  save_steps = policy.pop("save_steps", 0)
  if save_steps < 1:
    raise UserError(f"checkpoint.save_steps={save_steps}: expected 1 or more")
  # Opened once, and not at all by a run that has begun: it resumes without its source.
  source = functools.cache(lambda: initial_weights.open_source(init_from) if init_from else None)
  own = prepare(config, workdir=workdir, source=source)
  keep = bind(checkpoints_of, policy, where="checkpoint", workdir=workdir)
  watchdog = Watchdog(hang_seconds)
  with (
    jax.set_mesh(own.train_program.mesh),
    keep() as checkpoints,
    Preemption() as preemption,
    watchdog,
  ):
    start = begin(
      own.train_program, checkpoints, source=source, corpus=own.corpus, at_most=replay_step
    )
    kept = frozen.place(
      own.train_program, start.state, step=start.step, workdir=workdir, teacher=own.teacher
    )

    def batch_at(step: int) -> dict[str, np.ndarray]:
      return next(own.batches(first_step=step, rows=slice(0, batch_size)))

    if replay_step is not None:
      given = {"first_step": start.step, "batch_at": batch_at, "frozen": kept}
      replay.replay(own.train_program, start.state, step=replay_step, **given)
      return
    given = {"batch_size": batch_size, "bucket_tokens": own.bucket_tokens}
    summary.introduce(own.train_program, own.corpus, start=start.said, **given)
    writes = multihost.is_first()
    with MetricWriter(workdir, steps=steps, first_step=start.step, writes=writes) as writer:
      run = Run(
        train_program=own.train_program,
        corpus=own.corpus,
        tokens=own.tokens,
        batches=own.batches(first_step=start.step, rows=own.rows),
        checkpoints=checkpoints,
        preemption=preemption,
        writer=writer,
        model=own.model,
        suites=own.suites,
        evaluated=was_evaluated(workdir, start.step),
        frozen=kept,
        watchdog=watchdog,
        batch_at=batch_at,
        skip_not_finite=skip_not_finite,
      )
      run.loop(
        start.state,
        first_step=start.step,
        steps=steps,
        batch_size=batch_size,
        log_steps=log_steps,
        eval_steps=eval_steps,
        save_steps=save_steps,
        pivot=data["pivot"],
        started=started,
      )


def prepare(
  config: dict[str, Any], *, workdir: str, source: Callable[[], initial_weights.Source | None]
) -> Prepared:
  """Checks the config, prepares the data where that is to be done, and builds.

  Args:
    config: the whole of it; `model` becomes what `init_from` decides.
    workdir: where the run lives.
    source: what `init_from` names.
  """
  objectives, data, batch_size = (config[key] for key in ("objectives", "data", "batch_size"))
  decided = begun_model(epath.Path(workdir), config["init_from"])
  if not decided and config["init_from"]:
    decided = source().model
  model = config["model"] = initial_weights.decide(config["model"], decided)
  suites = parse_suites(config["eval_suites"])
  mesh = bind(sharding.make_mesh, config["mesh"], where="mesh", devices=None)()
  build.check_rows(mesh, config["program"], batch_size=batch_size)
  rows = sharding.local_rows(mesh, batch_size)
  bucket_tokens = check_buckets(data.get("bucket_tokens"), max_tokens=config["max_tokens"])
  needed = build.needs(objectives)
  teacher = None
  if "teacher" in needed:
    teacher = bind(teachers.load, config["teacher"], where="teacher", pivot=data["pivot"])()
  corpus, tokens = run_data.prepare(
    workdir, config=config, source=source, needed=needed, teacher=teacher
  )
  train_program = build.build(
    vocabulary=vocabulary_of(
      tokens, rows=model["encoder"]["vocabulary_size"], english_ids=corpus.english_ids
    ),
    languages=1 + len(corpus.languages),
    teacher=None if teacher is None else teacher.network,
    **{key: config[key] for key in build.KEYS},
  )
  batches = functools.partial(
    loader.batches,
    corpus.sources,
    rates=corpus.rates,
    bucket_tokens=bucket_tokens,
    seed=config["seed"],
    batch_size=batch_size,
  )
  return Prepared(
    train_program, corpus, tokens, teacher, suites, bucket_tokens, batches, rows, dict(model)
  )


def refuse_accumulation(micro_batches: int) -> None:
  """Plain gradient accumulation is another loss where negatives come from the batch."""
  if micro_batches != 1:
    raise UserError(
      f"gradient_accumulation_steps={micro_batches}: only 1 is right here. Accumulating over small"
      " batches takes each anchor's negatives from its own small batch, which is another, easier"
      " loss (1024 pairs: 3.864; the mean over 8 x 128: 2.086). To save memory use"
      f" program.microbatches={micro_batches}, which has the exact gradient of the whole batch"
    )


def parse_suites(text: str) -> dict[str, str]:
  """`NAME=FOLDER,NAME=FOLDER` -> name -> folder. Raises UserError that names the wrong one."""
  suites = {}
  for entry in filter(None, text.split(",")):
    name, _, folder = entry.partition("=")
    if name == "retrieval" or not folder or not epath.Path(folder).is_dir():
      raise UserError(
        f"eval_suites: {entry!r}: expected NAME=FOLDER, a suite of dap_jax/evals and its data; the"
        " held-out retrieval is always there"
      )
    evals.load_suite(name)
    if name in suites:
      raise UserError(f"eval_suites names {name} twice: a score has one meaning")
    suites[name] = folder
  return suites


def check_buckets(bucket_tokens: Sequence[int] | None, *, max_tokens: int) -> list[int]:
  """The padded lengths of batches: rising, the last one `max_tokens`."""
  buckets = list(bucket_tokens or [max_tokens])
  if buckets != sorted(set(buckets)) or buckets[0] < 1 or buckets[-1] != max_tokens:
    raise UserError(
      f"data.bucket_tokens={tuple(buckets)}: expected rising lengths, the last of them"
      f" max_tokens={max_tokens}"
    )
  return buckets


def checkpoints_of(*, workdir: str, keep_last: int, best_metric: str) -> Checkpoints:
  """The checkpoints of the workdir; the arguments are the config's `checkpoint` section."""
  return Checkpoints(workdir, keep_last=keep_last, best_metric=best_metric)
