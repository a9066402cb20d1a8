"""What the chips of a mesh send each other in a step, by formula: see `estimate.py`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from dap_jax.planning.cost import Collective
from dap_jax.planning.formula.footprint import readers_of
from dap_jax.planning.formula.leaves import Leaf
from dap_jax.planning.formula.lookups import row_updates
from dap_jax.planning.formula.trace import FlatTrace, Operation
from dap_jax.training import build


def parameter_collectives(
  train_program: build.TrainProgram,
  trace: FlatTrace,
  params: list[Leaf],
  *,
  gradients: dict[int, int],
) -> Iterator[Collective]:
  """Collectives of gradients, and of parameters that `fsdp` shards."""
  readers, updates = readers_of(trace), row_updates(trace)
  sizes: defaultdict[tuple[str, tuple[str, ...], str], float] = defaultdict(float)
  rows = ("data", "fsdp")
  for leaf in params:
    gradient = gradients.get(leaf.array, leaf.array)
    size = trace.sizes[gradient] * leaf.model_share
    update, is_cut = updates.get(gradient), "fsdp" in leaf.axes
    if update is not None and update.fixed:
      sizes["all-reduce", rows, "gradients"] += update.size
    elif update is not None and leaf.share < leaf.model_share:
      sizes["all-to-all", rows, "gradients of words"] += update.size
      sizes["all-gather", rows, "words"] += used_bytes(trace, leaf, readers)
    elif is_cut:
      part = size * leaf.share / leaf.model_share
      sizes["reduce-scatter", ("fsdp",), "gradients"] += size
      sizes["all-gather", ("fsdp",), "parameters, forward"] += size
      sizes["all-gather", ("fsdp",), "parameters, backward"] += size
      sizes["reduce-scatter", ("data",), "gradients"] += part
      sizes["all-gather", ("data",), "new parameters"] += leaf.local
    elif "data" in leaf.update_axes and train_program.mesh.shape["fsdp"] == 1:
      sizes["reduce-scatter", ("data",), "gradients"] += size
      sizes["all-gather", ("data",), "new parameters"] += leaf.local
    else:
      sizes["all-reduce", rows, "gradients"] += size
  for (kind, axes, name), total in sizes.items():
    yield from exchange(kind, total, train_program, axes, name=name)


def used_bytes(trace: FlatTrace, leaf: Leaf, readers: dict[int, list[Operation]]) -> float:
  """Bytes of a parameter as it is gathered: in the compute dtype."""
  casts = [
    trace.sizes[operation.writes[0]]
    for operation in readers.get(leaf.array, [])
    if operation.name == "convert_element_type"
  ]
  return min(casts, default=trace.sizes[leaf.array]) * leaf.model_share


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
