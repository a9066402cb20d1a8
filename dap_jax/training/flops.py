"""FLOPs of a traced function: its matrix multiplications, times the turns of the loops around."""

from __future__ import annotations

import math
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr


def matmul_flops(jaxpr: Jaxpr | ClosedJaxpr) -> float:
  """Multiplications and additions of all dot products, over all devices together.

  The compiler's own count takes the body of a loop once, whatever its turns. Of a branch the dearer
  side counts.

  Raises:
    ValueError: a `while` loop multiplies matrices, so nobody knows how often.
  """
  total = 0.0
  for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
    name = equation.primitive.name
    if name == "dot_general":
      total += dot_flops(equation)
      continue
    inner = [matmul_flops(called) for called in inner_jaxprs(equation.params)]
    if name == "scan":
      total += equation.params["length"] * sum(inner)
    elif name == "cond":
      total += max(inner, default=0.0)
    elif name == "while" and any(inner):
      raise ValueError("a while loop multiplies matrices: nobody knows how often")
    elif name.startswith("custom_"):  # the function itself; its derivatives are inlined
      total += inner[0] if inner else 0.0
    else:
      total += sum(inner)
  return total


def dot_flops(equation: Any) -> float:
  """Of one dot product: two for every element of the result and of the contracted axes."""
  (contracted, _), _ = equation.params["dimension_numbers"]
  left, result = equation.invars[0].aval, equation.outvars[0].aval
  return 2.0 * math.prod(result.shape) * math.prod(left.shape[axis] for axis in contracted)


def inner_jaxprs(parameters: dict[str, Any]) -> list[Jaxpr | ClosedJaxpr]:
  """The functions that an equation calls."""
  jaxprs: list[Jaxpr | ClosedJaxpr] = []
  for value in parameters.values():
    values = value if isinstance(value, tuple | list) else [value]
    jaxprs += [each for each in values if isinstance(each, Jaxpr | ClosedJaxpr)]
  return jaxprs
