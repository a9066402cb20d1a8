"""The leaves of a train state, in a trace and on a mesh."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jax.sharding import NamedSharding

from dap_jax.distributed import parameters
from dap_jax.planning.cost import bytes_of
from dap_jax.planning.formula.trace import FlatTrace
from dap_jax.training import build


class Leaf(NamedTuple):
  """A leaf of the train state.

  Attributes:
    array, result: numbers of the array that comes in and of the one that goes out.
    local: bytes on one chip.
    share: of its elements, on one chip.
    model_share: the same if `fsdp` did not shard it.
    model_axis: which of its axes `model` shards, or None.
    axes: of the mesh, that share it.
    update_axes: of the mesh, that share its moments.
  """

  array: int
  result: int
  local: float
  share: float
  model_share: float
  model_axis: int | None
  axes: frozenset[str]
  update_axes: frozenset[str]


def leaves_of(train_program: build.TrainProgram, trace: FlatTrace) -> list[Leaf]:
  """The leaves of the train state, which come first among inputs and outputs."""
  leaves = []
  abstract = train_program.abstract_state
  arrays = jax.tree.leaves(abstract)
  updates = jax.tree.leaves(abstract._replace(params=parameters.moment_shardings(abstract.params)))
  for leaf, update, array, result in zip(
    arrays, updates, trace.inputs, trace.outputs, strict=False
  ):
    assert result is not None, "no leaf of the new state is a constant"
    spec = [names if isinstance(names, tuple) else (names,) for names in leaf.sharding.spec]
    axis = next((place for place, names in enumerate(spec) if "model" in names), None)
    model_share = 1.0 if axis is None else 1 / train_program.mesh.shape["model"]
    local = bytes_of(leaf)
    share = local / max(1, leaf.size * leaf.dtype.itemsize)
    axes, update_axes = axes_of(leaf.sharding), axes_of(getattr(update, "sharding", update))
    leaves.append(Leaf(array, result, local, share, model_share, axis, axes, update_axes))
  return leaves


def axes_of(sharding: NamedSharding) -> frozenset[str]:
  """The axes of the mesh that share an array, but those of length 1."""
  shape = sharding.mesh.shape
  return frozenset(axis for axis in jax.tree.leaves(tuple(sharding.spec)) if shape[axis] > 1)
