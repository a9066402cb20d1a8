"""Takes one step of a run again, to see what went wrong in it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dap_jax.core.train_step import Frozen, TrainState
from dap_jax.distributed import parameters, sharding
from dap_jax.training import build
from dap_jax.utils.errors import UserError

logger = logging.getLogger(__name__)


def replay(
  train_program: build.TrainProgram,
  state: TrainState,
  *,
  first_step: int,
  step: int,
  batch_at: Callable[[int], dict[str, np.ndarray]],
  frozen: Frozen,
) -> None:
  """Takes the steps from a checkpoint to `step` and logs the details of that one; writes nothing.

  Args:
    train_program: of the run.
    state: at `first_step`; donated.
    first_step: of the newest checkpoint that is not after `step`.
    step: the batch's number: the update that leads to step + 1.
    batch_at: number -> the whole global batch.
    frozen: see `Frozen`.

  Raises:
    UserError: there is no such checkpoint.
  """
  if first_step > step:
    raise UserError(
      f"--replay_step={step}: the oldest checkpoint is of step {first_step}; copy config.json,"
      " data/ and tokenizer/ to another workdir and train there up to it"
    )
  logger.info("replaying steps %d to %d", first_step, step)
  for number in range(first_step, step):
    state, _ = train_program.step(
      state, sharding.put_whole_batch(batch_at(number), train_program.mesh), frozen
    )
  batch = batch_at(step)
  means, grads = train_program.gradients(
    state, sharding.put_whole_batch(batch, train_program.mesh), frozen
  )
  for name, value in sorted(means.items()):
    logger.info("  %-40s %.6g", name, float(value.compute()))
  for name, text in describe(state.params, grads).items():
    logger.info("  %-40s %s", name, text)
  lengths = batch["mask"].sum(-1)
  logger.info("  %-40s %d to %d", "tokens of a text", lengths.min(), lengths.max())


def describe(params: Any, grads: Any) -> dict[str, str]:
  """Path of each parameter -> the norm of its gradient, and how much of either is not finite."""
  texts = {}
  pairs = zip(jax.tree.leaves_with_path(params), jax.tree.leaves(grads), strict=True)
  for (path, value), grad in pairs:
    not_finite = [int((~jnp.isfinite(array)).sum()) for array in (value, grad)]
    text = f"gradient {float(jnp.linalg.norm(grad)):.3g}"
    if any(not_finite):
      text += f"  NOT FINITE: {not_finite[0]} of the values, {not_finite[1]} of the gradient"
    texts[parameters.path_name(path)] = text
  return texts
