"""Fine-tuning of a whole model with a classification head, by the loop and the step of training.

The head reads the model's own sentence vector. A pair of texts is one sequence, as the tokenizer's
own template joins them: `[CLS] a [SEP] b [SEP]`, or `<s> a </s></s> b </s>`; all of token type 0.
Batch n is a function of the seed and n alone, so a run that was killed goes on as if it had not
been.
"""

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
from dap_jax.data.texts import labelled_texts
from dap_jax.distributed import sharding
from dap_jax.distributed.preemption import Preemption
from dap_jax.distributed.watchdog import Watchdog
from dap_jax.evals import Result
from dap_jax.inference import embedder
from dap_jax.inference.embedder import Embedder
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.training import build
from dap_jax.training.finetuning.batches import Batches, make_batches
from dap_jax.training.finetuning.evaluation import evaluate, write_scores
from dap_jax.training.loop import Schedule, Session, train_loop
from dap_jax.training.metric_accumulator import MetricAccumulator, NotFinite
from dap_jax.training.metric_writer import MetricWriter
from dap_jax.utils.claim import claim_folder, refuse_difference
from dap_jax.utils.errors import UserError, writing
from dap_jax.utils.locks import exclusive
from dap_jax.workdir.checkpointing import Checkpoints
from dap_jax.workdir.layout import is_workdir

logger = logging.getLogger(__name__)

SETTINGS, SCORES = "finetune.json", "scores.json"  # in the workdir
LOG_STEPS = 20
# As transformers' scripts fine-tune BERT.
OPTIMIZER = {
  "schedule_name": "linear",
  "warmup_steps": 0,
  "b1": 0.9,
  "b2": 0.999,
  "eps": 1e-8,
  "weight_decay": 0.0,
  "clip_norm": 1.0,
}


MAX_TOKENS = 128  # DAP's for XNLI


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
  """What decides the scores of a fine-tuning: the flags of the command, which explains them."""

  model: str
  data: str
  step: str
  train_language: str
  epochs: int
  batch_size: int
  learning_rate: float
  max_tokens: int | None
  dropout: float
  seed: int
  compute_dtype: str


def finetune(settings: FinetuneSettings, *, workdir: str, save_steps: int) -> Result | None:
  """Fine-tunes, tests, and writes WORKDIR/scores.json.

  Args:
    settings: see there.
    workdir: where the run lives.
    save_steps: a checkpoint every so many steps.

  Returns:
    Accuracy and macro F1 of each language; None if the job was told to stop before its end.

  Raises:
    UserError: a mistake in a flag, the data or the workdir; the training diverged.
  """
  folder = epath.Path(workdir)
  if settings.max_tokens is None:
    limit = min(MAX_TOKENS, embedder.most_tokens(settings.model))
    settings = dataclasses.replace(settings, max_tokens=limit)
  examples = labelled_texts.read_labelled_texts(
    settings.data, train_language=settings.train_language
  )
  pretrained = embedder.load(
    settings.model,
    step=settings.step,
    max_tokens=settings.max_tokens,
    compute_dtype=settings.compute_dtype,
  )
  batches = make_batches(examples, pretrained, batch_size=settings.batch_size, seed=settings.seed)
  steps = settings.epochs * batches.steps_of_epoch
  train_program = make_train_program(
    pretrained,
    steps=steps,
    classes=len(examples.classes),
    seed=settings.seed,
    learning_rate=settings.learning_rate,
    dropout=settings.dropout,
  )
  sharding.check_batch(train_program.mesh, settings.batch_size)
  flags = dataclasses.asdict(settings)
  identity = {**flags, "texts": examples.digest(), "parameters": pretrained.digest()}
  check_folder(folder, data=settings.data)
  with exclusive(folder):
    claim(folder, identity)
    state = train(
      train_program,
      batches,
      steps=steps,
      first=pretrained.params,
      folder=folder,
      save_steps=save_steps,
    )
    if state is None:
      return None
    result = evaluate(train_program, state, examples, pretrained)
    write_scores(folder / SCORES, result, settings=flags, pretrained=pretrained)
    return result


def make_train_program(
  pretrained: Embedder, *, steps: int, classes: int, seed: int, learning_rate: float, dropout: float
) -> build.TrainProgram:
  """The pretrained network with a head, its optimizer and its step; all devices share the batch."""
  section = {**pretrained.model_config, "dropout": dropout, "projection": False}
  vocabulary = vocabulary_of(
    pretrained.tokenizer, rows=section["encoder"]["vocabulary_size"], english_ids=None
  )
  return build.build(
    vocabulary=vocabulary,
    seed=seed,
    steps=steps,
    max_tokens=pretrained.max_tokens,
    model=section,
    decoder={},
    objectives={"classification": {"weight": 1.0}},
    optimizer={**OPTIMIZER, "learning_rate": learning_rate},
    mesh={"data": -1, "fsdp": 1, "model": 1},
    classes=classes,
  )


def check_folder(folder: epath.Path, *, data: str) -> None:
  """Raises UserError where the workdir is another kind of folder."""
  if is_workdir(folder):
    raise UserError(f"--workdir={folder} is a run of train: fine-tuning needs its own folder")
  if folder.resolve() == epath.Path(data).resolve():
    raise UserError(f"--workdir={folder} is --data: fine-tuning needs its own folder")


def claim(folder: epath.Path, settings: Mapping[str, Any]) -> None:
  """Makes the workdir that of these settings.

  Raises:
    UserError: it cannot be written, or holds another run.
  """
  check = functools.partial(
    refuse_difference,
    holds=f"--workdir={folder} holds a fine-tuning",
    this="this one",
    cure="use another --workdir, or the same value to resume",
  )
  with writing(f"--workdir={folder}"):
    claim_folder(folder, settings, file=SETTINGS, check=check)


def train(
  train_program: build.TrainProgram,
  batches: Batches,
  *,
  steps: int,
  first: Mapping[str, Any],
  folder: epath.Path,
  save_steps: int,
) -> TrainState | None:
  """The state after the last step; None if the job was told to stop before, and saved.

  Args:
    train_program, batches: what trains, on what.
    steps: of the whole run.
    first: parameters to begin with where there is no checkpoint; they are donated.
    folder, save_steps: where checkpoints go, and every how many steps.
  """
  started = time.monotonic()
  with (
    jax.set_mesh(train_program.mesh),
    Checkpoints(folder, keep_last=1, best_metric="") as checkpoints,
    Preemption() as preemption,
    Watchdog(0) as watchdog,
  ):
    restored = checkpoints.restore(train_program.abstract_state)
    state = train_program.init(dict(first)) if restored is None else restored.state
    first_step = 0 if restored is None else restored.step
    size, length = batches.batch_size, batches.length
    logger.info("%d steps of %d x %d tokens, from step %d", steps, size, length, first_step)
    with MetricWriter(folder, steps=steps, first_step=first_step, writes=True) as writer:
      state, step = train_loop(
        state,
        train_program=train_program,
        frozen=Frozen(),
        batches=map(batches.batch, itertools.count(first_step)),
        batch_size=size,
        metrics=MetricAccumulator(size, unit="example", started=started),
        schedule=Schedule(
          first_step=first_step,
          steps=steps,
          log_steps=LOG_STEPS,
          eval_steps=steps,
          save_steps=save_steps,
        ),
        session=Session(
          checkpoints=checkpoints,
          preemption=preemption,
          watchdog=watchdog,
          writer=writer,
          started=started,
        ),
        evaluate=None,
        on_not_finite=refuse,
      )
  return state if step == steps else None


def refuse(event: NotFinite) -> None:
  """Raises UserError: a fine-tuning is short, so it passes over no such step."""
  raise UserError(
    f"the loss is not finite at step {event.step}: lower --learning_rate, in another --workdir"
  )
