"""The settings of a fine-tuning, and the task that they name."""

from __future__ import annotations

import dataclasses
from typing import Any

from dap_jax.data.texts import labelled_texts, question_answers, tagged_sentences
from dap_jax.inference.embedder import Embedder
from dap_jax.training.finetuning.labelled import LabelledTask
from dap_jax.training.finetuning.questions import QuestionsTask
from dap_jax.training.finetuning.tags import TagsTask
from dap_jax.training.finetuning.task import Task

TASKS = ("classification", "tags", "questions")
HEADS = ("sentence_vector", "transformers")  # of classification


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
  task: str = TASKS[0]
  head: str = HEADS[0]
  eval_steps: int | None = None
  train_split: str = "train"
  dev_share: float = 0.0
  ignore_tags: str = ""
  warmup_steps: int = 0
  weight_decay: float = 0.0

  def of_name(self) -> dict[str, Any]:
    """The settings in the name of a score; what only some tasks have is left out by default."""
    defaults = {field.name: field.default for field in dataclasses.fields(self)}
    return {
      name: value
      for name, value in dataclasses.asdict(self).items()
      if name not in ("model", "data", "step") and value != defaults[name]
    }


def read_data(settings: FinetuneSettings) -> Any:
  """The task's files, read and checked. Raises UserError for a mistake in them."""
  if settings.task == "tags":
    return tagged_sentences.read_tagged_sentences(
      settings.data,
      train_language=settings.train_language,
      train_split=settings.train_split,
      dev_share=settings.dev_share,
      ignored=[name for name in settings.ignore_tags.split(",") if name],
    )
  if settings.task == "questions":
    return question_answers.read_question_answers(
      settings.data, train_language=settings.train_language
    )
  return labelled_texts.read_labelled_texts(settings.data, train_language=settings.train_language)


def make_task(settings: FinetuneSettings, data: Any, pretrained: Embedder) -> Task:
  """The task on a model; data: of `read_data`."""
  tokens = pretrained.tokenizer
  if settings.task == "tags":
    return TagsTask(sentences=data, tokens=tokens)
  if settings.task == "questions":
    return QuestionsTask(questions=data, tokens=tokens, has_types=has_types(pretrained))
  head = "sequence" if settings.head == "transformers" else "sentence_vector"
  return LabelledTask(
    examples=data,
    tokens=tokens,
    head=head,
    has_types=head == "sequence" and has_types(pretrained),
  )


def has_types(pretrained: Embedder) -> bool:
  """Whether the model has token types and its tokenizer gives the second text of a pair type 1."""
  if pretrained.model_config["encoder"].get("token_types", 0) < 2:
    return False
  _, types = pretrained.tokenizer.encode_typed([("a", "b")])
  return any(types[0])
