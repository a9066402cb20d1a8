"""From what a step takes to time and cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from dap_jax.model.vocabulary import Vocabulary
from dap_jax.planning import formula, measure, work
from dap_jax.planning.chips import Topology
from dap_jax.planning.measure import Measured, TooLarge
from dap_jax.planning.step import plan_step, trace_on_one
from dap_jax.training import build

Report = dict[str, Any]


def predict(
  config: Mapping[str, Any],
  topology: Topology,
  *,
  vocabulary: Vocabulary,
  languages: int,
  devices: list[jax.Device],
) -> Report:
  """Everything `plan` says about one config on one topology; numbers in bytes, FLOPs, seconds.

  `method` is "compiled", or "formula" where no compiler is at hand. `fits` is False where the
  compiler refuses the program, or the state alone is too large: `memory` is short then.
  """
  given = {"vocabulary": vocabulary, "languages": languages, "devices": devices}
  train_program, batch = plan_step(config, **given)
  report = {
    "topology": topology.name,
    "chips": topology.chips,
    "method": "compiled" if topology.is_tpu else "formula",
    "mesh": dict(train_program.mesh.shape),
    "program": dict(config["program"]),
    "batch_size": config["batch_size"],
    "max_tokens": config["max_tokens"],
    "parameters": count_parameters(train_program),
    "state_per_chip": sum(map(measure.bytes_of, jax.tree.leaves(train_program.abstract_state))),
  }
  capacity = topology.capacity
  if report["state_per_chip"] > capacity:
    return report | {"fits": False, "memory": {"peak": None, "capacity": capacity}}
  if topology.is_tpu:
    found = measure.measure(train_program, batch)
  else:
    found = formula.estimate(train_program, batch, trace_on_one(config, **given))
  if isinstance(found, TooLarge):
    memory = {"peak": found.needed, "capacity": found.capacity}
    return report | {"fits": False, "memory": memory}
  report["fits"] = found.memory["peak"] + found.memory["uncertainty"] <= capacity
  report["memory"] = {**found.memory, "capacity": capacity}
  model_flops = found.flops
  if config["program"] != build.ONE_PASS:  # what the model needs, nothing twice
    whole, batch = plan_step({**config, "program": dict(build.ONE_PASS)}, **given)
    with jax.set_mesh(whole.mesh):
      model_flops = work.matmul_flops(whole.trace(batch).jaxpr) / topology.chips
  return report | timing(config, found, topology, model_flops=model_flops)


def count_parameters(train_program: build.TrainProgram) -> dict[str, int]:
  """Parameters of each part of the model, and in all."""
  params = train_program.abstract_state.params
  sizes = {
    name: sum(leaf.size for leaf in jax.tree.leaves(own)) for name, own in sorted(params.items())
  }
  return sizes | {"all": sum(sizes.values())}


def timing(
  config: Mapping[str, Any], found: Measured, topology: Topology, *, model_flops: float
) -> Report:
  """The least time a step can take, what binds it, and what the whole run then costs."""
  least = measure.seconds(found, topology)
  step = max(least.values())
  pairs = config["batch_size"] * (config["data"]["views"] - 1)
  hours = config["steps"] * step / 3600
  collectives: dict[tuple[str, int], Report] = {}
  for own in found.collectives:
    kind = collectives.setdefault(
      (own.kind, own.group),
      {"kind": own.kind, "chips": own.group, "count": 0, "bytes": 0.0, "seconds": 0.0},
    )
    kind["count"] += own.times
    kind["bytes"] += own.times * own.size
    kind["seconds"] += own.times * measure.seconds_of(own, topology)
  return {
    "flops": found.flops,
    "model_flops": model_flops,
    "traffic": found.traffic,
    "collectives": sorted(collectives.values(), key=lambda own: -own["bytes"]),
    "seconds": least,
    "step_seconds": step,
    "bound_by": max(least, key=least.get),
    "pairs_per_second": pairs / step,
    "utilisation": model_flops / (step * topology.chip.flops),
    "days": hours / 24,
    "chip_hours": hours * topology.chips,
  }
