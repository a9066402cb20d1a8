"""From a compiled step to time and cost; and what to change where it does not fit."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from dap_jax import build
from dap_jax.objectives import Vocabulary
from dap_jax.planning import chips, measure, work
from dap_jax.planning.chips import Topology
from dap_jax.planning.measure import Measured, TooLarge
from dap_jax.planning.step import plan_step

logger = logging.getLogger(__name__)

# What a chip can give to a program: the rest holds the program itself and what the system needs.
USABLE = 0.97
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

  `fits` is False where the compiler refuses the program, and `memory` then has only what it said.
  """
  given = {"vocabulary": vocabulary, "languages": languages, "devices": devices}
  parts, batch = plan_step(config, **given)
  report = {
    "topology": topology.name,
    "chips": topology.chips,
    "mesh": dict(parts.mesh.shape),
    "program": dict(config["program"]),
    "batch_size": config["batch_size"],
    "max_tokens": config["max_tokens"],
    "parameters": count_parameters(parts),
    "state_per_chip": sum(map(measure.bytes_of, jax.tree.leaves(parts.abstract_state))),
  }
  found = measure.measure(parts, batch)
  if isinstance(found, TooLarge):
    memory = {"peak": found.needed, "capacity": found.capacity}
    return report | {"fits": False, "memory": memory}
  capacity = topology.chip.memory * USABLE
  report["fits"] = found.memory["peak"] <= capacity
  report["memory"] = {**found.memory, "capacity": capacity}
  model_flops = found.flops
  if config["program"] != build.ONE_PASS:  # what the formula needs, without recomputing
    whole, batch = plan_step({**config, "program": dict(build.ONE_PASS)}, **given)
    with jax.set_mesh(whole.mesh):
      model_flops = work.matmul_flops(whole.trace(batch).jaxpr) / topology.chips
  return report | timing(config, found, topology, model_flops=model_flops)


def count_parameters(parts: build.Parts) -> dict[str, int]:
  """Parameters of each part of the model, and in all."""
  params = parts.abstract_state.params
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
  pairs = config["batch_size"] * (config["data"]["renderings"] - 1)
  hours = config["steps"] * step / 3600
  speed = topology.collective_speed()
  collectives: dict[tuple[str, int], Report] = {}
  for own in found.collectives:
    kind = collectives.setdefault(
      (own.kind, own.group),
      {"kind": own.kind, "chips": own.group, "count": 0, "bytes": 0.0, "seconds": 0.0},
    )
    kind["count"] += own.times
    kind["bytes"] += own.times * own.size
    kind["seconds"] += own.times * chips.ring_seconds(own.kind, own.size, own.group, speed)
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


def remedies(config: Mapping[str, Any], topology: Topology) -> Iterator[tuple[str, Report]]:
  """What makes a step smaller, the cheapest first: flags of train, and the config with them."""
  mesh = config["mesh"]
  shards = topology.chips // mesh["model"]
  rows = config["batch_size"] // shards
  changes: list[dict[str, dict[str, Any]]] = [{"program": {"remat": "layers"}}]
  chunks = config["program"]["microbatches"]
  while rows % (chunks * 2) == 0:
    chunks *= 2
    changes.append({"program": {"remat": "layers", "microbatches": chunks}})
  if mesh["fsdp"] == 1 and shards > 1:
    within = next(size for size in (8, 4, 2, 1) if shards % size == 0)
    last = changes[-1]["program"]
    changes.append({"program": last, "mesh": {"data": shards // within, "fsdp": within}})
  for change in changes:
    changed = copy.deepcopy({**config})
    for section, keys in change.items():
      changed[section] = {**changed[section], **keys}
    flags = " ".join(
      f"--config.{section}.{key}={value}"
      for section, keys in change.items()
      for key, value in keys.items()
    )
    yield flags, changed


def find_remedy(
  config: Mapping[str, Any],
  topology: Topology,
  *,
  tries: int,
  attempt: Callable[[Mapping[str, Any]], Report],
) -> tuple[str, Report] | None:
  """The first of `remedies` that fits, found by compiling it; None where none of `tries` does."""
  candidates = list(remedies(config, topology))
  if len(candidates) > tries:  # the mildest, the harshest and some between
    picked = {round(i * (len(candidates) - 1) / (tries - 1)) for i in range(tries)}
    candidates = [candidates[i] for i in sorted(picked)]
  for flags, changed in candidates:
    logger.info("it does not fit; trying %s", flags)
    report = attempt(changed)
    if report["fits"]:
      return flags, report
  return None
