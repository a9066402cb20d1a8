"""A traced function as a flat list of operations and the bytes of the arrays between them.

What is called is written out where it is called, recomputed layers too; only loops and branches
keep what they run as a program of their own. Arrays have numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

# Primitives that only call: their program is written out.
CALLS = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2")
CALLS += ("custom_jvp_call", "custom_vjp_call")


class Program(NamedTuple):
  """Operations in the order in which they were traced.

  Attributes:
    operations: each with the numbers of the arrays that it reads and writes.
    sizes: bytes of every array.
    counts: elements of every array.
    inputs, outputs: numbers of arrays; an output that is a constant is None.
  """

  operations: list[Operation]
  sizes: list[float]
  counts: list[int]
  inputs: list[int]
  outputs: list[int | None]


class ScanInputs(NamedTuple):
  """How many of a loop's inputs are what; they come in this order, then what it goes through.

  Attributes:
    constants: the same in every turn.
    carry: handed from turn to turn; the loop's first results.
  """

  constants: int
  carry: int


class Operation(NamedTuple):
  """One primitive.

  Attributes:
    name: of the primitive.
    reads: numbers of arrays; None for a constant.
    writes: numbers of arrays.
    parameters: of the primitive.
    inner: the bodies of a loop, or the branches.
    turns: how often they run.
    is_bool: whether it gives true and false.
    scan: what the inputs of a `scan` are; None for every other primitive.
  """

  name: str
  reads: tuple[int | None, ...]
  writes: tuple[int, ...]
  parameters: dict[str, Any]
  inner: tuple[Program, ...]
  turns: int
  is_bool: bool
  scan: ScanInputs | None = None

  def arrays(self) -> Iterator[int]:
    """What it reads, but for constants."""
    return (array for array in self.reads if array is not None)


def flatten(jaxpr: Jaxpr | ClosedJaxpr) -> Program:
  """A jaxpr -> `Program`, with the sizes of whole arrays, on however many devices they lie."""
  jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
  own = Program([], [], [], [], [])
  numbers = {var: new_array(own, var) for var in (*jaxpr.constvars, *jaxpr.invars)}
  own.inputs.extend(numbers[var] for var in jaxpr.invars)
  write_out(own, jaxpr, numbers)
  own.outputs.extend(number_of(var, numbers) for var in jaxpr.outvars)
  return own


def new_array(program: Program, var: Any) -> int:
  """Enters an array; returns its number."""
  count = math.prod(var.aval.shape)
  program.counts.append(count)
  program.sizes.append(count * getattr(var.aval.dtype, "itemsize", 8))  # a PRNG key has none
  return len(program.sizes) - 1


def number_of(var: Any, numbers: dict[Any, int]) -> int | None:
  """The number of an array; None for a constant."""
  return None if isinstance(var, Literal) else numbers[var]


def write_out(program: Program, jaxpr: Jaxpr, numbers: dict[Any, int]) -> None:
  """Enters the operations of a jaxpr; `numbers` gains all of its arrays."""
  for equation in jaxpr.eqns:
    name, parameters = equation.primitive.name, equation.params
    called = next(
      (parameters[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in parameters), None
    )
    reads = tuple(number_of(var, numbers) for var in equation.invars)
    if name in CALLS and called is not None:
      called = getattr(called, "jaxpr", called)
      own = {var: new_array(program, var) for var in called.constvars}
      for var, number in zip(called.invars, reads, strict=True):
        own[var] = new_array(program, var) if number is None else number
      write_out(program, called, own)
      for var, result in zip(equation.outvars, called.outvars, strict=True):
        number = number_of(result, own)
        numbers[var] = new_array(program, var) if number is None else number
      continue
    writes = tuple(new_array(program, var) for var in equation.outvars)
    numbers.update(zip(equation.outvars, writes, strict=True))
    is_bool = any(var.aval.dtype == bool for var in equation.outvars)
    inner, turns = bodies(name, parameters)
    scan = scan_inputs(equation) if name == "scan" else None
    program.operations.append(
      Operation(name, reads, writes, parameters, inner, turns, is_bool, scan)
    )


def scan_inputs(equation: Any) -> ScanInputs:
  """What the inputs of a `scan` are, told by their ranks.

  The primitive's own parameters say it too, but jax 0.12 has renamed them (`num_consts` and
  `num_carry` are no more). Its body has one axis less of what is sliced and of what is stacked.
  """
  body = getattr(equation.params["jaxpr"], "jaxpr", equation.params["jaxpr"])

  def of_equal_rank(outside: Any, inside: Any) -> int:
    pairs = zip(outside, inside, strict=True)
    return sum(len(outer.aval.shape) == len(inner.aval.shape) for outer, inner in pairs)

  carry = of_equal_rank(equation.outvars, body.outvars)
  return ScanInputs(of_equal_rank(equation.invars, body.invars) - carry, carry)


def bodies(name: str, parameters: dict[str, Any]) -> tuple[tuple[Program, ...], int]:
  """What a loop or a branch runs, and how often; of a loop whose turns nobody knows, once."""
  if name == "scan":
    return (flatten(parameters["jaxpr"]),), parameters["length"]
  if name == "while":
    return (flatten(parameters["body_jaxpr"]),), 1
  if name == "cond":
    return tuple(map(flatten, parameters["branches"])), 1
  return (), 1


def share_rows(twice: Program, four_times: Program, *, shards: int) -> Program:
  """The sizes on one chip, where chips share the rows of the batch.

  An array that is larger where the batch is larger is of rows; a chip has its part of it. Every
  other array (parameters, their gradients) it has whole. No trace is of the batch itself, since one
  row is traced otherwise than several.

  Args:
    twice, four_times: of the step on one device with so many times the batch's rows.
    shards: chips that share the rows.
  """
  sizes = []
  for size, larger in zip(twice.sizes, four_times.sizes, strict=True):
    growth = larger / max(size, 1)  # 2; 4 of rows by rows; 1 of what has no rows
    sizes.append(size / growth / shards if larger > size else size)
  operations = []
  for own, other in zip(twice.operations, four_times.operations, strict=True):
    assert own.name == other.name, "a step is the same whatever the batch"
    pairs = zip(own.inner, other.inner, strict=True)
    inner = tuple(share_rows(*pair, shards=shards) for pair in pairs)
    operations.append(own._replace(inner=inner))
  return twice._replace(operations=operations, sizes=sizes)
