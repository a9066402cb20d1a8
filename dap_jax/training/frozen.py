"""Parameters that training reads and never changes: a teacher's, and those that the run began with.

WORKDIR/initial/    the latter, kept because a resumed run must not need its `init_from` any more
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from etils import epath

from dap_jax.core.train_step import Frozen, TrainState
from dap_jax.training.build import TrainProgram
from dap_jax.training.teacher.teachers import Teacher
from dap_jax.utils.errors import UserError
from dap_jax.workdir import checkpointing, restore

FOLDER = "initial"


def place(
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
    workdir: where those that it began with are kept.
    teacher: see `teachers`; None without one.

  Raises:
    UserError: the kept parameters are gone or damaged.
  """
  wanted, folder = train_program.abstract_frozen, epath.Path(workdir) / FOLDER
  initial = None
  if wanted.initial is not None and step == 0:
    initial = jax.tree.map(jnp.copy, state.params)  # the step donates the state
    with checkpointing.Checkpoints(folder, keep_last=1, best_metric="") as kept:
      kept.save(0, {"params": initial}, metrics={})
  elif wanted.initial is not None:
    if not folder.exists():
      raise UserError(
        f"{folder} is gone: it held the parameters that the run began with, which one of its"
        " objectives compares with; put it back, or begin anew in another --workdir"
      )
    initial = restore.restore(folder, wanted.initial, step="newest").state
  weights = None
  if wanted.teacher is not None:
    places = jax.tree.map(lambda leaf: leaf.sharding, wanted.teacher)
    weights = jax.device_put(teacher.network[1], places)
  return Frozen(teacher=weights, initial=initial)
