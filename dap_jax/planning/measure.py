"""What the compiler says of a step, and how long the chips' peaks allow it to take."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from dap_jax.planning import chips, hlo, traffic, work
from dap_jax.planning.chips import Topology
from dap_jax.training import build
from dap_jax.utils.errors import UserError


class Measured(NamedTuple):
  """A step, compiled or estimated, for one chip.

  Attributes:
    memory: bytes: "state" (parameters and optimizer), "batch", "temporary", "peak", and by how much
      the peak may be too low, "uncertainty".
    flops: of its matrix multiplications, recomputed ones included.
    traffic: bytes between HBM and the cores, see `traffic.traffic`. (The compiler's own count takes
      a loop's body once, and what stays on the chip too.)
    collectives: what it sends.
  """

  memory: dict[str, float]
  flops: float
  traffic: float
  collectives: list[hlo.Collective]


class TooLarge(NamedTuple):
  """A step that the compiler refused. needed, capacity: bytes of HBM, None where it did not say."""

  needed: float | None
  capacity: float | None


def devices_of(topology: Topology) -> list[jax.Device]:
  """The devices of a slice that is not there; for GPUs, which are not compiled for, CPU devices.

  Raises UserError where libtpu knows it not.
  """
  from jax.experimental import topologies

  if not topology.is_tpu:
    return jax.devices("cpu")[: topology.chips]
  # A v4 chip's two cores are one device, as on a real pod; the compiler would take them for two.
  settings = {"chip_config_name": "megacore"} if topology.kind == "v4" else {}
  try:
    described = topologies.get_topology_desc(
      platform="tpu", topology_name=topology.name, **settings
    )
    return list(described.devices)
  except (RuntimeError, ValueError, NotImplementedError) as error:
    raise UserError(
      f"--topology={topology.name}: the TPU compiler does not take it ({first_line(error)});"
      " `pip install libtpu` brings the compiler, a TPU is not needed"
    ) from error


def measure(train_program: build.TrainProgram, batch: Mapping[str, Any]) -> Measured | TooLarge:
  """Compiles the step for the devices of its mesh and reads off what it costs one of them."""
  count = train_program.mesh.size
  with jax.set_mesh(train_program.mesh):
    traced = train_program.trace(batch)
    lowered = traced.lower()
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    return too_large(str(error))
  said, module = compiled.memory_analysis(), hlo.parse(compiled.as_text())
  of_batch = sum(bytes_of(leaf) for leaf in batch.values())
  kept = said.argument_size_in_bytes + said.output_size_in_bytes - said.alias_size_in_bytes
  return Measured(
    memory={
      "state": said.argument_size_in_bytes - of_batch,
      "batch": of_batch,
      "temporary": said.temp_size_in_bytes,
      "peak": max(getattr(said, "peak_memory_in_bytes", 0), kept + said.temp_size_in_bytes),
      "uncertainty": 0.0,
    },
    flops=work.matmul_flops(traced.jaxpr) / count,
    traffic=traffic.traffic(module),
    collectives=hlo.collectives(module, chips=count),
  )


def too_large(message: str) -> TooLarge:
  """Reads `Used 23.10G of 15.75G hbm` off the compiler's error; raises any other error again."""
  if "RESOURCE_EXHAUSTED" not in message and "out of memory" not in message:
    raise RuntimeError(message)
  units = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
  found = re.search(r"Used ([\d.]+)([KMGT]?)i?B? of ([\d.]+)([KMGT]?)i?B? hbm", message)
  if not found:
    return TooLarge(None, None)
  needed, unit, capacity, of = found.groups()
  return TooLarge(float(needed) * units[unit], float(capacity) * units[of])


def bytes_of(leaf: Any) -> float:
  """Bytes of a ShapeDtypeStruct on one device."""
  return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


def seconds(measured: Measured, topology: Topology) -> dict[str, float]:
  """The least time of a step by each of a chip's peaks: "compute", "memory", "network"."""
  chip = topology.chip
  network = sum(own.times * seconds_of(own, topology) for own in measured.collectives)
  return {
    "compute": measured.flops / chip.flops,
    "memory": measured.traffic / chip.memory_speed,
    "network": network,
  }


def seconds_of(collective: hlo.Collective, topology: Topology) -> float:
  """How long one collective takes at least."""
  speed = topology.collective_speed(collective.group, collective.stride)
  return chips.ring_seconds(collective.kind, collective.size, collective.group, speed)


def first_line(error: Exception) -> str:
  """What an error says, without its trace."""
  return str(error).strip().split("\n", 1)[0]
