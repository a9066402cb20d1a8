"""Bytes that a compiled program moves between a chip's memory and its cores, by its HLO text."""

from __future__ import annotations

import math
import re

from dap_jax.planning.compiled.hlo import ARRAY, Computation, Instruction, Module, array_bytes

# Opcodes that move nothing themselves: other names of arrays, and calls of other computations.
SILENT = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota", "after-all"}
SILENT |= {"while", "conditional", "call", "partition-id", "replica-id", "opt-barrier"}
ON_CHIP = re.compile(r"S\([1-9]\d*\)")  # a memory space that is not HBM
# Of their first operand they read no more than they give; these write into it, and read nothing.
PICKS, INTO = ("dynamic-slice", "slice", "gather"), ("dynamic-update-slice", "scatter")
# Inside a fusion they are made element by element, where something asks for them.
VIEWS = ("bitcast", "reshape", "transpose", "copy", "convert")
ALLOCATION = 'custom_call_target="AllocateBuffer"'


def hbm_traffic(module: Module) -> float:
  """About how many bytes a step moves between a chip's HBM and its cores.

  Each instruction outside fusions reads its operands and writes its result once, where they lie in
  HBM; a loop's as often as it turns. Of a stack, of which each turn of a loop reads or updates one
  slice, that slice counts; so do the rows that are gathered from a table or added to it.
  """
  total = 0.0
  for name, computation in module.computations.items():
    if name in module.inside:
      continue
    instructions = computation.instructions.values()
    sizes = {instruction.name: hbm_bytes(instruction.type) for instruction in instructions}
    for instruction in instructions:
      if instruction.opcode not in SILENT and ALLOCATION not in instruction.attributes:
        total += module.turns[name] * moved(module, computation, instruction, sizes)
  return total


def moved(
  module: Module, computation: Computation, instruction: Instruction, sizes: dict[str, float]
) -> float:
  """Bytes of HBM that one instruction reads and writes; sizes: of all arrays of its computation."""
  if instruction.opcode.endswith("-start"):  # its result names source and target of the copy
    ends = [array_bytes(array) for array in ARRAY.findall(instruction.type)]
    return min(sum(sizes.get(name, 0.0) for name in instruction.operands), *ends[:2])
  if instruction.opcode.endswith("-done"):
    return sizes[instruction.name]
  read = sum(
    sizes[name] * share_read(module, computation, instruction, place)
    for place, name in enumerate(instruction.operands)
    if sizes.get(name)
  )
  return read + written(module, computation, instruction.name)


def share_read(module: Module, computation: Computation, user: Instruction, place: int) -> float:
  """The share of an operand that an instruction reads, 0 to 1."""
  if place == 0 and user.opcode in INTO:
    return 0.0
  if place == 0 and user.opcode in PICKS:
    whole = elements(computation.instructions[user.operands[0]].type)
    return min(1.0, elements(user.type) / max(whole, 1))
  if user.opcode == "fusion":
    inner = fused(module, user)
    name = next(
      instruction.name
      for instruction in inner.instructions.values()
      if instruction.opcode == "parameter" and instruction.attributes.startswith(f"{place})")
    )
    return share_needed(module, inner, name)
  return 1.0


def share_needed(module: Module, inner: Computation, name: str) -> float:
  """The share of an array inside a fusion that the fusion's result is made of, 0 to 1."""
  total = 0.0
  for user in inner.instructions.values():
    if name not in user.operands or (user.opcode == "tuple" and user.name == inner.root):
      continue
    is_view = user.opcode in VIEWS or (user.opcode == "fusion" and len(user.operands) == 1)
    if is_view and user.name != inner.root:
      total += share_needed(module, inner, user.name)
    else:
      total += sum(
        share_read(module, inner, user, place)
        for place, operand in enumerate(user.operands)
        if operand == name
      )
  return min(1.0, total)


def written(module: Module, computation: Computation, name: str) -> float:
  """Bytes of HBM that the instruction of this name writes."""
  instruction = computation.instructions[name]
  if instruction.opcode == "tuple":
    return sum(written(module, computation, operand) for operand in instruction.operands)
  if instruction.opcode == "bitcast":
    return written(module, computation, instruction.operands[0])
  if instruction.opcode == "parameter":  # inside a fusion: handed through
    return 0.0
  whole = hbm_bytes(instruction.type)
  if instruction.opcode in INTO and whole:
    update = instruction.operands[1 if instruction.opcode == "dynamic-update-slice" else -1]
    return min(whole, all_bytes(computation.instructions[update].type))
  if instruction.opcode == "fusion":
    inner = fused(module, instruction)
    return min(whole, written(module, inner, inner.root))
  return whole


def fused(module: Module, fusion: Instruction) -> Computation:
  """What a fusion computes."""
  return module.computations[next(name for role, name in fusion.calls() if role == "calls")]


def elements(type_text: str) -> int:
  """How many numbers the first array of a type holds."""
  array = ARRAY.search(type_text)
  assert array is not None, type_text
  return math.prod(int(length) for length in array[2].split(",") if length)


def all_bytes(type_text: str) -> float:
  """Bytes of a type, wherever they lie."""
  return sum(map(array_bytes, ARRAY.findall(type_text)))


def hbm_bytes(type_text: str) -> float:
  """Bytes in HBM of a type as the HLO writes it, `f32[8,128]{1,0:T(8,128)S(1)}` or a tuple."""
  total = 0.0
  for array in ARRAY.finditer(type_text):
    layout = re.match(r"\{[^}]*\}", type_text[array.end() :])
    if not (layout and ON_CHIP.search(layout[0])):
      total += array_bytes((array[1], array[2]))
  return total
