"""Fine-tuning of a whole model with a head, by the loop and the step of training.

`settings.py` makes the task, `task.py` says what a task is. Batch n is a function of the seed and n
alone, so a run that was killed goes on as if it had not been. Where the model is evaluated on the
development split on the way, the checkpoint with the best score is the model, else the last.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from etils import epath

from dap_jax.distributed import parameters, sharding
from dap_jax.evals import Result
from dap_jax.inference import embedder, finetuned
from dap_jax.inference.embedder import Embedder
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.training import build
from dap_jax.training.finetuning.batches import Batches
from dap_jax.training.finetuning.evaluation import Predictor, write_scores
from dap_jax.training.finetuning.settings import FinetuneSettings, make_task, read_data
from dap_jax.training.finetuning.steps import FinetuneRun, chosen, train
from dap_jax.training.finetuning.task import Task, protocol_of
from dap_jax.utils.claim import claim_folder, refuse_difference
from dap_jax.utils.errors import UserError, writing
from dap_jax.utils.locks import exclusive
from dap_jax.utils.trees import select
from dap_jax.workdir.layout import is_workdir

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
PREDICTIONS = "predictions"
MAX_TOKENS = {"questions": 384}  # XTREME's
DEFAULT_MAX_TOKENS = 128  # DAP's for XNLI, XTREME's for the others


def finetune(
  settings: FinetuneSettings, *, workdir: str, save_steps: int, data: Any = None
) -> Result | None:
  """Fine-tunes, tests, and writes scores.json and predictions/ into the workdir.

  Args:
    settings: see there.
    workdir: where the run lives.
    save_steps: a checkpoint every so many steps, where it is not evaluated on the way.
    data: as of `read_data`, where it is not what is read from the settings' folder.

  Returns:
    The scores of each language; None if the job was told to stop before its end.

  Raises:
    UserError: a mistake in a flag, the data or the workdir; the training diverged.
  """
  folder = epath.Path(workdir)
  if settings.max_tokens is None:
    longest = MAX_TOKENS.get(settings.task, DEFAULT_MAX_TOKENS)
    limit = min(longest, embedder.most_tokens(settings.model))
    settings = dataclasses.replace(settings, max_tokens=limit)
  data = read_data(settings) if data is None else data
  pretrained = embedder.load(
    settings.model,
    step=settings.step,
    max_tokens=settings.max_tokens,
    compute_dtype=settings.compute_dtype,
  )
  task = make_task(settings, data, pretrained)
  run = make_run(settings, task, pretrained, folder=folder)
  sharding.check_batch(run.train_program.mesh, settings.batch_size)
  flags = dataclasses.asdict(settings)
  identity = {**flags, "texts": task.digest(), "parameters": pretrained.digest()}
  check_folder(folder, data=settings.data)
  with exclusive(folder):
    claim(folder, identity)
    write_model(run, pretrained, settings.model)
    first = {**pretrained.params, **head_start(run, settings.model)}
    state = train(run, first=first, save_steps=save_steps)
    if state is None:
      return None
    params, step = chosen(run, state)
    result, predictions = task.evaluate(run.predictor.of(params))
    about = protocol_of(task, result.protocol, pooling=run.train_program.model.pooling)
    about["checkpoint"] = f"step {step}, of the best {run.best_metric}, every {run.eval_steps}"
    if not run.best_metric:
      about["checkpoint"] = "after the last epoch"
    result = result._replace(protocol=about)
    write_scores(folder / finetuned.SCORES, result, settings=settings, pretrained=pretrained)
    write_predictions(folder / PREDICTIONS, predictions)
    return result


def make_run(
  settings: FinetuneSettings, task: Task, pretrained: Embedder, *, folder: epath.Path
) -> FinetuneRun:
  """Batches, network and step of a task; all devices share a batch."""
  assert settings.max_tokens is not None
  batches = Batches(
    sequences=task.train(),
    batch_size=settings.batch_size,
    max_tokens=settings.max_tokens,
    pad_id=pretrained.tokenizer.pad_id,
    seed=settings.seed,
    pool=task.pool,
  )
  steps = settings.epochs * batches.steps_of_epoch
  train_program = make_train_program(
    pretrained,
    steps=steps,
    task_head=(task.head, len(task.classes)),
    seed=settings.seed,
    dropout=settings.dropout,
    learning_rate=settings.learning_rate,
    warmup_steps=settings.warmup_steps,
    weight_decay=settings.weight_decay,
  )
  eval_steps = settings.eval_steps
  if eval_steps is None:
    eval_steps = batches.steps_of_epoch if settings.task == "tags" and task.metric else 0
  if eval_steps and not task.metric:
    raise UserError(
      f"--eval_steps={eval_steps}: {settings.train_language} has no development split to choose a"
      " checkpoint on; add one, or leave the flag out"
    )
  return FinetuneRun(
    task=task,
    batches=batches,
    train_program=train_program,
    predictor=Predictor(
      network=train_program.model,
      mesh=train_program.mesh,
      pad_id=batches.pad_id,
      max_tokens=batches.max_tokens,
    ),
    steps=steps,
    eval_steps=eval_steps,
    folder=folder,
  )


def make_train_program(
  pretrained: Embedder,
  *,
  steps: int,
  task_head: tuple[str, int],
  seed: int,
  dropout: float,
  **optimizer: float,
) -> build.TrainProgram:
  """The pretrained network with a head, its optimizer and its step; all devices share the batch.

  Args:
    pretrained: the network.
    steps: of the whole run.
    task_head: its kind, and of how many classes.
    seed: of the head, the order and the dropout.
    dropout: of encoder and head.
    **optimizer: `learning_rate`, `warmup_steps`, `weight_decay`.
  """
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
    objectives={"classification": {"weight": 1.0, "answers": task_head[0] == "answer"}},
    optimizer={**OPTIMIZER, **optimizer},
    mesh={"data": -1, "fsdp": 1, "model": 1},
    task_head=task_head,
  )


def head_start(run: FinetuneRun, model_path: str) -> dict[str, Any]:
  """`classifier` -> what the checkpoint has of the head already, on the devices; maybe nothing."""
  leaves = finetuned.head_start(model_path, run.task.head)
  if not leaves:
    return {}
  abstract = select(run.train_program.abstract_state.params["classifier"], leaves)
  return {"classifier": parameters.place(leaves, abstract)}


def write_model(run: FinetuneRun, pretrained: Embedder, model_path: str) -> None:
  """Writes what the workdir says of its model, for `export`."""
  task, network = run.task, run.train_program.model
  encoder = {
    **pretrained.model_config["encoder"],
    "vocabulary_size": network.encoder.family.vocabulary_size,
  }
  about = finetuned.Finetuned(
    model_config={
      **pretrained.model_config,
      "encoder": encoder,
      "dropout": network.encoder.family.dropout,
      "pooling": network.pooling,
    },
    head=task.head,
    classes=list(task.classes),
    has_types=task.has_types,
    max_tokens=pretrained.max_tokens,
    best_metric=run.best_metric,
  )
  finetuned.write(run.folder, about, finetuned.tokenizer_of(model_path))


def write_predictions(folder: epath.Path, predictions: Mapping[str, str]) -> None:
  """Writes FOLDER/LANGUAGE.txt."""
  with writing(folder):
    folder.mkdir(exist_ok=True)
    for code, text in predictions.items():
      (folder / f"{code}.txt").write_text(text, encoding="utf-8")


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
    claim_folder(folder, settings, file=finetuned.SETTINGS, check=check)
