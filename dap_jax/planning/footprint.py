"""Memory and traffic of a traced program, by rules of thumb of how compilers fuse.

1. What is made element by element is made where it is read, from the arrays that it is made of, and
   never lies in memory; nor does a product that one such operation alone takes in.
2. Arrays that lie in memory: products, sums, gathered and random rows, what these read as a whole,
   dropout's masks, and what would be made of more than `LONG` times its own bytes.
3. Such an array lives from where it is made to its last reader, in the order of the trace. Every
   kernel reads all arrays that it is made of, and writes its result, once.

These are no compiler's own rules: benchmarks/plan_formula.py compares them with a real one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dap_jax.planning.program import Operation, Program

# Other names of the same array.
VIEWS = ("reshape", "transpose", "squeeze", "expand_dims", "copy", "name")
VIEWS += ("optimization_barrier", "sharding_constraint")
# Kernels that read whole arrays, and kernels into which what they read can be fused.
WHOLE = ("dot_general", "conv_general_dilated", "gather", "sort", "top_k", "scan", "while", "cond")
PICKS = ("gather", "dynamic_slice", "slice", "split", "unstack")  # they read what they give
KERNELS = (*WHOLE, *PICKS, "dynamic_update_slice", "cumsum", "argmax", "argmin")
LONG = 5


class Footprint(NamedTuple):
  """On one chip.

  Attributes:
    temporary: bytes alive at once at most, beside inputs and outputs.
    traffic: bytes read and written.
    sources: array -> the arrays in memory that it is made of, itself if it lies there.
  """

  temporary: float
  traffic: float
  sources: dict[int, frozenset[int]]


def is_kernel(operation: Operation) -> bool:
  """Whether its results lie in memory."""
  name = operation.name
  reduces = name.startswith("reduce_") and name != "reduce_precision"
  return name in KERNELS or reduces or name.startswith("scatter")


def footprint(program: Program) -> Footprint:
  """See `Footprint`; outputs lie where inputs lay."""
  stored, passed_on = stored_arrays(program)
  roots = roots_of(program)
  sources = {array: frozenset([array]) for array in program.inputs}
  born, last, carried = {}, {}, {}
  inside = [0.0] * (len(program.operations) + 1)
  total = 0.0

  def made_of(arrays: Iterable[int]) -> frozenset[int]:
    return frozenset().union(*(sources.get(roots[array], frozenset()) for array in arrays))

  for place, operation in enumerate(program.operations):
    if operation.name in VIEWS:
      continue
    needed, own = made_of(operation.arrays()), set(operation.writes)
    if not is_kernel(operation) and not own & stored:
      read = sum(program.sizes[array] for array in needed)
      if read <= LONG * sum(program.sizes[array] for array in own):
        sources.update(dict.fromkeys(own, needed))
        continue
      stored |= own
    kept = own - passed_on
    sources.update({array: frozenset([array]) if array in kept else frozenset() for array in own})
    born.update(dict.fromkeys(kept, place))
    last.update(dict.fromkeys(needed, place))
    carried.update(dict.fromkeys(made_of(carry_of(operation)), place))
    moved, inside[place] = cost_of(program, operation, needed=needed, kept=kept)
    total += moved
  outputs = [roots[array] for array in program.outputs if array is not None]
  needed = made_of(outputs)
  last.update(dict.fromkeys(needed, len(program.operations)))
  fresh = set(outputs) - needed - set(program.inputs)  # made at last, of what is needed
  total += sum(program.sizes[array] for array in (needed - set(outputs)) | fresh)
  lives = {}
  for array, start in born.items():
    end = last.get(array, start)
    lives[array] = start, end - (carried.get(array) == end)  # the loop goes on in its place
  sources = {array: sources.get(root, frozenset()) for array, root in enumerate(roots)}
  return Footprint(most_alive(program, lives, inside), total, sources)


def carry_of(operation: Operation) -> tuple[int, ...]:
  """What a loop begins with, and goes on in its place."""
  if operation.scan is None:
    return ()
  first = operation.scan.constants
  carry = operation.reads[first : first + operation.scan.carry]
  return tuple(array for array in carry if array is not None)


def cost_of(
  program: Program, operation: Operation, *, needed: frozenset[int], kept: set[int]
) -> tuple[float, float]:
  """Bytes that a kernel moves, and what it takes itself while it runs.

  Args:
    needed: arrays in memory that it is made of.
    kept: its results that lie in memory.
  """
  sizes = program.sizes
  written = sum(sizes[array] for array in kept)
  if operation.inner:
    bodies = [footprint(body) for body in operation.inner]
    traffic = operation.turns * max(body.traffic for body in bodies)
    return traffic, max(body.temporary for body in bodies)
  if operation.name in PICKS:
    return sum(min(sizes[array], written) for array in needed) + written, 0.0
  if operation.name == "dynamic_update_slice":
    return 2 * sizes[operation.reads[1]], 0.0
  if operation.name.startswith("scatter"):  # cleared, then added to where there is something
    rows = sum(sizes[array] for array in needed if sizes[array] < written)
    return written + 3 * rows, 0.0
  return sum(sizes[array] for array in needed) + written, 0.0


def roots_of(program: Program) -> list[int]:
  """Array -> the array of which it is a view, or itself."""
  roots = list(range(len(program.sizes)))
  for operation in program.operations:
    if operation.name in VIEWS:
      for array, result in zip(operation.reads, operation.writes, strict=False):
        roots[result] = result if array is None else roots[array]
  return roots


def stored_arrays(program: Program) -> tuple[set[int], set[int]]:
  """Arrays that lie in memory by rules 1 and 2; and products that are passed on without it."""
  roots, readers = roots_of(program), readers_of(program)
  outputs = {roots[array] for array in program.outputs if array is not None}
  stored, passed_on, random = set(program.inputs), set(), set()
  for operation in program.operations:
    if operation.name in WHOLE:
      stored |= {roots[array] for array in operation.arrays()}
    if operation.name == "dot_general":
      current = operation.writes[0]
      while (after := only_reader(program, current, readers)) and current not in outputs:
        passed_on.add(current)
        current = after
      stored.add(current)
    elif is_kernel(operation):
      stored |= set(operation.writes)
    elif operation.name in ("random_bits", "threefry2x32") or random & set(operation.arrays()):
      (stored if operation.is_bool else random).update(operation.writes)
  return stored - passed_on, passed_on


def readers_of(program: Program) -> dict[int, list[Operation]]:
  """Array -> the operations that read it or a view of it."""
  roots, readers = roots_of(program), {}
  for operation in program.operations:
    if operation.name not in VIEWS:
      for array in {roots[array] for array in operation.arrays()}:
        readers.setdefault(array, []).append(operation)
  return readers


def only_reader(program: Program, array: int, readers: dict[int, list[Operation]]) -> int | None:
  """The result of an array's one reader, if that works element by element on as many bytes."""
  own = readers.get(array, [])
  if len(own) != 1 or is_kernel(own[0]) or len(own[0].writes) != 1:
    return None
  (result,) = own[0].writes
  return result if program.sizes[result] == program.sizes[array] else None


def most_alive(program: Program, lives: dict[int, tuple[int, int]], inside: list[float]) -> float:
  """The largest sum of bytes that are alive at one time.

  Args:
    lives: array -> the operations that make and last read it.
    inside: what each operation takes beside.
  """
  change = [0.0] * (len(inside) + 1)
  for array, (start, end) in lives.items():
    change[start] += program.sizes[array]
    change[end + 1] -= program.sizes[array]
  alive = most = 0.0
  for own, beside in zip(change, inside, strict=False):
    alive += own
    most = max(most, alive + beside)
  return most
