"""Compiles a step for TPUs that are not at hand, and reads its cost off the compiled program."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Any

import jax

from dap_jax.planning.chips import Topology, slices
from dap_jax.planning.compiled import hlo, traffic
from dap_jax.planning.cost import StepCost, TooLarge, bytes_of
from dap_jax.training import build, flops
from dap_jax.utils.errors import UserError


def devices_of(topology: Topology) -> list[jax.Device]:
  """The devices of a TPU slice that need not exist; for GPUs, which are not compiled for, CPU ones.

  Raises:
    UserError: the TPU compiler is missing, or does not know the topology.
  """
  from jax.experimental import topologies

  if not topology.is_tpu:
    virtual = jax.devices("cpu")[: topology.chips]
    if len(virtual) < topology.chips:  # a mesh of fewer would be a plan for a smaller topology
      raise RuntimeError(f"{len(virtual)} virtual devices for the {topology.chips} chips")
    return virtual
  # A v4 chip's two cores are one device, as on a real pod; the compiler would take them for two.
  settings = {"chip_config_name": "megacore"} if topology.kind == "v4" else {}
  try:
    description = topologies.get_topology_desc(
      platform="tpu", topology_name=topology.name, **settings
    )
    return list(description.devices)
  except (RuntimeError, ValueError, NotImplementedError) as error:
    if importlib.util.find_spec("libtpu") is None:
      cure = "`pip install libtpu` brings the compiler, a TPU is not needed"
    else:
      cure = f"there are {', '.join(slices(topology.kind).values())}"
    raise UserError(
      f"--topology={topology.name}: the TPU compiler does not take it ({first_line(error)}); {cure}"
    ) from error


def compiled_cost(
  train_program: build.TrainProgram, batch: Mapping[str, Any]
) -> StepCost | TooLarge:
  """Compiles the step for the devices of its mesh; returns what it costs one of them."""
  count = train_program.mesh.size
  with jax.set_mesh(train_program.mesh):
    traced = train_program.trace(batch)
    lowered = traced.lower()
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    return too_large(str(error))
  analysis, module = compiled.memory_analysis(), hlo.parse_module(compiled.as_text())
  batch_bytes = sum(bytes_of(leaf) for leaf in batch.values())
  arguments, outputs = analysis.argument_size_in_bytes, analysis.output_size_in_bytes
  live = arguments + outputs - analysis.alias_size_in_bytes + analysis.temp_size_in_bytes
  return StepCost(
    memory={
      "state": arguments - batch_bytes,
      "batch": batch_bytes,
      "temporary": analysis.temp_size_in_bytes,
      "peak": max(getattr(analysis, "peak_memory_in_bytes", 0), live),
      "uncertainty": 0.0,
    },
    flops=flops.matmul_flops(traced.jaxpr) / count,
    traffic=traffic.hbm_traffic(module),
    collectives=hlo.collectives(module, chips=count),
  )


def too_large(message: str) -> TooLarge:
  """Parses `Used 23.10G of 15.75G hbm` out of the compiler's error.

  Raises:
    RuntimeError: it is another error.
  """
  if "RESOURCE_EXHAUSTED" not in message and "out of memory" not in message:
    raise RuntimeError(message)
  units = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
  match = re.search(r"Used ([\d.]+)([KMGT]?)i?B? of ([\d.]+)([KMGT]?)i?B? hbm", message)
  if not match:
    return TooLarge(None, None)
  needed, needed_unit, capacity, capacity_unit = match.groups()
  return TooLarge(float(needed) * units[needed_unit], float(capacity) * units[capacity_unit])


def first_line(error: Exception) -> str:
  """What an error says, without its trace."""
  return str(error).strip().split("\n", 1)[0]
