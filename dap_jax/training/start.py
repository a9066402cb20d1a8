"""Where a run begins: 1. its newest checkpoint, 2. `init_from`, 3. random weights.

WORKDIR/initial/    the parameters that the run began with, where an objective compares with them;
                    kept because a resumed run must not need its `init_from` any more
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from dap_jax.core.train_step import Frozen, TrainState
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.training import initial_weights
from dap_jax.training.build import TrainProgram
from dap_jax.training.teacher.teachers import Teacher
from dap_jax.utils.errors import UserError
from dap_jax.utils.prompts import Prompts, of_section
from dap_jax.workdir import restore
from dap_jax.workdir.checkpointing import Checkpoints
from dap_jax.workdir.layout import has_checkpoints, read_config

INITIAL = "initial"


class Start(NamedTuple):
  """Where a run begins. state, step; description: where they come from, for the log."""

  state: TrainState
  step: int
  description: str


def resume_or_begin(
  train_program: TrainProgram,
  checkpoints: Checkpoints,
  *,
  source: Callable[[], initial_weights.WeightSource | None],
  english_ids: np.ndarray,
  new_decoder: bool,
  part_of_source: Tokenizer | None,
  at_most: int | None,
) -> Start:
  """1. resume, from a step that is not after `at_most`; 2. init_from; 3. random.

  Args:
    train_program: of the run.
    checkpoints: of its workdir.
    source: opens `init_from`; not called by a run that resumes.
    english_ids: int32 [V_en] of the data, which a decoder's head has.
    new_decoder: see `initial_weights.first_params`.
    part_of_source: the tokenizer, where its ids are a part of those of `init_from`.
    at_most: see `Checkpoints.restore`.
  """
  clock = time.monotonic()
  restored = checkpoints.restore(train_program.abstract_state, at_most=at_most)
  if restored is not None:
    description = f"resumed at step {restored.step} in {time.monotonic() - clock:.1f} s"
    return Start(restored.state, restored.step, description)
  weights = source()
  if weights is None:
    return Start(train_program.init({}), 0, "random weights")
  params, description = initial_weights.first_params(
    weights,
    train_program.abstract_state.params,
    english_ids=english_ids,
    new_decoder=new_decoder,
    kept=initial_weights.kept_ids(weights, part_of_source) if part_of_source else None,
  )
  description += f"; read in {time.monotonic() - clock:.1f} s; the optimizer starts anew"
  return Start(train_program.init(params), 0, description)


def decided_before(workdir: epath.Path, init_from: str) -> tuple[dict[str, Any], Prompts]:
  """What `init_from` decided when a run began that has checkpoints: else empty.

  Of the config's `model` section, and the prompts.
  """
  if not init_from or not has_checkpoints(workdir):
    return {}, Prompts()
  config = read_config(workdir)
  if config.get("init_from") != init_from:
    return {}, Prompts()
  model = {name: config["model"][name] for name in initial_weights.DECIDED}
  return model, of_section(**config["prompts"])[0]


def place_frozen(
  train_program: TrainProgram,
  state: TrainState,
  *,
  step: int,
  workdir: epath.PathLike,
  teacher: Teacher | None,
) -> Frozen:
  """What `train_program.step` takes as its frozen parameters, on their devices.

  Args:
    train_program: says what is needed, and where it goes.
    state, step: that the run goes on from.
    workdir: where the parameters that the run began with are kept.
    teacher: None without one.

  Raises:
    UserError: the kept parameters are gone or damaged.
  """
  abstract = train_program.abstract_frozen
  initial = teacher_params = None
  if abstract.initial is not None:
    folder = epath.Path(workdir) / INITIAL
    initial = keep_initial(state, folder) if step == 0 else restore_initial(folder, abstract)
  if abstract.teacher is not None:
    assert teacher is not None and teacher.network is not None
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract.teacher)
    teacher_params = jax.device_put(teacher.network[1], shardings)
  return Frozen(teacher=teacher_params, initial=initial)


def keep_initial(state: TrainState, folder: epath.Path) -> Any:
  """A copy of the state's parameters, which is written to the folder too."""
  initial = jax.tree.map(jnp.copy, state.params)  # the step donates the state
  with Checkpoints(folder, keep_last=1, best_metric="") as checkpoints:
    checkpoints.save(0, {"params": initial}, metrics={})
  return initial


def restore_initial(folder: epath.Path, abstract: Frozen) -> Any:
  """What `keep_initial` wrote."""
  if not folder.exists():
    raise UserError(
      f"{folder} is gone: it held the parameters that the run began with, which one of its"
      " objectives compares with; put it back, or begin anew in another --workdir"
    )
  return restore.restore(folder, abstract.initial, step="newest").state
