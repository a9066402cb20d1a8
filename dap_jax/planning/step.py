"""The trainer's own step, for devices that need not exist and data that need not be prepared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from dap_jax.data import elements, examples
from dap_jax.distributed import sharding
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.training import build, run_data
from dap_jax.training.teacher import teachers
from dap_jax.utils.binding import bind
from dap_jax.utils.prompts import Sides


def guess_vocabulary(config: Mapping[str, Any], *, english_ids: int) -> Vocabulary:
  """A vocabulary of the expected sizes, for a tokenizer that has not been trained.

  Args:
    config: the whole config; `tokenizer.vocabulary_size` is the tokenizer's size.
    english_ids: how many ids the English side of the data is expected to have.
  """
  size = config["tokenizer"]["vocabulary_size"]
  rows = max(size, config["model"]["encoder"]["vocabulary_size"])
  special = 5  # padding, [UNK], [CLS], [SEP], [MASK], whatever their order
  english = np.arange(special, min(special + english_ids, size), dtype=np.int32)
  return Vocabulary(rows, pad_id=0, cls_id=2, sep_id=3, mask_id=4, english_ids=english, ids=size)


def plan_step(
  config: Mapping[str, Any],
  *,
  vocabulary: Vocabulary,
  languages: int,
  devices: Sequence[jax.Device] | None,
  max_tokens: int | None = None,
) -> tuple[build.TrainProgram, dict[str, jax.ShapeDtypeStruct]]:
  """The train program that `train` builds from a config, and the shapes of its batch.

  Args:
    config: the whole config.
    vocabulary: of the tokenizer.
    languages: of the data, the pivot among them.
    devices: of the mesh; None = all devices.
    max_tokens: L of the batch, one of the buckets; None = the longest.

  Returns:
    The train program, and the batch as ShapeDtypeStructs with shardings.

  Raises:
    UserError: the config has a mistake, as in `train`.
  """
  needed, data = build.needs(config["objectives"]), dict(config["data"])
  teacher = None
  if "teacher" in needed:
    teacher = bind(teachers.load, config["teacher"], where="teacher", pivot=data["pivot"])()
  extras = run_data.make_extras(needed, data=data, teacher=teacher, prompts=Sides())
  train_program = build.build(
    vocabulary=vocabulary,
    languages=languages,
    teacher=None if teacher is None else teacher.network,
    devices=devices,
    **{key: config[key] for key in build.KEYS},
  )
  batch_size = config["batch_size"]
  build.check_rows(train_program.mesh, config["program"], batch_size=batch_size)
  layout = elements.Layout(
    max_tokens or config["max_tokens"],
    vocabulary.pad_id,
    tuple(feature for extra in extras for feature in extra.features),
    data["hard_negatives"],
  )
  example = examples.blank(layout, views=data["views"])
  return train_program, sharding.abstract_batch(example, train_program.mesh, batch_size=batch_size)


def trace_on_one(
  config: Mapping[str, Any],
  *,
  vocabulary: Vocabulary,
  languages: int,
  devices: Sequence[jax.Device],
) -> tuple[ClosedJaxpr, ClosedJaxpr]:
  """Traces the step on one device, with twice and with four times the rows of the config's batch.

  Args:
    config, vocabulary, languages: of `plan_step`.
    devices: of the plan; the first of them is the one.
  """
  alone = {**config, "mesh": dict.fromkeys(config["mesh"], 1)}
  traces = []
  for times in (2, 4):
    larger = {**alone, "batch_size": times * config["batch_size"]}
    train_program, batch = plan_step(
      larger, vocabulary=vocabulary, languages=languages, devices=devices[:1]
    )
    with jax.set_mesh(train_program.mesh):
      traces.append(train_program.trace(batch).jaxpr)
  return traces[0], traces[1]
