"""What a compiled program sends between chips, read from its HLO text.

A loop's body stands there once; its collectives count as often as it turns. An asynchronous
collective stands there as a start and an end, and on a TPU inside many fusions too: those with one
channel are one.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
SIZES = {"pred": 1, "s4": 0.5, "u4": 0.5, "token": 0}
# `%name = TYPE opcode(operands), attributes`; the type may be a tuple.
INSTRUCTION = re.compile(
  r"^\s*(?:ROOT\s+)?%?(?P<name>[\w.\-]+) = (?P<type>\(.*?\)|\S+) (?P<opcode>[a-z][\w\-]*)\("
)
COMPUTATION = re.compile(r"^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) .*\{$")
CALLS = re.compile(
  r"(body|condition|calls|to_apply|branch_computations|called_computations)="
  r"(\{[^}]*\}|%?[\w.\-]+)"
)
ARRAY = re.compile(r"\b([a-z]+\d*(?:e\d+m\d+\w*)?)\[([\d,]*)\]")


class Collective(NamedTuple):
  """One exchange between chips.

  Attributes:
    kind: one of `KINDS`.
    size: bytes, on one chip, of the whole array: gathered, or before it is reduced.
    group: chips that exchange.
    times: how often a step does it.
    name: where the array comes from, as the program names it, or "".
    shape: the array as the HLO writes it.
  """

  kind: str
  size: float
  group: int
  times: int
  name: str
  shape: str


def collectives(text: str, *, chips: int) -> list[Collective]:
  """All collectives of a compiled module, those with equal channels once."""
  found, seen = [], set()
  turns = turns_of(text)
  for computation, line in lines_of(text):
    match = INSTRUCTION.match(line)
    kind = match and match["opcode"].removesuffix("-start")
    if kind not in KINDS:
      continue
    channel = re.search(r"channel_id=(\d+)", line)
    key = channel[1] if channel else match["name"]
    if key in seen:
      continue
    seen.add(key)
    group = group_size(line, chips=chips)
    arrays = ARRAY.findall(match["type"])
    array = max(arrays, key=array_bytes)  # of a start: what goes in, and what comes out
    size = (
      array_bytes(array) if match["opcode"].endswith("-start") else sum(map(array_bytes, arrays))
    )
    if kind == "reduce-scatter" and not match["opcode"].endswith("-start"):
      size *= group
    source = re.search(r'op_name="([^"]*)"', line)
    found.append(
      Collective(
        kind, size, group, turns.get(computation, 1), source[1] if source else "", match["type"]
      )
    )
  return found


# What moves nothing itself: names for other arrays, and what its own computation moves.
SILENT = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota", "after-all")
SILENT += ("while", "conditional", "call", "partition-id", "replica-id", "opt-barrier")
ON_CHIP = re.compile(r"S\([1-9]\d*\)")  # a memory space that is not HBM


def traffic(text: str) -> float:
  """Bytes that a step moves between a chip's HBM and its cores, about.

  Each instruction outside fusions reads its operands and writes its result once, where they lie in
  HBM; a loop's as often as it turns. What is gathered or updated in place counts whole.
  """
  turns, inside = turns_of(text), fused(text)
  total, sizes = 0.0, {}
  for computation, line in lines_of(text):
    match = INSTRUCTION.match(line)
    if not match or computation in inside:
      continue
    size = hbm_bytes(match["type"])
    sizes[computation, match["name"]] = size
    opcode = match["opcode"]
    if opcode in SILENT:
      continue
    operands = re.findall(r"%([\w.\-]+)", line[match.end() :].split("), ", 1)[0])
    moved = sum(sizes.get((computation, name), 0.0) for name in operands)
    if opcode.endswith("-start"):  # its result names both ends of what is on the way
      ends = [array_bytes(array) for array in ARRAY.findall(match["type"])]
      moved, size = min(moved, *ends[:2]), 0.0  # of a slice no more than that
    elif opcode.endswith("-done"):
      moved = 0.0
    total += turns.get(computation, 1) * (moved + size)
  return total


def fused(text: str) -> set[str]:
  """Computations that run inside one instruction: of fusions, and of reductions."""
  found = set()
  for _, line in lines_of(text):
    for role, names in CALLS.findall(line):
      if role in ("calls", "to_apply"):
        found |= set(re.findall(r"[\w.\-]+", names))
  return found


def hbm_bytes(written: str) -> float:
  """Bytes in HBM of a type as the HLO writes it, `f32[8,128]{1,0:T(8,128)S(1)}` or a tuple."""
  total = 0.0
  for found in ARRAY.finditer(written):
    layout = re.match(r"\{[^}]*\}", written[found.end() :])
    if not (layout and ON_CHIP.search(layout[0])):
      total += array_bytes((found[1], found[2]))
  return total


def lines_of(text: str) -> list[tuple[str, str]]:
  """(computation, line) of every line inside a computation."""
  found, current = [], ""
  for line in text.splitlines():
    if match := COMPUTATION.match(line):
      current = match["name"]
    elif line.startswith("}"):
      current = ""
    elif current:
      found.append((current, line))
  return found


def turns_of(text: str) -> dict[str, int]:
  """How often a step runs each computation: 1, or the turns of the loops around it."""
  callers: dict[str, list[tuple[str, int]]] = {}
  limits = limits_of(text)
  for computation, line in lines_of(text):
    called = [
      (role, name) for role, names in CALLS.findall(line) for name in re.findall(r"[\w.\-]+", names)
    ]
    turns = max((limits.get(name, 1) for role, name in called if role == "condition"), default=1)
    for role, name in called:
      callers.setdefault(name, []).append((computation, turns if role == "body" else 1))
  known: dict[str, int] = {}

  def times(name: str) -> int:
    if name not in known:
      known[name] = max((times(outer) * often for outer, often in callers.get(name, [])), default=1)
    return known[name]

  return {name: times(name) for name in callers}


def limits_of(text: str) -> dict[str, int]:
  """Computation -> the largest whole number in it: in a loop's condition, how often it turns.

  A `scan` counts from 0 up to a constant, and nothing else is compared there.
  """
  limits: dict[str, int] = {}
  for computation, line in lines_of(text):
    for number in re.findall(r" = s32\[\]\S* constant\((\d+)\)", line):
      limits[computation] = max(limits.get(computation, 1), int(number))
  return limits


def array_bytes(array: tuple[str, str]) -> float:
  """("f32", "8,128") -> bytes."""
  dtype, shape = array
  bits = re.search(r"\d+", dtype)
  size = SIZES.get(dtype, int(bits[0]) / 8 if bits else 0)
  return size * math.prod(int(length) for length in shape.split(",") if length)


def group_size(line: str, *, chips: int) -> int:
  """How many chips exchange: from `replica_groups={{0,1},{2,3}}`, `=[2,4]<=[8]` or
  `=mesh['a'=4,'b'=2] {'a'}`.
  """
  if found := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", line):
    sizes = dict(re.findall(r"('\w+')=(\d+)", found[1]))
    return math.prod(int(sizes[axis]) for axis in re.findall(r"'\w+'", found[2]))
  if found := re.search(r"replica_groups=\[(\d+),(\d+)\]<=", line):
    return int(found[2])
  if found := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
    return len(found[1].split(","))
  if "source_target_pairs" in line:
    return 2
  return chips
