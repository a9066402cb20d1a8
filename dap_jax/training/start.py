"""Where a run begins: 1. its newest checkpoint, 2. `init_from`, 3. random weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from etils import epath

from dap_jax.core.train_step import TrainState
from dap_jax.data import store
from dap_jax.training import build, initial_weights
from dap_jax.workdir.checkpointing import Checkpoints
from dap_jax.workdir.layout import has_checkpoints, read_config


class Start(NamedTuple):
  """Where a run begins. state, step; said: what happened, for the log."""

  state: TrainState
  step: int
  said: str


def begun_model(folder: epath.Path, init_from: str) -> dict[str, Any]:
  """What `init_from` decided when a run began that has checkpoints; empty for any other."""
  if not init_from or not has_checkpoints(folder):
    return {}
  config = read_config(folder)
  if config.get("init_from") != init_from:
    return {}
  return {name: config["model"][name] for name in initial_weights.DECIDED}


def begin(
  train_program: build.TrainProgram,
  checkpoints: Checkpoints,
  *,
  source: Callable[[], initial_weights.Source | None],
  corpus: store.Corpus,
  at_most: int | None,
) -> Start:
  """1. resume, from a step that is not after `at_most`; 2. init_from; 3. random."""
  clock = time.monotonic()
  restored = checkpoints.restore(train_program.abstract_state, at_most=at_most)
  if restored is not None:
    said = f"resumed at step {restored.step} in {time.monotonic() - clock:.1f} s"
    return Start(restored.state, restored.step, said)
  first = source()
  if first is None:
    return Start(train_program.init({}), 0, "random weights")
  params, said = initial_weights.first_params(
    first,
    train_program.abstract_state.params,
    english_ids=corpus.english_ids,
    rows=train_program.model.encoder.family.vocabulary_size,
  )
  said += f"; read in {time.monotonic() - clock:.1f} s; the optimizer starts anew"
  return Start(train_program.init(params), 0, said)
