"""Fine-tuning of a whole model with a classification head, by the train step of every other run.

The head reads the model's own sentence vector. A pair of texts is one sequence, as the tokenizer's
own template joins them: `[CLS] a [SEP] b [SEP]`, or `<s> a </s></s> b </s>`; all of token type 0.
Batch n is a function of the seed and n alone, so a run that was killed goes on as if it had not
been.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from dap_jax.core import inference_step
from dap_jax.core.train_step import Frozen, TrainState
from dap_jax.data.readers import labelled_texts
from dap_jax.data.readers.labelled_texts import LabelledTexts
from dap_jax.distributed import sharding
from dap_jax.distributed.preemption import Preemption
from dap_jax.evals import Result, classification, scores
from dap_jax.inference import embedder
from dap_jax.inference.embedder import Embedder
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.training import build
from dap_jax.training.finetuning.batches import Batches
from dap_jax.training.loop import Window
from dap_jax.training.metric_writer import MetricWriter
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json, write_json
from dap_jax.workdir.checkpointing import Checkpoints
from dap_jax.workdir.layout import is_workdir

logger = logging.getLogger(__name__)

SUITE, VERSION = "finetune", 1
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


def finetune(
  *,
  model: str,
  data: str,
  workdir: str,
  step: str,
  train_language: str,
  epochs: int,
  batch_size: int,
  learning_rate: float,
  max_tokens: int,
  dropout: float,
  seed: int,
  save_steps: int,
  compute_dtype: str,
) -> Result | None:
  """Fine-tunes, tests, writes WORKDIR/scores.json; the arguments are the command's flags.

  Returns:
    Accuracy and macro F1 of each language; None if the job was told to stop before its end.

  Raises:
    UserError: a mistake in a flag, the data or the workdir; the training diverged.
  """
  settings = {key: value for key, value in locals().items() if key not in ("workdir", "save_steps")}
  folder = epath.Path(workdir)
  examples = labelled_texts.read(data, train_language=train_language)
  loaded = embedder.load(model, step=step, max_tokens=max_tokens, compute_dtype=compute_dtype)
  batches = make_batches(examples, loaded, batch_size=batch_size, seed=seed)
  steps = epochs * batches.steps_of_epoch
  train_program = make_parts(
    loaded,
    steps=steps,
    classes=len(examples.classes),
    seed=seed,
    learning_rate=learning_rate,
    dropout=dropout,
  )
  sharding.local_rows(train_program.mesh, batch_size)  # refuses one that the devices cannot share
  data_of = {"texts": examples.digest(), "parameters": loaded.digest()}
  claim(folder, {**settings, **data_of})
  state = train(
    train_program, batches, steps=steps, first=loaded.params, folder=folder, save_steps=save_steps
  )
  if state is None:
    return None
  result = evaluate(train_program, state, examples, loaded)
  write_scores(folder / SCORES, result, settings=settings, loaded=loaded)
  return result


def make_batches(
  examples: LabelledTexts, loaded: Embedder, *, batch_size: int, seed: int
) -> Batches:
  """The train split, tokenised. Raises UserError: the tokenizer does not tell a pair's texts apart.

  L is a multiple of 16 that holds the longest, or `max_tokens`.
  """
  tokens = loaded.tokenizer
  if examples.pairs and len(tokens.encode_ragged([("", "")])[0]) < 3:
    raise UserError("the model's tokenizer puts nothing between the texts of a pair")
  sequences = tokens.encode_ragged(examples.train.texts)
  return Batches(
    sequences=sequences,
    labels=np.asarray(examples.numbers(examples.train), np.int32),
    batch_size=batch_size,
    length=min(loaded.max_tokens, -(-max(map(len, sequences)) // 16) * 16),
    pad_id=tokens.pad_id,
    seed=seed,
  )


def make_parts(
  loaded: Embedder, *, steps: int, classes: int, seed: int, learning_rate: float, dropout: float
) -> build.TrainProgram:
  """The loaded network with a head, its optimizer and its step; all devices share the batch."""
  section = {**loaded.model, "dropout": dropout, "projection": False}
  vocabulary = vocabulary_of(
    loaded.tokenizer, rows=section["encoder"]["vocabulary_size"], english_ids=None
  )
  return build.build(
    vocabulary=vocabulary,
    seed=seed,
    steps=steps,
    max_tokens=loaded.max_tokens,
    model=section,
    decoder={},
    objectives={"classification": {"weight": 1.0}},
    optimizer={**OPTIMIZER, "learning_rate": learning_rate},
    mesh={"data": -1, "fsdp": 1, "model": 1},
    classes=classes,
  )


def claim(folder: epath.Path, settings: Mapping[str, Any]) -> None:
  """Makes the workdir that of these settings.

  Raises:
    UserError: it cannot be written, or holds another run.
  """
  if is_workdir(folder):
    raise UserError(f"--workdir={folder} is a run of train: fine-tuning needs its own folder")
  if folder.resolve() == epath.Path(settings["data"]).resolve():
    raise UserError(f"--workdir={folder} is --data: fine-tuning needs its own folder")
  path = folder / SETTINGS
  try:
    theirs = read_json(path) if path.exists() else settings
    for key, value in settings.items():
      if theirs.get(key) != value:
        raise UserError(
          f"--workdir={folder} holds a fine-tuning with {key}={theirs.get(key)!r}, this one has"
          f" {value!r}: use another --workdir, or the same value to resume"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, settings)
  except OSError as error:
    raise UserError(f"--workdir={folder} cannot be written: {error}") from error


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
  with (
    jax.set_mesh(train_program.mesh),
    Checkpoints(folder, keep_last=1, best_metric="") as checkpoints,
    Preemption() as preemption,
  ):
    restored = checkpoints.restore(train_program.abstract_state)
    state = train_program.init(dict(first)) if restored is None else restored.state
    begun = step = 0 if restored is None else restored.step
    rows, length = batches.batch_size, batches.length
    logger.info("%d steps of %d x %d tokens, from step %d", steps, rows, length, begun)
    window = Window(rows)
    with MetricWriter(folder, steps=steps, first_step=begun, writes=True) as writer:
      while step < steps and not preemption.requested(step):
        batch = sharding.put_batch(batches.batch(step), train_program.mesh, batch_size=rows)
        state, means = train_program.step(state, batch, Frozen())
        step += 1
        window.add(means)
        writer.advance()
        if step == begun + 1:  # it compiles, so it is no measure of speed
          jax.block_until_ready(means)
          window.restart_clock()
        if step % LOG_STEPS == 0 or step == steps or step % save_steps == 0:
          log(step, window, writer, steps=steps)
        if step % save_steps == 0 and step < steps:
          checkpoints.save(step, state, metrics={})
      if step > begun and (step == steps or step % save_steps):  # else it is saved already
        checkpoints.save(step, state, metrics={})
      if step < steps:
        writer.announce(f"stopped at step {step} as asked; the same command resumes")
  return state if step == steps else None


def log(step: int, window: Window, writer: MetricWriter, *, steps: int) -> None:
  """A line of metrics.jsonl. Raises UserError: the loss is no number any more."""
  metrics = window.compute()
  if metrics.pop("not_finite", 0):
    raise UserError(
      f"the loss is not finite at step {step}: lower --learning_rate, in another --workdir"
    )
  speed = metrics.pop("pairs_per_second")
  writer.write(step, {**metrics, "examples_per_second": speed})
  text = f"loss {metrics['loss']:.3f}  accuracy {metrics['accuracy']:.3f}"
  writer.say(step, text, seconds_left=(steps - step) * window.batch_size / max(speed, 1e-9))
  window.restart()


def evaluate(
  train_program: build.TrainProgram, state: TrainState, examples: LabelledTexts, loaded: Embedder
) -> Result:
  """Every language's test split, by the class of the largest logit."""
  tuned = dataclasses.replace(
    loaded, network=train_program.model, params=state.params, mesh=train_program.mesh
  )

  def predict(texts: Sequence) -> np.ndarray:
    found = tuned.collect(texts, inference_step.classify_step)
    if not np.isfinite(found).all():
      raise UserError("the fine-tuned model's logits are not finite: lower --learning_rate")
    return found.argmax(1)

  predicted = {code: predict(split.texts) for code, split in examples.test.items()}
  found = classification.measure(examples, predicted)
  if examples.dev.labels:
    right = predict(examples.dev.texts) == examples.numbers(examples.dev)
    found["dev_accuracy"] = float(right.mean())
  protocol = {
    **examples.protocol(),
    "head": f"dense, tanh, dropout, dense on the {train_program.model.pooling} vector",
    "optimizer": "AdamW, linear decay, no warm-up, gradient norm at most 1",
    "checkpoint": "after the last epoch",
  }
  return classification.result_of(examples, found, protocol)


def write_scores(
  path: epath.Path, result: Result, *, settings: Mapping[str, Any], loaded: Embedder
) -> None:
  """The JSON file of `evaluate`, and its protocol on the screen."""
  protocol = {"suite": SUITE, "version": VERSION, **settings, **result.protocol}
  protocol |= loaded.describe()
  logger.info("%s", scores.protocol_line(protocol))
  about_the_run = {key: settings[key] for key in settings if key not in ("model", "data", "step")}
  suite = scores.full_name(SUITE, about_the_run)
  named = {f"eval/{suite}/{name}": value for name, value in result.scores.items()}
  content = {"model": settings["model"], "step": loaded.step, "protocol": {suite: protocol}}
  write_json(path, content | named)
