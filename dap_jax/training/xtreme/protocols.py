"""How XTREME fine-tunes: its scripts' numbers (github.com/google-research/xtreme at 838c13b)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dap_jax.evals.xtreme.tasks import MLQA, PANX, PAWSX, TYDIQA, UDPOS, XNLI, XQUAD
from dap_jax.training.finetuning.settings import HEADS, FinetuneSettings

SQUAD = "squad"  # one fine-tuning on it predicts XQuAD and MLQA


class Protocol(NamedTuple):
  """A fine-tuning, in English.

  Attributes:
    predicts: the benchmark's tasks that it predicts.
    task: of `FinetuneSettings`.
    learning_rate: at its peak, from which it falls linearly to 0.
    epochs: over the training split.
    max_tokens: of a sequence.
    eval_steps: between scores on the English development split, whose best checkpoint is taken; 0:
      the last one is.
    seed: of head, order and dropout.
    warmup_steps, weight_decay: of the optimizer.
  """

  predicts: tuple[str, ...]
  task: str
  learning_rate: float
  epochs: int
  max_tokens: int
  eval_steps: int
  seed: int
  warmup_steps: int = 0
  weight_decay: float = 0.0


BATCH_SIZE, DROPOUT = 32, 0.1
_OF_PAIRS: dict[str, Any] = {
  "task": "classification",
  "learning_rate": 2e-5,
  "epochs": 5,
  "max_tokens": 128,
}
_OF_TAGS: dict[str, Any] = {"task": "tags", "learning_rate": 2e-5, "epochs": 10, "max_tokens": 128}
_OF_QUESTIONS: dict[str, Any] = {
  "task": "questions",
  "learning_rate": 3e-5,
  "epochs": 3,
  "max_tokens": 384,
}
_OF_QUESTIONS |= {"eval_steps": 0, "warmup_steps": 500, "weight_decay": 1e-4}
PROTOCOLS = {
  PAWSX: Protocol((PAWSX,), eval_steps=200, seed=42, **_OF_PAIRS),
  XNLI: Protocol((XNLI,), eval_steps=100, seed=42, **_OF_PAIRS),
  UDPOS: Protocol((UDPOS,), eval_steps=500, seed=1, **_OF_TAGS),
  PANX: Protocol((PANX,), eval_steps=1000, seed=1, **_OF_TAGS),
  SQUAD: Protocol((XQUAD, MLQA), seed=42, **_OF_QUESTIONS),
  TYDIQA: Protocol((TYDIQA,), seed=42, **_OF_QUESTIONS),
}
FINETUNED = tuple(task for protocol in PROTOCOLS.values() for task in protocol.predicts)


def runs_of(chosen: Sequence[str]) -> list[str]:
  """The keys of `PROTOCOLS` that predict some of these tasks."""
  return [name for name, each in PROTOCOLS.items() if set(each.predicts) & set(chosen)]


def settings_of(
  name: str, *, model: str, data: str, most_tokens: int, seed: int | None, **options: Any
) -> FinetuneSettings:
  """The settings of a fine-tuning.

  Args:
    name: a key of `PROTOCOLS`.
    model: what is fine-tuned.
    data: a folder with one for each task.
    most_tokens: sequences are no longer.
    seed: None = the benchmark's.
    **options: `step` and `compute_dtype` of the settings.
  """
  protocol = PROTOCOLS[name]._asdict()
  del protocol["predicts"]
  protocol["max_tokens"] = min(protocol["max_tokens"], most_tokens)
  if seed is not None:
    protocol["seed"] = seed
  return FinetuneSettings(
    model=model,
    data=data,
    train_language="en",
    batch_size=BATCH_SIZE,
    dropout=DROPOUT,
    head="transformers" if protocol["task"] == "classification" else HEADS[0],
    **protocol,
    **options,
  )


def differences(task: str, settings: FinetuneSettings, *, quotes: str) -> dict[str, Any]:
  """What differs from the benchmark's protocol, for the names of a task's scores.

  Args:
    task: of the benchmark.
    settings: of its fine-tuning.
    quotes: see `evals.xtreme.sentence_pairs`.
  """
  (protocol,) = (each for each in PROTOCOLS.values() if task in each.predicts)
  differing: dict[str, Any] = {
    key: value
    for key, value in (("max_tokens", settings.max_tokens), ("seed", settings.seed))
    if value != getattr(protocol, key)
  }
  if settings.compute_dtype:
    differing["compute_dtype"] = settings.compute_dtype
  if protocol.task == "questions":
    differing["windows"] = "characters"  # the benchmark's are split at white space
  if task in (XNLI, PAWSX) and quotes != "xtreme":
    differing["quotes"] = quotes
  return differing
