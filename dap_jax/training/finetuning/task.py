"""What a task of fine-tuning gives to the loop: a head, examples to learn from, and its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from dap_jax.evals import Result
from dap_jax.training.finetuning.batches import Sequences

# Sequences -> the logits of each, float32 [C]; of a head that reads tokens [L, C].
Predict = Callable[[Sequences], list[np.ndarray]]


class Task(Protocol):
  """A task on one model, whose tokenizer made its sequences.

  Attributes:
    head: its kind, see `model.task_heads`.
    has_types: whether the second text of a pair has token type 1.
    classes: their names, in the order of the logits.
    metric: the development score that chooses the checkpoint, as in metrics.jsonl; "" where there
      is no development split.
    pool: see `Batches`.
  """

  @property
  def head(self) -> str: ...

  @property
  def has_types(self) -> bool: ...

  @property
  def pool(self) -> int: ...

  @property
  def classes(self) -> Sequence[str]: ...

  @property
  def metric(self) -> str: ...

  def digest(self) -> str:
    """SHA-256 of all texts and labels, hexadecimal."""

  def train(self) -> Sequences:
    """The examples of the train split. Raises UserError where there is nothing to learn."""

  def dev_scores(self, predict: Predict) -> dict[str, float]:
    """`eval/dev/METRIC` -> score on the development split."""

  def evaluate(self, predict: Predict) -> tuple[Result, Mapping[str, str]]:
    """The scores of every test split; and language -> its predictions, as text."""


def protocol_of(task: Task, about: Mapping[str, Any], *, pooling: str) -> dict[str, Any]:
  """What every task's protocol says; `about`: of its own."""
  of_head = {
    "sentence_vector": f"dense, tanh, dropout, dense on the {pooling} vector",
    "sequence": "transformers' ForSequenceClassification",
    "tokens": "transformers' ForTokenClassification",
    "answer": "transformers' ForQuestionAnswering",
  }
  return {
    **about,
    "head": of_head[task.head],
    "token_types": "1 in the second text" if task.has_types else "",
    "batches": "of like lengths" if task.pool > 1 else "",
    "optimizer": "AdamW, linear decay, gradient norm at most 1",
  }
