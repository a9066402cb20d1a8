"""Accelerators that `plan` knows: what a chip can do, and how its neighbours are wired.

All figures are the makers' own peaks. TPU: docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}, read
November 2026; the links of v4 from the paper on it (arXiv 2304.01433, 6 links of 50 GB/s each way).
GPU: the data sheets of the H100 SXM and H200 SXM (dense bfloat16; NVLink 900 GB/s both ways).
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from dap_jax.errors import UserError

GB, TERA = 1e9, 1e12


class Chip(NamedTuple):
  """One chip.

  Attributes:
    flops: bfloat16 multiplications and additions, FLOP/s.
    memory: bytes of HBM.
    memory_speed: of HBM, bytes/s.
    link_speed: of one link to a neighbour, one way, bytes/s; a torus has two an axis.
    axes: of the torus; 0 where all chips of a host are switched.
    chips_per_host: which feed on one host's network.
    ring: chips along an axis from which on its ends are joined.
  """

  flops: float
  memory: float
  memory_speed: float
  link_speed: float
  axes: int
  chips_per_host: int
  ring: int = 0


CHIPS = {
  "v4": Chip(275 * TERA, 32 * 2**30, 1200 * GB, 50 * GB, 3, 4, ring=4),
  "v5e": Chip(197 * TERA, 16 * GB, 819 * GB, 50 * GB, 2, 8, ring=16),
  "v5p": Chip(459 * TERA, 95 * 2**30, 2765 * GB, 100 * GB, 3, 4, ring=4),
  "v6e": Chip(918 * TERA, 32 * GB, 1638 * GB, 100 * GB, 2, 8, ring=16),
  "h100": Chip(989 * TERA, 80 * GB, 3350 * GB, 450 * GB, 0, 8),
  "h200": Chip(989 * TERA, 141 * GB, 4800 * GB, 450 * GB, 0, 8),
}


class Topology(NamedTuple):
  """A slice of a TPU pod, or some GPUs.

  Attributes:
    name: as given, e.g. "v5e:4x4".
    kind: a key of `CHIPS`.
    chip: what it can do.
    shape: chips along each axis of the torus; one number for GPUs.
  """

  name: str
  kind: str
  chip: Chip
  shape: tuple[int, ...]

  @property
  def chips(self) -> int:
    return math.prod(self.shape)

  @property
  def is_tpu(self) -> bool:
    return self.chip.axes > 0

  def collective_speed(self) -> float:
    """Bytes/s at which a chip passes on what a ring over all chips carries.

    Each axis is a ring of its own, all at work at once; one whose ends are not joined carries half.
    """
    if not self.is_tpu:
      return self.chip.link_speed
    long = [length for length in self.shape if length > 1]
    joined = all(length % self.chip.ring == 0 for length in long)
    return max(1, len(long)) * self.chip.link_speed * (2 if joined else 1)


def parse(name: str) -> Topology:
  """`v5e:4x4`, `v4:2x2x4`, `gpu:h200x8` -> `Topology`. Raises UserError for what there is not."""
  tpus = [kind for kind, chip in CHIPS.items() if chip.axes]
  gpus = [kind for kind, chip in CHIPS.items() if not chip.axes]
  found = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)", name)
  if found and found[1] in tpus:
    shape = tuple(map(int, found[2].split("x")))
    if len(shape) == CHIPS[found[1]].axes and min(shape) > 0:
      return Topology(name, found[1], CHIPS[found[1]], shape)
  found = re.fullmatch(r"gpu:([a-z]\d+)x(\d+)", name)
  if found and found[1] in gpus and int(found[2]) > 0:
    return Topology(name, found[1], CHIPS[found[1]], (int(found[2]),))
  raise UserError(
    f"topology {name!r}: expected {' or '.join(f'{kind}:{_example(kind)}' for kind in tpus)}, chips"
    f" along each axis, or {' or '.join(f'gpu:{kind}x8' for kind in gpus)}"
  )


def _example(kind: str) -> str:
  return "x".join(["4"] * CHIPS[kind].axes)


def ring_seconds(kind: str, size: float, group: int, speed: float) -> float:
  """How long a collective takes that goes around a ring.

  Args:
    kind: the HLO's name of it.
    size: bytes of the whole array on one chip: gathered, or before it is reduced.
    group: how many chips take part.
    speed: bytes/s, see `Topology.collective_speed`.
  """
  share = size * (group - 1) / max(group, 1)
  rounds = {"all-reduce": 2.0, "all-gather": 1.0, "reduce-scatter": 1.0, "all-to-all": 0.25}
  if kind not in rounds:  # collective-permute: to one neighbour
    return size / speed
  return rounds[kind] * share / speed
