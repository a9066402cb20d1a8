"""What a step costs where no compiler is at hand: an estimate from its trace and its shardings.

Exact: the bytes of state and batch (shardings), the FLOPs (matrix multiplications of the trace).
Estimated: temporary memory and traffic, by the rules of `footprint.py`; collectives, as follows.

    gradients   an all-reduce of each, in the dtype in which it is made; where `fsdp` shares a
                parameter, a reduce-scatter within it and an all-reduce of the shares
    fsdp        each shared parameter is gathered twice, for the forward and the backward pass, in
                the dtype of its gradient: ZeRO-3 (arXiv 1910.02054, section 7); a table once, its
                gradient does not need it
    model       a product that contracts an axis which `model` shares is an all-reduce of its result
                (arXiv 1909.08053, section 3)
    sentences   the vectors of all rows are gathered: negatives come from the whole batch

Activations are counted whole where `model` shares them: there the estimate is too high. So is the
traffic wherever caches hold what lies between two kernels: 1.4 to 2.1 times what the TPU compiler
says (benchmarks/plan_formula.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax

from dap_jax.distributed import sharding
from dap_jax.planning import work
from dap_jax.planning.footprint import footprint, readers_of
from dap_jax.planning.hlo import Collective
from dap_jax.planning.measure import Measured, bytes_of
from dap_jax.planning.program import Operation, Program, flatten, share_rows
from dap_jax.training import build

# By how much the temporary memory may be larger: by this share of it, and by a second copy of all
# parameters and gradients in the compute dtype, which a compiler lays out otherwise or clears. The
# TPU compiler stayed within in every case of benchmarks/plan_formula.py; a GPU's is another one.
UNCERTAINTY = 0.35


class Leaf(NamedTuple):
  """A leaf of the state.

  Attributes:
    array, result: numbers of the array that comes in and of the one that goes out.
    local: bytes on one chip.
    share: of its elements, on one chip.
    model_share: the same, did `fsdp` not share it.
    model_axis: which of its axes `model` shares, or None.
  """

  array: int
  result: int
  local: float
  share: float
  model_share: float
  model_axis: int | None


def estimate(
  train_program: build.TrainProgram, batch: Mapping[str, Any], traces: tuple[Any, Any]
) -> Measured:
  """The costs of a step for one chip of a mesh.

  Args:
    train_program, batch: of `step.plan_step`, for the mesh; the devices may be any.
    traces: of `step.trace_on_one`.
  """
  with jax.set_mesh(train_program.mesh):
    flops = work.matmul_flops(train_program.trace(batch).jaxpr)
  program = share_rows(*map(flatten, traces), shards=sharding.row_shards(train_program.mesh))
  leaves = leaves_of(train_program, program)
  params = leaves[
    1 : 1 + len(jax.tree.leaves(train_program.abstract_state.params))
  ]  # 0 is the step
  gradients = gradients_of(program, params)
  copies = copies_of(program, params)
  vectors = sentence_vectors(train_program, batch)
  own = footprint(share_parameters(program, leaves, gradients=gradients, copies=copies))
  of_batch = sum(map(bytes_of, batch.values()))
  state = sum(
    map(bytes_of, jax.tree.leaves((train_program.abstract_state, train_program.abstract_frozen)))
  )
  temporary = own.temporary + vectors + gathered_bytes(program, params, copies)
  memory = {"state": state, "batch": of_batch, "temporary": temporary}
  again = sum(
    2 * program.sizes[gradients[leaf.array]] * leaf.model_share
    for leaf in params
    if leaf.array in gradients
  )
  return Measured(
    memory={**memory, "peak": sum(memory.values()), "uncertainty": UNCERTAINTY * temporary + again},
    flops=flops / train_program.mesh.size,
    traffic=own.traffic,
    collectives=[
      *of_parameters(train_program, program, params, gradients=gradients),
      *(
        collective
        for size, times in partial_sums(program, {own.array: own.model_axis for own in params})
        for collective in exchange(
          "all-reduce", size, train_program, ("model",), name="partial sums", times=times
        )
      ),
      *exchange("all-gather", vectors, train_program, ("data", "fsdp"), name="sentence vectors"),
    ],
  )


def leaves_of(train_program: build.TrainProgram, program: Program) -> list[Leaf]:
  """What is known of each leaf of the state; it comes first among inputs and outputs."""
  found = []
  leaves = jax.tree.leaves(train_program.abstract_state)
  for leaf, array, result in zip(leaves, program.inputs, program.outputs, strict=False):
    spec = [names if isinstance(names, tuple) else (names,) for names in leaf.sharding.spec]
    axis = next((place for place, names in enumerate(spec) if "model" in names), None)
    shared = 1.0 if axis is None else 1 / train_program.mesh.shape["model"]
    local = bytes_of(leaf)
    share = local / max(1, leaf.size * leaf.dtype.itemsize)
    found.append(Leaf(array, result, local, share, shared, axis))
  return found


def gradients_of(program: Program, params: list[Leaf]) -> dict[int, int]:
  """Parameter -> its gradient, as it lies in memory before the optimizer reads it."""
  sources, found = footprint(program).sources, {}
  for own in params:
    for array in sources[own.result] - set(program.inputs):
      if program.counts[array] == program.counts[own.array]:
        found[own.array] = array
  return found


def copies_of(program: Program, params: list[Leaf]) -> dict[int, float]:
  """Arrays made of parameters alone, in the compute dtype say -> the share that `model` leaves."""
  shares = {own.array: own.model_share for own in params}
  for operation in program.operations:
    arrays = list(operation.arrays())
    if arrays and not operation.inner and all(array in shares for array in arrays):
      size = sum(program.sizes[array] for array in arrays)
      share = sum(program.sizes[array] * shares[array] for array in arrays) / max(size, 1)
      shares.update(dict.fromkeys(operation.writes, share))
  return {array: share for array, share in shares.items() if array not in set(program.inputs)}


def share_parameters(
  program: Program, leaves: list[Leaf], *, gradients: dict[int, int], copies: dict[int, float]
) -> Program:
  """The program with what one chip has of the state, of its gradients and of its copies."""
  sizes = list(program.sizes)
  for array, share in copies.items():
    sizes[array] *= share
  for own in leaves:
    if own.array in gradients:
      sizes[gradients[own.array]] *= own.model_share  # whole along `fsdp` until it is reduced
    sizes[own.array] = sizes[own.result] = own.local
  return program._replace(sizes=sizes)


def gathered_bytes(program: Program, params: list[Leaf], copies: dict[int, float]) -> float:
  """Parameters that `fsdp` shares, whole for use, if they have no copy that is whole already."""
  copied = {program.counts[array] for array in copies}
  return sum(
    program.sizes[own.array] * own.model_share
    for own in params
    if own.share < own.model_share and program.counts[own.array] not in copied
  )


def sentence_vectors(train_program: build.TrainProgram, batch: Mapping[str, Any]) -> float:
  """Bytes of the vectors of all rows, float32; 0 where no chip has others' rows."""
  if sharding.row_shards(train_program.mesh) == 1:
    return 0.0
  model = train_program.model
  width = model.encoder.family.width if model.projection or not model.dense_width else 0
  rows, views, _ = batch["ids"].shape
  return 4.0 * rows * views * (width or model.dense_width)


def of_parameters(
  train_program: build.TrainProgram,
  program: Program,
  params: list[Leaf],
  *,
  gradients: dict[int, int],
) -> Iterator[Collective]:
  """Collectives of gradients, and of parameters that `fsdp` shares."""
  readers = readers_of(program)
  whole = shared = shares = again = 0.0
  for own in params:
    size = program.sizes[gradients.get(own.array, own.array)] * own.model_share
    if own.share == own.model_share:
      whole += size
      continue
    shared, shares = shared + size, shares + size * own.share / own.model_share
    if not is_looked_up(own.array, readers):
      again += size
  yield from exchange("all-reduce", whole, train_program, ("data", "fsdp"), name="gradients")
  yield from exchange("reduce-scatter", shared, train_program, ("fsdp",), name="gradients")
  yield from exchange("all-reduce", shares, train_program, ("data",), name="gradients")
  yield from exchange("all-gather", shared, train_program, ("fsdp",), name="parameters, forward")
  yield from exchange("all-gather", again, train_program, ("fsdp",), name="parameters, backward")


def is_looked_up(array: int, readers: dict[int, list[Operation]]) -> bool:
  """Whether rows are all that is read of a parameter, or of its copy in the compute dtype."""
  used = list(readers.get(array, []))
  for operation in tuple(used):
    if operation.name == "convert_element_type":
      used += readers.get(operation.writes[0], [])
  names = {operation.name for operation in used}
  return "gather" in names and "dot_general" not in names


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


def partial_sums(program: Program, axes: dict[int, int | None]) -> Iterator[tuple[float, int]]:
  """Results that must be added up among chips which share a parameter: bytes, and how often.

  Args:
    axes: array -> which of its axes `model` shares, or None.
  """
  axes = {array: axis for array, axis in axes.items() if axis is not None}
  for operation in program.operations:
    name, parameters = operation.name, operation.parameters
    own = [axes.get(array) for array in operation.reads]
    if name == "dot_general":
      (contracted, _) = parameters["dimension_numbers"]
      if any(axis in along for axis, along in zip(own, contracted, strict=True)):
        yield program.sizes[operation.writes[0]], 1
    elif name == "gather" and own[0] == 0:
      yield program.sizes[operation.writes[0]], 1
    elif name == "scan":
      for size, times in partial_sums(operation.inner[0], axes_inside(operation, own)):
        yield size, times * operation.turns
    elif own[:1] != [None] and len(set(own)) == 1:
      axes.update(dict.fromkeys(operation.writes, moved_axis(operation, own[0])))
      axes = {array: axis for array, axis in axes.items() if axis is not None}


def axes_inside(operation: Operation, axes: list[int | None]) -> dict[int, int | None]:
  """Arrays of a loop's body: of what it goes through, one slice, without the first axis."""
  assert operation.scan is not None, "only a scan has a body that is run on slices"
  whole = sum(operation.scan)
  inside = {}
  for place, (array, axis) in enumerate(zip(operation.inner[0].inputs, axes, strict=True)):
    inside[array] = axis - 1 if axis is not None and place >= whole else axis
  return inside


def moved_axis(operation: Operation, axis: int) -> int | None:
  """Where an axis of the operands is in the result; None where that cannot be said."""
  if operation.name in ("convert_element_type", "sharding_constraint", "copy"):
    return axis
  if operation.name == "transpose":
    return operation.parameters["permutation"].index(axis)
  if operation.name == "stack":
    return axis + (operation.parameters["axis"] <= axis)
  return None
