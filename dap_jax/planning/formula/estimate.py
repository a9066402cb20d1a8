"""The cost of a step by formula, from its trace and its shardings, where no compiler is at hand.

Exact: the bytes of state and batch (shardings), the FLOPs (matrix multiplications of the trace).
Estimated: temporary memory and traffic, by the rules of `footprint.py`; collectives, as follows.

    gradients   of matrices a reduce-scatter, in the dtype in which they are computed, and the new
                parameters are gathered: ZeRO-1 (arXiv 1910.02054, section 5.1); of the rest an
                all-reduce. Where `fsdp` shards a parameter, first a reduce-scatter within it
    tables      words are gathered once, in the compute dtype; what is added to the rows of their
                gradient goes to the chips that have them, an all-to-all, or, where these are the
                same rows whatever the batch, is summed
    fsdp        each sharded parameter is gathered twice, for the forward and the backward pass, in
                the dtype of its gradient: ZeRO-3 (section 7 there)
    model       a product that contracts an axis which `model` shards is an all-reduce of its result
                (arXiv 1909.08053, section 3)
    sentences   the vectors of all rows are gathered: negatives come from the whole batch

Activations that `model` shards are counted whole, so there the estimate is too high. So is the
traffic wherever caches hold what passes between two kernels: 1.4 to 2.1 times what the TPU compiler
says (benchmarks/plan_formula.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from dap_jax.distributed import sharding
from dap_jax.planning.cost import StepCost, bytes_of
from dap_jax.planning.formula.collectives import exchange, parameter_collectives, partial_sums
from dap_jax.planning.formula.footprint import footprint
from dap_jax.planning.formula.leaves import Leaf, leaves_of
from dap_jax.planning.formula.lookups import row_updates
from dap_jax.planning.formula.trace import FlatTrace, flat_trace, share_rows
from dap_jax.training import build
from dap_jax.training.flops import matmul_flops

# By how much the temporary memory may be larger: by this share of it, and by a second copy of all
# parameters and gradients in the compute dtype, which a compiler may clear or lay out differently.
# The TPU compiler stayed within in every case of benchmarks/plan_formula.py; a GPU's is another.
UNCERTAINTY = 0.35


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
  sizes, updates = list(trace.sizes), row_updates(trace)
  for array, share in copies.items():
    sizes[array] *= share
  for leaf in leaves:
    gradient = gradients.get(leaf.array)
    if gradient is not None:  # of a table the rows are sent; others are whole until they are summed
      sizes[gradient] *= leaf.share if gradient in updates else leaf.model_share
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
