"""Parses the HLO text of a compiled program, and finds the collectives in it.

A loop's body is printed once; its collectives count as often as it turns. An asynchronous
collective is printed as a start and an end, and on a TPU inside many fusions too: instructions with
equal channels are one collective.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from dap_jax.planning.cost import Collective

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
SIZES = {"pred": 1, "s4": 0.5, "u4": 0.5, "token": 0}
# `%name = TYPE opcode(operands), attributes`; the type may be a tuple.
INSTRUCTION = re.compile(
  r"^\s*(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = (?P<type>\(.*?\)|\S+) (?P<opcode>[a-z][\w\-]*)\("
)
COMPUTATION = re.compile(r"^(?:ENTRY )?%?(?P<name>[\w.\-]+) .*\{$")
CALLS = re.compile(
  r"(body|condition|calls|to_apply|branch_computations|called_computations)="
  r"(\{[^}]*\}|%?[\w.\-]+)"
)
ARRAY = re.compile(r"\b([a-z]+\d*(?:e\d+m\d+\w*)?)\[([\d,]*)\]")


class Instruction(NamedTuple):
  """One line of the text.

  Attributes:
    name, opcode: as the HLO writes them.
    type: of its result, `f32[8,128]{1,0:T(8,128)S(1)}` or a tuple of such.
    operands: names.
    attributes: what follows the operands; where there are none, all behind the parenthesis.
  """

  name: str
  opcode: str
  type: str
  operands: tuple[str, ...]
  attributes: str

  def calls(self) -> list[tuple[str, str]]:
    """(role, name) of the computations that it calls."""
    calls = CALLS.findall(self.attributes)
    return [(role, name) for role, names in calls for name in re.findall(r"[\w.\-]+", names)]


class Computation(NamedTuple):
  """instructions: by name, in the text's order; root: the name of its result."""

  instructions: dict[str, Instruction]
  root: str


class Module(NamedTuple):
  """A compiled program.

  Attributes:
    computations: by name.
    turns: computation -> how often a step runs it: 1, or the turns of the loops around it.
    inside: computations that run inside one instruction: those of fusions and reductions.
  """

  computations: dict[str, Computation]
  turns: dict[str, int]
  inside: set[str]


def parse_module(text: str) -> Module:
  """HLO text -> `Module`."""
  computations: dict[str, Computation] = {}
  instructions: dict[str, Instruction] = {}
  name = root = ""
  for line in text.splitlines():
    if match := COMPUTATION.match(line):
      instructions, name, root = {}, match["name"], ""
    elif line.startswith("}"):
      computations[name] = Computation(instructions, root)
    elif match := INSTRUCTION.match(line):
      rest = line[match.end() :]
      inputs, _, attributes = rest.partition("), ")
      operands = tuple(re.findall(r"%([\w.\-]+)", inputs))
      instructions[match["name"]] = Instruction(
        match["name"], match["opcode"], match["type"], operands, attributes if operands else rest
      )
      root = match["name"] if match["root"] else root
  return Module(computations, turns_of(computations), inside_of(computations))


def inside_of(computations: dict[str, Computation]) -> set[str]:
  """See `Module.inside`."""
  return {
    called
    for computation in computations.values()
    for instruction in computation.instructions.values()
    for role, called in instruction.calls()
    if role in ("calls", "to_apply")
  }


def turns_of(computations: dict[str, Computation]) -> dict[str, int]:
  """See `Module.turns`."""
  callers: dict[str, list[tuple[str, int]]] = {}
  for name, computation in computations.items():
    for instruction in computation.instructions.values():
      calls = instruction.calls()
      limits = [limit_of(computations[called]) for role, called in calls if role == "condition"]
      for role, called in calls:
        often = max(limits, default=1) if role == "body" else 1
        callers.setdefault(called, []).append((name, often))
  known: dict[str, int] = {}

  def times(name: str) -> int:
    if name not in known:
      known[name] = max((times(outer) * often for outer, often in callers.get(name, [])), default=1)
    return known[name]

  return {name: times(name) for name in computations}


def limit_of(condition: Computation) -> int:
  """How often a loop turns: the largest whole number in its condition.

  A `scan` counts from 0 up to a constant, and nothing else is compared there.
  """
  numbers = [
    int(number[0])
    for instruction in condition.instructions.values()
    if instruction.opcode == "constant" and instruction.type.startswith("s32[]")
    if (number := re.match(r"\d+", instruction.attributes))
  ]
  return max(numbers, default=1)


def collectives(module: Module, *, chips: int) -> list[Collective]:
  """All collectives of a program, those with equal channels once."""
  by_channel: dict[str, Collective] = {}
  for name, computation in module.computations.items():
    for instruction in computation.instructions.values():
      kind = instruction.opcode.removesuffix("-start")
      channel = re.search(r"channel_id=(\d+)", instruction.attributes)
      key = channel[1] if channel else instruction.name
      if kind not in KINDS or key in by_channel:
        continue
      group = group_size(instruction.attributes, chips=chips)
      source = re.search(r'op_name="([^"]*)"', instruction.attributes)
      by_channel[key] = Collective(
        kind,
        whole_bytes(instruction, group=group),
        group,
        module.turns[name],
        source[1] if source else "",
        type=instruction.type,
      )
  return list(by_channel.values())


def whole_bytes(instruction: Instruction, *, group: int) -> float:
  """See `Collective.size`. A start's result is what goes in, and what comes out."""
  sizes = [array_bytes(array) for array in ARRAY.findall(instruction.type)]
  if instruction.opcode.endswith("-start"):
    return max(sizes)
  return sum(sizes) * (group if instruction.opcode == "reduce-scatter" else 1)


def array_bytes(array: tuple[str, str]) -> float:
  """("f32", "8,128") -> bytes."""
  dtype, shape = array
  bits = re.search(r"\d+", dtype)
  size = SIZES.get(dtype, int(bits[0]) / 8 if bits else 0)
  return size * math.prod(int(length) for length in shape.split(",") if length)


def group_size(attributes: str, *, chips: int) -> int:
  """How many chips exchange: from `replica_groups={{0,1},{2,3}}`, `=[2,4]<=[8]` or
  `=mesh['a'=4,'b'=2] {'a'}`.
  """
  if match := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes):
    sizes = dict(re.findall(r"('\w+')=(\d+)", match[1]))
    return math.prod(int(sizes[axis]) for axis in re.findall(r"'\w+'", match[2]))
  if match := re.search(r"replica_groups=\[(\d+),(\d+)\]<=", attributes):
    return int(match[2])
  if match := re.search(r"replica_groups=\{\{([\d,]+)\}", attributes):
    return len(match[1].split(","))
  if "source_target_pairs" in attributes:
    return 2
  return chips
