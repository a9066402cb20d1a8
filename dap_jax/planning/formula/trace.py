"""A traced function as a flat list of operations, with the bytes of the arrays between them.

Called functions are inlined, recomputed layers too; only loops and branches keep their bodies, as
traces of their own. Arrays are numbered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

# Primitives that only call a function: it is inlined.
CALLS = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2"}
CALLS |= {"custom_jvp_call", "custom_vjp_call"}


class FlatTrace(NamedTuple):
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
  """How the inputs of a `scan` divide: constants, then the carry, then the arrays that are sliced.

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
    bodies: of a loop, or of the branches.
    turns: how often the bodies run.
    is_bool: whether a result is boolean.
    scan: of a `scan`, how its inputs divide; None for every other primitive.
  """

  name: str
  reads: tuple[int | None, ...]
  writes: tuple[int, ...]
  parameters: dict[str, Any]
  bodies: tuple[FlatTrace, ...]
  turns: int
  is_bool: bool
  scan: ScanInputs | None = None

  def arrays(self) -> Iterator[int]:
    """The arrays that it reads; constants have none."""
    return (array for array in self.reads if array is not None)


def flat_trace(jaxpr: Jaxpr | ClosedJaxpr) -> FlatTrace:
  """Flattens a jaxpr; the sizes are of whole arrays, on however many devices they lie."""
  jaxpr = open_jaxpr(jaxpr)
  trace = FlatTrace([], [], [], [], [])
  numbers = {var: new_array(trace, var) for var in (*jaxpr.constvars, *jaxpr.invars)}
  trace.inputs.extend(numbers[var] for var in jaxpr.invars)
  inline(trace, jaxpr, numbers)
  trace.outputs.extend(number_of(var, numbers) for var in jaxpr.outvars)
  return trace


def open_jaxpr(jaxpr: Jaxpr | ClosedJaxpr) -> Jaxpr:
  """A jaxpr without the values of its constants."""
  return jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr


def new_array(trace: FlatTrace, var: Any) -> int:
  """Adds an array; returns its number."""
  count = math.prod(var.aval.shape)
  trace.counts.append(count)
  trace.sizes.append(count * getattr(var.aval.dtype, "itemsize", 8))  # a PRNG key has none
  return len(trace.sizes) - 1


def number_of(var: Any, numbers: dict[Any, int]) -> int | None:
  """The number of an array; None for a constant."""
  return None if isinstance(var, Literal) else numbers[var]


def inline(trace: FlatTrace, jaxpr: Jaxpr, numbers: dict[Any, int]) -> None:
  """Adds the operations of a jaxpr; `numbers` gains all of its arrays."""
  for equation in jaxpr.eqns:
    name, parameters = equation.primitive.name, equation.params
    called = next(
      (parameters[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in parameters), None
    )
    reads = tuple(number_of(var, numbers) for var in equation.invars)
    if name in CALLS and called is not None:
      called = open_jaxpr(called)
      inside = {var: new_array(trace, var) for var in called.constvars}
      for var, number in zip(called.invars, reads, strict=True):
        inside[var] = new_array(trace, var) if number is None else number
      inline(trace, called, inside)
      for var, result in zip(equation.outvars, called.outvars, strict=True):
        number = number_of(result, inside)
        numbers[var] = new_array(trace, var) if number is None else number
      continue
    writes = tuple(new_array(trace, var) for var in equation.outvars)
    numbers.update(zip(equation.outvars, writes, strict=True))
    is_bool = any(getattr(var.aval, "dtype", None) == np.dtype(bool) for var in equation.outvars)
    bodies, turns = bodies_of(name, parameters)
    scan = scan_inputs(equation) if name == "scan" else None
    trace.operations.append(
      Operation(name, reads, writes, parameters, bodies, turns, is_bool, scan)
    )


def scan_inputs(equation: Any) -> ScanInputs:
  """How the inputs of a `scan` divide, by comparing ranks with those inside its body.

  The body sees one axis less of the arrays that are sliced or stacked. The primitive's parameters
  say it too, but jax 0.12 renamed them: `num_consts` and `num_carry` of jax 0.10 are gone.
  """
  body = open_jaxpr(equation.params["jaxpr"])

  def of_equal_rank(outside: Any, inside: Any) -> int:
    pairs = zip(outside, inside, strict=True)
    return sum(len(outer.aval.shape) == len(inner.aval.shape) for outer, inner in pairs)

  carry = of_equal_rank(equation.outvars, body.outvars)
  return ScanInputs(of_equal_rank(equation.invars, body.invars) - carry, carry)


def bodies_of(name: str, parameters: dict[str, Any]) -> tuple[tuple[FlatTrace, ...], int]:
  """What a loop or a branch runs, and how often; a `while` loop, whose turns are unknown, once."""
  if name == "scan":
    return (flat_trace(parameters["jaxpr"]),), parameters["length"]
  if name == "while":
    return (flat_trace(parameters["body_jaxpr"]),), 1
  if name == "cond":
    return tuple(map(flat_trace, parameters["branches"])), 1
  return (), 1


def share_rows(twice: FlatTrace, four_times: FlatTrace, *, shards: int) -> FlatTrace:
  """The sizes on one chip, where chips share the rows of the batch.

  An array that is larger where the batch is larger consists of rows, of which a chip has its part.
  Every other array (a parameter, its gradient) is whole on every chip. The batch itself is not
  traced, since a batch of one row is traced otherwise than one of several.

  Args:
    twice, four_times: of the step on one device with so many times the batch's rows.
    shards: chips that share the rows.
  """
  sizes = []
  for size, larger in zip(twice.sizes, four_times.sizes, strict=True):
    growth = larger / max(size, 1)  # 2; 4 of rows by rows; 1 of what has no rows
    sizes.append(size / growth / shards if larger > size else size)
  operations = []
  for operation, other in zip(twice.operations, four_times.operations, strict=True):
    assert operation.name == other.name, "a step is the same whatever the batch"
    pairs = zip(operation.bodies, other.bodies, strict=True)
    bodies = tuple(share_rows(*pair, shards=shards) for pair in pairs)
    operations.append(operation._replace(bodies=bodies))
  return twice._replace(operations=operations, sizes=sizes)
