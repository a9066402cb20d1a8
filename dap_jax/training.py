"""One run from its config to the loop: its data, its parts, where it resumes or begins."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from etils import epath

from dap_jax import build, evals, frozen, introduction, run_data, sharding, teachers, warm_start
from dap_jax.checkpoint import Checkpoints
from dap_jax.data import loader, store
from dap_jax.errors import UserError
from dap_jax.journal import Journal, was_evaluated
from dap_jax.loop import Run
from dap_jax.make_model import vocabulary_of
from dap_jax.preemption import Preemption
from dap_jax.settings import bind
from dap_jax.train_step import TrainState
from dap_jax.workdir import has_checkpoints, read_config


class Start(NamedTuple):
  """Where a run begins. state, step; said: what happened, for the log."""

  state: TrainState
  step: int
  said: str


def train(
  *,
  workdir: str,
  seed: int,
  steps: int,
  batch_size: int,
  max_tokens: int,
  gradient_accumulation_steps: int,
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
  mesh: Mapping[str, Any],
  checkpoint: Mapping[str, Any],
) -> None:
  """Trains; every argument but `workdir` is a key of the config (`configs/base.py` explains each).

  Raises:
    UserError: a mistake in the config, the data or the workdir.
  """
  config = {key: value for key, value in locals().items() if key != "workdir"}
  started = time.monotonic()
  # Opened once, and not at all by a run that has begun: it resumes without its source.
  source = functools.cache(lambda: warm_start.open_source(init_from) if init_from else None)
  decided = begun_model(epath.Path(workdir), init_from) or (source().model if init_from else {})
  model = config["model"] = warm_start.decide(model, decided)
  refuse_accumulation(gradient_accumulation_steps)
  for name, value in {"steps": steps, "log_steps": log_steps, "eval_steps": eval_steps}.items():
    if value < 1:
      raise UserError(f"{name}={value}: expected 1 or more")
  suites = parse_suites(eval_suites)
  rows = sharding.local_rows(bind(sharding.make_mesh, mesh, where="mesh")(), batch_size)
  bucket_tokens = check_buckets(data.get("bucket_tokens"), max_tokens=max_tokens)
  needed = build.needs(objectives)
  guide = None
  if "teacher" in needed:
    guide = bind(teachers.load, teacher, where="teacher", pivot=data["pivot"])()
  corpus, tokens = run_data.prepare(
    workdir, config=config, source=source, needed=needed, teacher=guide
  )
  parts = build.build(
    vocabulary=vocabulary_of(
      tokens, rows=model["encoder"]["vocabulary_size"], english_ids=corpus.english_ids
    ),
    seed=seed,
    steps=steps,
    max_tokens=max_tokens,
    model=model,
    decoder=decoder,
    unmasking=unmasking,
    objectives=objectives,
    matryoshka_dimensions=matryoshka_dimensions,
    optimizer=optimizer,
    mesh=mesh,
    languages=1 + len(corpus.languages),
    teacher=None if guide is None else guide.network,
  )
  policy = dict(checkpoint)
  save_steps = policy.pop("save_steps", 0)
  if save_steps < 1:
    raise UserError(f"checkpoint.save_steps={save_steps}: expected 1 or more")
  keep = bind(checkpoints_of, policy, where="checkpoint", workdir=workdir)
  with jax.set_mesh(parts.mesh), keep() as checkpoints, Preemption() as preemption:
    start = begin(parts, checkpoints, source=source, corpus=corpus)
    introduction.introduce(
      parts, corpus, start=start.said, batch_size=batch_size, bucket_tokens=bucket_tokens
    )
    batches = loader.batches(
      corpus.sources,
      rates=corpus.rates,
      bucket_tokens=bucket_tokens,
      seed=seed,
      batch_size=batch_size,
      rows=rows,
      first_step=start.step,
    )
    with Journal(
      workdir, steps=steps, first_step=start.step, writes=jax.process_index() == 0
    ) as journal:
      run = Run(
        parts=parts,
        corpus=corpus,
        tokens=tokens,
        batches=batches,
        checkpoints=checkpoints,
        preemption=preemption,
        journal=journal,
        model=dict(model),
        suites=suites,
        evaluated=was_evaluated(workdir, start.step),
        frozen=frozen.place(parts, start.state, step=start.step, workdir=workdir, teacher=guide),
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


def refuse_accumulation(micro_batches: int) -> None:
  """Plain gradient accumulation is another loss where negatives come from the batch."""
  if micro_batches != 1:
    raise UserError(
      f"gradient_accumulation_steps={micro_batches}: only 1 is right here. Accumulating over small"
      " batches takes each anchor's negatives from its own small batch, which is another, easier"
      " loss (1024 pairs: 3.864; the mean over 8 x 128: 2.086). To save memory use more devices"
      " (mesh.data, mesh.model), compute_dtype=bfloat16, or a smaller batch_size"
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
    evals.load(name)
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


def begun_model(folder: epath.Path, init_from: str) -> dict[str, Any]:
  """What `init_from` decided when a run began that has checkpoints; empty for any other."""
  if not init_from or not has_checkpoints(folder):
    return {}
  config = read_config(folder)
  if config.get("init_from") != init_from:
    return {}
  return {name: config["model"][name] for name in warm_start.DECIDED}


def begin(
  parts: build.Parts,
  checkpoints: Checkpoints,
  *,
  source: Callable[[], warm_start.Source | None],
  corpus: store.Corpus,
) -> Start:
  """1. resume, 2. init_from, 3. random."""
  clock = time.monotonic()
  restored = checkpoints.restore(parts.abstract_state)
  if restored is not None:
    said = f"resumed at step {restored.step} in {time.monotonic() - clock:.1f} s"
    return Start(restored.state, restored.step, said)
  first = source()
  if first is None:
    return Start(parts.init({}), 0, "random weights")
  params, said = first.params(parts.abstract_state.params, english_ids=corpus.english_ids)
  said += f"; read in {time.monotonic() - clock:.1f} s; the optimizer starts anew"
  return Start(parts.init(params), 0, said)
