"""Predictions of a model on Tatoeba and BUCC, in the benchmark's submission format, with labels."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from etils import epath

from dap_jax.evals.xtreme import submission, tasks
from dap_jax.evals.xtreme.retrieval import bucc, tatoeba
from dap_jax.utils.errors import UserError

MODULES = {tasks.BUCC: bucc, tasks.TATOEBA: tatoeba}

logger = logging.getLogger(__name__)


class LayerModel(Protocol):
  """What the tasks ask of a model; `inference.embedder.Embedder` is one."""

  def vectors_of_layer(self, texts: Sequence[str], *, layer: int, pooling: str) -> np.ndarray:
    """One layer's states pooled, float32 [N, D]."""


def tasks_among(chosen: Sequence[str]) -> list[str]:
  """The tasks that a model predicts as it is."""
  return [name for name in chosen if name in MODULES]


def check_data(data: str, chosen: Sequence[str]) -> None:
  """Raises UserError, one line for all of them, where files of the tasks are missing."""
  missing, example = [], ""
  for task in chosen:
    absent = []
    for code in tasks.TASKS[task].languages:
      lacking = [p for p in MODULES[task].files_of(epath.Path(data) / task, code) if not p.exists()]
      absent += [code] * bool(lacking)
      example = example or next(map(str, lacking), "")
    if absent:
      missing.append(f"{task} ({', '.join(absent)})")
  if missing:
    raise UserError(
      f"--data={data} lacks languages of {' and '.join(missing)}: expected {example}; no mean is"
      " given that lacks one"
    )


def predict(
  model: LayerModel, data: str, *, layers: Mapping[str, int], workdir: str
) -> tuple[str, str]:
  """Predicts every language of the tasks, and writes predictions and labels as each is done.

  Args:
    model: the model.
    data: a folder with one for each task.
    layers: task -> the layer that it reads.
    workdir: where `predictions` and `labels` go, TASK/test-LANGUAGE.tsv in each.

  Returns:
    The two folders.

  Raises:
    UserError: a file is damaged or cannot be written.
  """
  folders = submission.PREDICTIONS, submission.LABELS
  places = [epath.Path(workdir) / name for name in folders]
  for task, layer in layers.items():
    module = MODULES[task]
    encode = functools.partial(model.vectors_of_layer, layer=layer, pooling=module.POOLING)
    for code in tasks.TASKS[task].languages:
      sentences = module.read(epath.Path(data) / task, code)
      predicted = module.predict(sentences, encode)
      for place, lines in zip(places, (predicted, module.labels_of(sentences)), strict=True):
        text = "".join(f"{line}\n" for line in lines)
        submission.write_text(tasks.file_of(place, task, code), text)
      logger.info("%s %s: %d predictions", task, code, len(predicted))
  return str(places[0]), str(places[1])
