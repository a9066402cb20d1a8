"""Everything that `plan` reports of a config on a topology: does it fit, how fast, at what cost."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax

from dap_jax.model.vocabulary import Vocabulary
from dap_jax.planning.chips import Topology
from dap_jax.planning.compiled.compiler import compiled_cost
from dap_jax.planning.cost import (
  StepCost,
  TooLarge,
  bytes_of,
  collective_seconds,
  least_seconds,
)
from dap_jax.planning.formula.estimate import estimate
from dap_jax.planning.step import plan_step, trace_on_one
from dap_jax.training import build
from dap_jax.training.flops import matmul_flops

Report = dict[str, Any]


def predict(
  config: Mapping[str, Any],
  topology: Topology,
  *,
  vocabulary: Vocabulary,
  languages: int,
  devices: list[jax.Device],
) -> Report:
  """The report of one config on one topology; numbers in bytes, FLOPs, seconds.

  Args:
    config: the whole config.
    topology: the chips.
    vocabulary, languages, devices: of `step.plan_step`; the devices are the topology's.

  Returns:
    `method` is "compiled", or "formula" where no compiler is at hand. `fits` is False where the
    compiler refuses the program, or the state alone is too large; then the report ends with
    `memory`.
  """
  plan = functools.partial(plan_step, vocabulary=vocabulary, languages=languages, devices=devices)
  train_program, batch = plan(config)
  report: Report = {
    "topology": topology.name,
    "chips": topology.chips,
    "method": "compiled" if topology.is_tpu else "formula",
    "mesh": dict(train_program.mesh.shape),
    "program": dict(config["program"]),
    "batch_size": config["batch_size"],
    "max_tokens": config["max_tokens"],
    "parameters": count_parameters(train_program),
    "state_per_chip": sum(map(bytes_of, jax.tree.leaves(train_program.abstract_state))),
  }
  capacity = topology.capacity
  if report["state_per_chip"] > capacity:
    return report | {"fits": False, "memory": {"peak": None, "capacity": capacity}}
  cost: StepCost | TooLarge
  if topology.is_tpu:
    cost = compiled_cost(train_program, batch)
  else:
    traces = trace_on_one(config, vocabulary=vocabulary, languages=languages, devices=devices)
    cost = estimate(train_program, batch, traces)
  if isinstance(cost, TooLarge):
    memory = {"peak": cost.needed, "capacity": cost.capacity}
    return report | {"fits": False, "memory": memory}
  report["fits"] = cost.memory["peak"] + cost.memory["uncertainty"] <= capacity
  report["memory"] = {**cost.memory, "capacity": capacity}
  model_flops = cost.flops
  if config["program"] != build.ONE_PASS:
    one_pass = plan({**config, "program": dict(build.ONE_PASS)})
    model_flops = traced_flops(*one_pass) / topology.chips
  return report | timing(config, cost, topology, model_flops=model_flops)


def traced_flops(
  train_program: build.TrainProgram, batch: Mapping[str, jax.ShapeDtypeStruct]
) -> float:
  """FLOPs of the matrix multiplications of a step, on all chips together."""
  with jax.set_mesh(train_program.mesh):
    return matmul_flops(train_program.trace(batch).jaxpr)


def count_parameters(train_program: build.TrainProgram) -> dict[str, int]:
  """Parameters of each part of the model, and in all."""
  params = train_program.abstract_state.params
  sizes = {
    name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in sorted(params.items())
  }
  return sizes | {"all": sum(sizes.values())}


def timing(
  config: Mapping[str, Any], cost: StepCost, topology: Topology, *, model_flops: float
) -> Report:
  """The least time that a step can take, which peak binds it, and what the whole run then costs."""
  least = least_seconds(cost, topology)
  step = max(least.values())
  pairs = config["batch_size"] * (config["data"]["views"] - 1)
  hours = config["steps"] * step / 3600
  collectives: dict[tuple[str, int], Report] = {}
  for each in cost.collectives:
    total = collectives.setdefault(
      (each.kind, each.group),
      {"kind": each.kind, "chips": each.group, "count": 0, "bytes": 0.0, "seconds": 0.0},
    )
    total["count"] += each.times
    total["bytes"] += each.times * each.size
    total["seconds"] += each.times * collective_seconds(each, topology)
  return {
    "flops": cost.flops,
    "model_flops": model_flops,
    "traffic": cost.traffic,
    "collectives": sorted(collectives.values(), key=lambda total: -total["bytes"]),
    "seconds": least,
    "step_seconds": step,
    "bound_by": max(least, key=lambda peak: least[peak]),
    "pairs_per_second": pairs / step,
    "utilisation": model_flops / (step * topology.chip.flops),
    "days": hours / 24,
    "chip_hours": hours * topology.chips,
  }
