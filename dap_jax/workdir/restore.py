"""Chooses a checkpoint of a trained run (newest, best, a number) and reads its parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import jax
from etils import epath
from orbax.checkpoint import v1 as ocp

from dap_jax.distributed import multihost
from dap_jax.utils.errors import UserError
from dap_jax.utils.trees import overlay, select
from dap_jax.workdir import checksums
from dap_jax.workdir.checkpointing import FOLDER, ITEM, DamagedError, Restored
from dap_jax.workdir.save_errors import root_cause


def restore(workdir: epath.PathLike, abstract_params: Any, *, step: str) -> Restored:
  """The parameters alone, for evaluation and export; the optimizer's state is not read.

  Args:
    workdir: a folder that train wrote.
    abstract_params: ShapeDtypeStructs with shardings; a subset of the stored tree is enough.
    step: "newest", "best" or a number.

  Raises:
    UserError: there is no such checkpoint, or it is of another model.
  """
  with open_existing(workdir) as orbax:
    scores = scores_by_step(orbax)
    number = choose_step(scores, step, workdir=workdir)
    try:
      damage = checksums.damage(workdir, FOLDER, number) if multihost.is_first() else None
      if damage:
        raise DamagedError(damage)
      metadata = orbax.metadata(number).metadata
      skipped = jax.tree.map(lambda _: ..., metadata, is_leaf=lambda leaf: hasattr(leaf, "shape"))
      params = overlay(skipped["params"], abstract_params)
      state = orbax.load(number, {**skipped, "params": params}, checkpointable_name=ITEM)
    except Exception as error:
      raise UserError(
        f"checkpoint {number} of {workdir} cannot be read ({root_cause(error)});"
        f" there are also {sorted(set(scores) - {number})}, see --step"
      ) from error
  return Restored(select(state["params"], abstract_params), number)


def restore_parts(workdir: epath.PathLike, names: Collection[str], *, step: str) -> dict[str, Any]:
  """Those of the named parameter subtrees that are stored, on the first device."""
  here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  abstract = {
    name: jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
      tree,
      is_leaf=lambda leaf: hasattr(leaf, "shape"),
    )
    for name, tree in shapes(workdir, step=step).items()
    if name in names
  }
  return restore(workdir, abstract, step=step).state if abstract else {}


def shapes(workdir: epath.PathLike, *, step: str = "newest") -> dict[str, Any]:
  """The parameters of a checkpoint as shapes, nothing loaded; errors as of `restore`."""
  with open_existing(workdir) as orbax:
    number = choose_step(scores_by_step(orbax), step, workdir=workdir)
    return orbax.metadata(number).metadata["params"]


def newest_step(workdir: epath.PathLike) -> int:
  """The step of the newest checkpoint. Raises UserError where there are none."""
  return step_number(workdir, "newest")


def step_number(workdir: epath.PathLike, step: str) -> int:
  """See `choose_step`."""
  with open_existing(workdir) as orbax:
    return choose_step(scores_by_step(orbax), step, workdir=workdir)


def choose_step(scores: Mapping[int, float | None], step: str, *, workdir: epath.PathLike) -> int:
  """ "newest", "best" or a number -> the step of a checkpoint.

  Args:
    scores: step of each checkpoint -> its best metric, or None where it has none.
    step: which one.
    workdir: for the message.

  Raises:
    UserError: there is no such checkpoint.
  """
  scored = {number: score for number, score in scores.items() if score is not None}
  if step == "newest" and scores:
    return max(scores)
  if step == "best" and scored:
    return max(scored, key=lambda number: scored[number])
  if step.isascii() and step.isdigit() and int(step) in scores:
    return int(step)
  raise UserError(f"{workdir} has no checkpoint {step!r}: there are {sorted(scores) or 'none'}")


def open_existing(workdir: epath.PathLike) -> ocp.training.Checkpointer:
  """The checkpoints of a run, to read. Raises UserError where there are none."""
  folder = epath.Path(workdir).resolve() / FOLDER
  if not folder.exists():
    raise UserError(f"{workdir} has no checkpoints: train there first, or give another folder")
  try:
    orbax = ocp.training.Checkpointer(folder)
    scores_by_step(orbax)
  except Exception as error:  # one whose metrics are damaged hides all of them
    raise UserError(
      f"the checkpoints of {workdir} cannot be listed ({root_cause(error)}): one is damaged,"
      " and training there moves it aside"
    ) from error
  return orbax


def scores_by_step(orbax: ocp.training.Checkpointer) -> dict[int, float | None]:
  """Step of each checkpoint -> its best metric, the only one that is stored; None without it."""
  return {
    checkpoint.step: next(iter((checkpoint.metrics or {}).values()), None)
    for checkpoint in orbax.checkpoints
  }
