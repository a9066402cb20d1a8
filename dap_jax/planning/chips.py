"""The accelerators that `plan` knows: the peaks of a chip, and the links between chips.

All figures are the manufacturers' peaks; how fast a chip computes is in `distributed.peaks`. TPU:
docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}, read
November 2026; the links of v4 from the paper on it (arXiv 2304.01433, 6 links of 50 GB/s each way).
GPU: the data sheets of the H100 SXM and H200 SXM (dense bfloat16; NVLink 900 GB/s both ways);
between hosts one InfiniBand port (ConnectX-7, NDR, 400 Gb/s) a GPU, as in NVIDIA's DGX H100 and
H200 user guides.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from dap_jax.distributed.peaks import FLOPS
from dap_jax.utils.errors import UserError

GB = 1e9


class Chip(NamedTuple):
  """One chip.

  Attributes:
    flops: bfloat16 multiplications and additions, FLOP/s.
    memory: bytes of HBM.
    usable: the share of it that a program gets: of a TPU the rest holds the program itself and what
      the system needs; on a GPU JAX takes 75% (docs.jax.dev, "GPU memory allocation") unless
      XLA_CLIENT_MEM_FRACTION says otherwise.
    memory_speed: of HBM, bytes/s.
    link_speed: of one link to a neighbour, one way, bytes/s; a torus has two an axis.
    axes: of the torus; 0 where the chips of a host share a switch.
    chips_per_host: chips behind one switch, where there is no torus.
    host_speed: of a chip's port to other hosts, one way, bytes/s; 0 on a torus.
    most: chips of a pod; 0 = no limit.
    ring: an axis whose length is a multiple of this has its ends joined.
  """

  flops: float
  memory: float
  usable: float
  memory_speed: float
  link_speed: float
  axes: int
  chips_per_host: int
  host_speed: float = 0.0
  most: int = 0
  ring: int = 0


CHIPS = {
  "v4": Chip(FLOPS["v4"], 32 * 2**30, 0.97, 1200 * GB, 50 * GB, 3, 4, most=4096, ring=4),
  "v5e": Chip(FLOPS["v5e"], 16 * GB, 0.97, 819 * GB, 50 * GB, 2, 8, most=256, ring=16),
  "v5p": Chip(FLOPS["v5p"], 95 * 2**30, 0.97, 2765 * GB, 100 * GB, 3, 4, most=8960, ring=4),
  "v6e": Chip(FLOPS["v6e"], 32 * GB, 0.97, 1638 * GB, 100 * GB, 2, 8, most=256, ring=16),
  "h100": Chip(FLOPS["h100"], 80 * GB, 0.75, 3350 * GB, 450 * GB, 0, 8, host_speed=50 * GB),
  "h200": Chip(FLOPS["h200"], 141 * GB, 0.75, 4800 * GB, 450 * GB, 0, 8, host_speed=50 * GB),
}
# Google's accelerator types, `v5litepod-16`: kind, and how many of what they count are a chip.
ACCELERATOR_TYPES = {"v5litepod": ("v5e", 1), "v5e": ("v5e", 1), "v6e": ("v6e", 1)}
ACCELERATOR_TYPES |= {"v4": ("v4", 2), "v5p": ("v5p", 2)}  # cores
LARGEST_SLICE = 4096  # chips, of those that `slices` names


class Topology(NamedTuple):
  """A slice of a TPU pod, or some GPUs.

  Attributes:
    name: e.g. "v5e:4x4".
    kind: a key of `CHIPS`.
    chip: its peaks.
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

  @property
  def capacity(self) -> float:
    """Bytes of a chip's memory that a program can have."""
    return self.chip.memory * self.chip.usable

  def collective_speed(self, group: int, stride: int = 1) -> float:
    """Bytes/s that each chip forwards in a ring over `group` chips.

    On a torus each axis is a ring, and all of them work at once; an axis whose ends are not joined
    carries half. Between hosts, every GPU of the group in a host contributes its own port, as in
    NCCL's rings, up to the speed of NVLink.

    Args:
      group: chips that exchange.
      stride: how many chips lie from one member of the group to the next.
    """
    chip = self.chip
    if self.is_tpu:
      long = [length for length in self.shape if length > 1]
      joined = all(length % chip.ring == 0 for length in long)
      return max(1, len(long)) * chip.link_speed * (2 if joined else 1)
    if group * stride <= chip.chips_per_host:
      return chip.link_speed
    return min(chip.link_speed, max(1, chip.chips_per_host // stride) * chip.host_speed)

  def doubled(self) -> Topology | None:
    """The next larger one, its shortest axis doubled; None where a pod has no more chips."""
    if self.chip.most and self.chips * 2 > self.chip.most:
      return None
    if not self.is_tpu:
      host = self.chip.chips_per_host
      count = host if host // 2 < self.chips < host else 2 * self.chips
      return parse_topology(f"gpu:{self.kind}x{count}")
    first, *rest = sorted(self.shape)
    return parse_topology(f"{self.kind}:{'x'.join(map(str, sorted([first * 2, *rest])))}")


def parse_topology(name: str) -> Topology:
  """`v5e:4x4`, `v4:2x2x4`, `gpu:h200x8` -> `Topology`.

  Raises:
    UserError: no such topology exists.
  """
  tpus = [kind for kind, chip in CHIPS.items() if chip.axes]
  gpus = [kind for kind, chip in CHIPS.items() if not chip.axes]
  tpu = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)", name)
  if tpu and tpu[1] in tpus:
    shape = tuple(map(int, tpu[2].split("x")))
    if len(shape) == CHIPS[tpu[1]].axes and min(shape) > 0:
      return Topology(name, tpu[1], CHIPS[tpu[1]], shape)
  gpu = re.fullmatch(r"gpu:([a-z]\d+)x(\d+)", name)
  if gpu and gpu[1] in gpus and int(gpu[2]) > 0:
    chip, count = CHIPS[gpu[1]], int(gpu[2])
    if count <= chip.chips_per_host or count % chip.chips_per_host == 0:
      return Topology(name, gpu[1], chip, (count,))
  counted = re.fullmatch(r"(\w+)-(\d+)", name)
  if counted and counted[1] in ACCELERATOR_TYPES:
    kind, cores = ACCELERATOR_TYPES[counted[1]]
    offered = slices(kind)
    expected = offered.get(int(counted[2]) // cores, f"one of {', '.join(offered.values())}")
    raise UserError(
      f"topology {name!r}: that is an accelerator type; expected the shape of a slice, {expected}"
    )
  raise UserError(
    f"topology {name!r}: expected {' or '.join(f'{kind}:{_example(kind)}' for kind in tpus)}, chips"
    f" along each axis, or {' or '.join(f'gpu:{kind}x8' for kind in gpus)}, at most 8 or whole"
    " hosts of 8"
  )


def slices(kind: str) -> dict[int, str]:
  """The slices of a TPU that Google offers: chips -> topology, `v5e:4x4`.

  Shapes are as near to a square or a cube as powers of two can be. A single chip is none: the
  compiler makes programs for hosts of four.
  """
  axes, largest = CHIPS[kind].axes, min(CHIPS[kind].most, LARGEST_SLICE)
  shapes = {}
  for power in range(2, largest.bit_length()):
    shape = [2 ** ((power + axis) // axes) for axis in range(axes)]
    shape.sort(key=lambda length: (length == 1, length))  # 2x2x1
    shapes[2**power] = f"{kind}:{'x'.join(map(str, shape))}"
  return shapes


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
