"""What one training step costs one chip, and the least time that the chip's peaks allow for it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from dap_jax.planning import chips
from dap_jax.planning.chips import Topology


class Collective(NamedTuple):
  """One exchange between chips.

  Attributes:
    kind: all-reduce, all-gather, reduce-scatter, all-to-all or collective-permute.
    size: bytes, on one chip, of the whole array: gathered, or before it is reduced.
    group: chips that exchange.
    times: how often a step does it.
    name: where the array comes from, as the program names it, or "".
    stride: how many chips lie from one member of the group to the next.
    type: of its result, as the HLO writes it.
  """

  kind: str
  size: float
  group: int
  times: int
  name: str
  stride: int = 1
  type: str = ""


class StepCost(NamedTuple):
  """A step, compiled or estimated, for one chip.

  Attributes:
    memory: bytes: "state" (parameters and optimizer), "batch", "temporary", "peak", and by how much
      the peak may be too low, "uncertainty".
    flops: of its matrix multiplications, recomputed ones included.
    traffic: bytes between HBM and the cores, see `compiled/traffic.py`. (The compiler's own count
      takes a loop's body once, and what stays on the chip too.)
    collectives: what it sends.
  """

  memory: dict[str, float]
  flops: float
  traffic: float
  collectives: list[Collective]


class TooLarge(NamedTuple):
  """A step that the compiler refused. needed, capacity: bytes of HBM, None where it did not say."""

  needed: float | None
  capacity: float | None


def bytes_of(leaf: Any) -> float:
  """Bytes of a ShapeDtypeStruct on one device."""
  return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


def least_seconds(cost: StepCost, topology: Topology) -> dict[str, float]:
  """The least time of a step by each of a chip's peaks: "compute", "memory", "network"."""
  chip = topology.chip
  network = sum(
    collective.times * collective_seconds(collective, topology) for collective in cost.collectives
  )
  return {
    "compute": cost.flops / chip.flops,
    "memory": cost.traffic / chip.memory_speed,
    "network": network,
  }


def collective_seconds(collective: Collective, topology: Topology) -> float:
  """The least time of one exchange."""
  speed = topology.collective_speed(collective.group, collective.stride)
  return chips.ring_seconds(collective.kind, collective.size, collective.group, speed)
