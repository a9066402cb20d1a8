"""The cost of a step by formula, from its trace and its shardings, where no compiler is at hand.

Exact: the bytes of state and batch (shardings), the FLOPs (matrix multiplications of the trace).
Estimated: temporary memory and traffic, by the rules of `footprint.py`; collectives, as follows.

    gradients   an all-reduce of each, in the dtype in which it is computed, of a table that is read
                at the same rows whatever the batch of those rows; where `fsdp` shards a parameter,
                a reduce-scatter within it and an all-reduce of the shards
    fsdp        each sharded parameter is gathered twice, for the forward and the backward pass, in
                the dtype of its gradient: ZeRO-3 (arXiv 1910.02054, section 7); a lookup table
                once, its gradient does not need it
    model       a product that contracts an axis which `model` shards is an all-reduce of its result
                (arXiv 1909.08053, section 3)
    sentences   the vectors of all rows are gathered: negatives come from the whole batch

Activations that `model` shards are counted whole, so there the estimate is too high. So is the
traffic wherever caches hold what passes between two kernels: 1.4 to 2.1 times what the TPU compiler
says (benchmarks/plan_formula.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax

from dap_jax.distributed import sharding
from dap_jax.planning.cost import Collective, StepCost, bytes_of
from dap_jax.planning.formula.footprint import footprint, readers_of
from dap_jax.planning.formula.lookups import is_lookup_table, summed_rows
from dap_jax.planning.formula.trace import FlatTrace, Operation, flat_trace, share_rows
from dap_jax.training import build
from dap_jax.training.flops import matmul_flops

# By how much the temporary memory may be larger: by this share of it, and by a second copy of all
# parameters and gradients in the compute dtype, which a compiler may clear or lay out differently.
# The TPU compiler stayed within in every case of benchmarks/plan_formula.py; a GPU's is another.
UNCERTAINTY = 0.35


class Leaf(NamedTuple):
  """A leaf of the train state.

  Attributes:
    array, result: numbers of the array that comes in and of the one that goes out.
    local: bytes on one chip.
    share: of its elements, on one chip.
    model_share: the same if `fsdp` did not shard it.
    model_axis: which of its axes `model` shards, or None.
  """

  array: int
  result: int
  local: float
  share: float
  model_share: float
  model_axis: int | None


def estimate(
  train_program: build.TrainProgram, batch: Mapping[str, Any], traces: tuple[Any, Any]
) -> StepCost:
  """The costs of a step for one chip of a mesh.

  Args:
    train_program, batch: of `step.plan_step`, for the mesh; the devices may be any.
    traces: of `step.trace_on_one`.
  """
  mesh = train_program.mesh
  with jax.set_mesh(mesh):
    flops = matmul_flops(train_program.trace(batch).jaxpr)
  trace = share_rows(*map(flat_trace, traces), shards=sharding.row_shards(mesh))
  leaves = leaves_of(train_program, trace)
  params = leaves[1 : 1 + len(jax.tree.leaves(train_program.abstract_state.params))]  # 0: the step
  gradients = gradients_of(trace, params)
  copies = copies_of(trace, params)
  vectors = sentence_vectors(train_program, batch)
  on_chip = footprint(shard_parameters(trace, leaves, gradients=gradients, copies=copies))
  state = jax.tree.leaves((train_program.abstract_state, train_program.abstract_frozen))
  temporary = on_chip.temporary + vectors + gathered_bytes(trace, params, copies)
  memory = {
    "state": sum(map(bytes_of, state)),
    "batch": sum(map(bytes_of, batch.values())),
    "temporary": temporary,
  }
  second_copies = sum(
    2 * trace.sizes[gradients[leaf.array]] * leaf.model_share
    for leaf in params
    if leaf.array in gradients
  )
  uncertainty = UNCERTAINTY * temporary + second_copies
  return StepCost(
    memory={**memory, "peak": sum(memory.values()), "uncertainty": uncertainty},
    flops=flops / mesh.size,
    traffic=on_chip.traffic,
    collectives=[
      *parameter_collectives(train_program, trace, params, gradients=gradients),
      *(
        collective
        for size, times in partial_sums(trace, {leaf.array: leaf.model_axis for leaf in params})
        for collective in exchange(
          "all-reduce", size, train_program, ("model",), name="partial sums", times=times
        )
      ),
      *exchange("all-gather", vectors, train_program, ("data", "fsdp"), name="sentence vectors"),
    ],
  )


def leaves_of(train_program: build.TrainProgram, trace: FlatTrace) -> list[Leaf]:
  """The leaves of the train state, which come first among inputs and outputs."""
  leaves = []
  arrays = jax.tree.leaves(train_program.abstract_state)
  for leaf, array, result in zip(arrays, trace.inputs, trace.outputs, strict=False):
    assert result is not None, "no leaf of the new state is a constant"
    spec = [names if isinstance(names, tuple) else (names,) for names in leaf.sharding.spec]
    axis = next((place for place, names in enumerate(spec) if "model" in names), None)
    model_share = 1.0 if axis is None else 1 / train_program.mesh.shape["model"]
    local = bytes_of(leaf)
    share = local / max(1, leaf.size * leaf.dtype.itemsize)
    leaves.append(Leaf(array, result, local, share, model_share, axis))
  return leaves


def gradients_of(trace: FlatTrace, params: list[Leaf]) -> dict[int, int]:
  """Parameter -> its gradient, as it lies in memory before the optimizer reads it."""
  sources = footprint(trace).sources
  gradients = {}
  for leaf in params:
    for array in sources[leaf.result] - set(trace.inputs):
      if trace.counts[array] == trace.counts[leaf.array]:
        gradients[leaf.array] = array
  return gradients


def copies_of(trace: FlatTrace, params: list[Leaf]) -> dict[int, float]:
  """Arrays computed from parameters alone, say in the compute dtype -> what `model` leaves."""
  shares = {leaf.array: leaf.model_share for leaf in params}
  for operation in trace.operations:
    arrays = list(operation.arrays())
    if arrays and not operation.bodies and all(array in shares for array in arrays):
      size = sum(trace.sizes[array] for array in arrays)
      share = sum(trace.sizes[array] * shares[array] for array in arrays) / max(size, 1)
      shares.update(dict.fromkeys(operation.writes, share))
  return {array: share for array, share in shares.items() if array not in set(trace.inputs)}


def shard_parameters(
  trace: FlatTrace, leaves: list[Leaf], *, gradients: dict[int, int], copies: dict[int, float]
) -> FlatTrace:
  """The trace with one chip's sizes of the state, of its gradients and of its copies."""
  sizes = list(trace.sizes)
  for array, share in copies.items():
    sizes[array] *= share
  for leaf in leaves:
    if leaf.array in gradients:
      sizes[gradients[leaf.array]] *= leaf.model_share  # whole along `fsdp` until it is reduced
    sizes[leaf.array] = sizes[leaf.result] = leaf.local
  return trace._replace(sizes=sizes)


def gathered_bytes(trace: FlatTrace, params: list[Leaf], copies: dict[int, float]) -> float:
  """Bytes of parameters that `fsdp` shards, gathered for use, where no copy is whole already."""
  copied = {trace.counts[array] for array in copies}
  return sum(
    trace.sizes[leaf.array] * leaf.model_share
    for leaf in params
    if leaf.share < leaf.model_share and trace.counts[leaf.array] not in copied
  )


def sentence_vectors(train_program: build.TrainProgram, batch: Mapping[str, Any]) -> float:
  """Bytes of the vectors of all rows, float32; 0 where no chip has others' rows."""
  if sharding.row_shards(train_program.mesh) == 1:
    return 0.0
  model = train_program.model
  width = model.encoder.family.width if model.projection else model.vector_width
  rows, views, _ = batch["ids"].shape
  return 4.0 * rows * views * width


def parameter_collectives(
  train_program: build.TrainProgram,
  trace: FlatTrace,
  params: list[Leaf],
  *,
  gradients: dict[int, int],
) -> Iterator[Collective]:
  """Collectives of gradients, and of parameters that `fsdp` shards."""
  readers, rows = readers_of(trace), summed_rows(trace)
  whole = sharded = shards = forward = backward = 0.0
  for leaf in params:
    gradient = gradients.get(leaf.array, leaf.array)
    size = trace.sizes[gradient] * leaf.model_share
    is_whole = leaf.share == leaf.model_share
    if is_whole or gradient in rows:
      whole += rows.get(gradient, size)
    else:
      sharded += size
      shards += size * leaf.share / leaf.model_share
    if is_whole:
      continue
    forward += size
    if not is_lookup_table(leaf.array, readers):
      backward += size
  yield from exchange("all-reduce", whole, train_program, ("data", "fsdp"), name="gradients")
  yield from exchange("reduce-scatter", sharded, train_program, ("fsdp",), name="gradients")
  yield from exchange("all-reduce", shards, train_program, ("data",), name="gradients")
  yield from exchange("all-gather", forward, train_program, ("fsdp",), name="parameters, forward")
  yield from exchange("all-gather", backward, train_program, ("fsdp",), name="parameters, backward")


def exchange(
  kind: str,
  size: float,
  train_program: build.TrainProgram,
  axes: tuple[str, ...],
  *,
  name: str,
  times: int = 1,
) -> Iterator[Collective]:
  """The collective along some neighbouring axes of the mesh, if there is anything to do."""
  shape = train_program.mesh.shape
  group = stride = 1
  for axis in reversed(shape):  # the last axis has the nearest neighbours
    if axis in axes:
      group *= shape[axis]
    elif group == 1:
      stride *= shape[axis]
  if group > 1 and size:
    yield Collective(kind, size, group, times, name, stride)


def partial_sums(
  trace: FlatTrace, model_axes: Mapping[int, int | None]
) -> Iterator[tuple[float, int]]:
  """Results that are summed over the chips which share a parameter: bytes, and how often.

  Args:
    trace: of the step, or of a loop's body.
    model_axes: array -> which of its axes `model` shards, or None.
  """
  axes = {array: axis for array, axis in model_axes.items() if axis is not None}
  for operation in trace.operations:
    name, parameters = operation.name, operation.parameters
    read_axes = [None if array is None else axes.get(array) for array in operation.reads]
    if name == "dot_general":
      (contracted, _) = parameters["dimension_numbers"]
      if any(axis in along for axis, along in zip(read_axes, contracted, strict=True)):
        yield trace.sizes[operation.writes[0]], 1
    elif name == "gather" and read_axes[0] == 0:
      yield trace.sizes[operation.writes[0]], 1
    elif name == "scan":
      for size, times in partial_sums(operation.bodies[0], axes_inside(operation, read_axes)):
        yield size, times * operation.turns
    elif read_axes and read_axes[0] is not None and len(set(read_axes)) == 1:
      moved = moved_axis(operation, read_axes[0])
      for array in operation.writes:
        axes.pop(array, None)
        if moved is not None:
          axes[array] = moved


def axes_inside(operation: Operation, axes: list[int | None]) -> dict[int, int | None]:
  """The axes in a loop's body, where an array that is sliced has lost its first one."""
  assert operation.scan is not None, "only a scan has arrays that are sliced"
  whole = sum(operation.scan)
  inside = {}
  for place, (array, axis) in enumerate(zip(operation.bodies[0].inputs, axes, strict=True)):
    inside[array] = axis - 1 if axis is not None and place >= whole else axis
  return inside


def moved_axis(operation: Operation, axis: int) -> int | None:
  """Where an axis of the operands is in the result; None where that is not known."""
  if operation.name in ("convert_element_type", "sharding_constraint", "copy"):
    return axis
  if operation.name == "transpose":
    return operation.parameters["permutation"].index(axis)
  if operation.name == "stack":
    return axis + (operation.parameters["axis"] <= axis)
  return None
