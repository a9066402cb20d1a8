"""The test of a fine-tuned model: every language's test split, and the file of its scores."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from dap_jax.core import inference_step
from dap_jax.core.train_step import TrainState
from dap_jax.data.texts.labelled_texts import LabelledTexts
from dap_jax.evals import Result, classification, scores
from dap_jax.inference.embedder import Embedder
from dap_jax.training import build
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import write_json

logger = logging.getLogger(__name__)

SUITE, VERSION = "finetune", 1


def evaluate(
  train_program: build.TrainProgram,
  state: TrainState,
  examples: LabelledTexts,
  pretrained: Embedder,
) -> Result:
  """Accuracy and macro F1 of every test split; the class is that of the largest logit."""
  tuned = dataclasses.replace(
    pretrained, network=train_program.model, params=state.params, mesh=train_program.mesh
  )

  def predict(texts: Sequence) -> np.ndarray:
    logits = tuned.collect(texts, inference_step.classify_step)
    if not np.isfinite(logits).all():
      raise UserError("the fine-tuned model's logits are not finite: lower --learning_rate")
    return logits.argmax(1)

  predicted = {code: predict(split.texts) for code, split in examples.test.items()}
  figures = classification.measure(examples, predicted)
  if examples.dev.labels:
    right = predict(examples.dev.texts) == examples.numbers(examples.dev)
    figures["dev_accuracy"] = float(right.mean())
  protocol = {
    **examples.protocol(),
    "head": f"dense, tanh, dropout, dense on the {train_program.model.pooling} vector",
    "optimizer": "AdamW, linear decay, no warm-up, gradient norm at most 1",
    "checkpoint": "after the last epoch",
  }
  return classification.result_of(examples, figures, protocol)


def write_scores(
  path: epath.Path, result: Result, *, settings: Mapping[str, Any], pretrained: Embedder
) -> None:
  """Writes a JSON file like that of the evaluate command, and logs its protocol.

  Args:
    path: the file.
    result: of `evaluate`.
    settings: of the fine-tuning.
    pretrained: the model that was fine-tuned.
  """
  protocol = {"suite": SUITE, "version": VERSION, **settings, **result.protocol}
  protocol |= pretrained.describe()
  logger.info("%s", scores.protocol_line(protocol))
  about_the_run = {key: settings[key] for key in settings if key not in ("model", "data", "step")}
  suite = scores.full_name(SUITE, about_the_run)
  named = {f"eval/{suite}/{name}": value for name, value in result.scores.items()}
  content = {"model": settings["model"], "step": pretrained.step, "protocol": {suite: protocol}}
  write_json(path, content | named)
