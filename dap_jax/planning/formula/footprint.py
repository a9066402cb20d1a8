"""Memory and traffic of a traced step, by rules of thumb for how compilers fuse.

1. An element-wise result is computed where it is read, from its sources, and never lies in memory;
   nor does a matrix product that a single element-wise operation reads.
2. Arrays that lie in memory: matrix products, sums, gathered and random rows, what these read as a
   whole, dropout's masks, and results whose sources are more than `LONG` times their own bytes.
3. Such an array is alive from the kernel that makes it to its last reader, in the order of the
   trace. Every kernel reads all of its sources, and writes its result, once.

No compiler works by just these rules: benchmarks/plan_formula.py compares them with a real one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dap_jax.planning.formula.trace import FlatTrace, Operation

# Other names of the same array.
VIEWS = {"reshape", "transpose", "squeeze", "expand_dims", "copy", "name"}
VIEWS |= {"optimization_barrier", "sharding_constraint"}
# Kernels that read whole arrays, and kernels that can be fused with what makes their inputs.
WHOLE = ("dot_general", "conv_general_dilated", "gather", "sort", "top_k", "scan", "while", "cond")
PICKS = ("gather", "dynamic_slice", "slice", "split", "unstack")  # read as much as they write
KERNELS = (*WHOLE, *PICKS, "dynamic_update_slice", "cumsum", "argmax", "argmin")
LONG = 5


class Footprint(NamedTuple):
  """On one chip.

  Attributes:
    temporary: bytes alive at once at most, beside inputs and outputs.
    traffic: bytes read and written.
    sources: array -> the arrays in memory from which it is computed; itself if it lies there.
  """

  temporary: float
  traffic: float
  sources: dict[int, frozenset[int]]


def is_kernel(operation: Operation) -> bool:
  """Whether its results lie in memory."""
  name = operation.name
  reduces = name.startswith("reduce_") and name != "reduce_precision"
  return name in KERNELS or reduces or name.startswith("scatter")


def footprint(trace: FlatTrace) -> Footprint:
  """Memory and traffic of a step whose outputs take the place of its inputs."""
  stored, fused = stored_arrays(trace)
  roots = roots_of(trace)
  sources = {array: frozenset([array]) for array in trace.inputs}
  born: dict[int, int] = {}  # array -> the place of the operation that makes it
  last: dict[int, int] = {}  # array -> the place of its last reader
  carried: dict[int, int] = {}  # array -> the place of the last loop that begins with it
  inside = [0.0] * (len(trace.operations) + 1)
  traffic = 0.0

  def sources_of(arrays: Iterable[int]) -> frozenset[int]:
    empty: frozenset[int] = frozenset()
    return empty.union(*(sources.get(roots[array], empty) for array in arrays))

  for place, operation in enumerate(trace.operations):
    if operation.name in VIEWS:
      continue
    needed, results = sources_of(operation.arrays()), set(operation.writes)
    if not is_kernel(operation) and not results & stored:
      read = sum(trace.sizes[array] for array in needed)
      if read <= LONG * sum(trace.sizes[array] for array in results):
        sources.update(dict.fromkeys(results, needed))
        continue
      stored |= results
    new = results - fused
    sources.update(
      {array: frozenset([array]) if array in new else frozenset() for array in results}
    )
    born.update(dict.fromkeys(new, place))
    last.update(dict.fromkeys(needed, place))
    carried.update(dict.fromkeys(sources_of(carry_of(operation)), place))
    moved, inside[place] = kernel_cost(trace, operation, needed=needed, new=new)
    traffic += moved
  outputs = [roots[array] for array in trace.outputs if array is not None]
  needed = sources_of(outputs)
  last.update(dict.fromkeys(needed, len(trace.operations)))
  fresh = set(outputs) - needed - set(trace.inputs)  # computed at the end, from the needed arrays
  traffic += sum(trace.sizes[array] for array in (needed - set(outputs)) | fresh)
  lifetimes = {}
  for array, start in born.items():
    end = last.get(array, start)
    lifetimes[array] = start, end - (carried.get(array) == end)  # a loop works in its place
  sources = {array: sources.get(root, frozenset()) for array, root in enumerate(roots)}
  return Footprint(most_alive(trace, lifetimes, inside), traffic, sources)


def carry_of(operation: Operation) -> tuple[int, ...]:
  """The initial carry of a loop, in whose place it goes on."""
  if operation.scan is None:
    return ()
  first = operation.scan.constants
  carry = operation.reads[first : first + operation.scan.carry]
  return tuple(array for array in carry if array is not None)


def kernel_cost(
  trace: FlatTrace, operation: Operation, *, needed: frozenset[int], new: set[int]
) -> tuple[float, float]:
  """Bytes that a kernel moves, and bytes of memory that it needs itself while it runs.

  Args:
    trace: that the operation is part of.
    operation: the kernel.
    needed: arrays in memory that it reads.
    new: its results that lie in memory.
  """
  sizes = trace.sizes
  written = sum(sizes[array] for array in new)
  if operation.bodies:
    costs = [footprint(body) for body in operation.bodies]
    traffic = operation.turns * max(body.traffic for body in costs)
    return traffic, max(body.temporary for body in costs)
  if operation.name in PICKS:
    return sum(min(sizes[array], written) for array in needed) + written, 0.0
  if operation.name == "dynamic_update_slice":
    update = operation.reads[1]
    return 0.0 if update is None else 2 * sizes[update], 0.0
  if operation.name.startswith("scatter"):  # cleared, then added to in the rows that have updates
    rows = sum(sizes[array] for array in needed if sizes[array] < written)
    return written + 3 * rows, 0.0
  return sum(sizes[array] for array in needed) + written, 0.0


def roots_of(trace: FlatTrace) -> list[int]:
  """Array -> the array of which it is a view, or itself."""
  roots = list(range(len(trace.sizes)))
  for operation in trace.operations:
    if operation.name in VIEWS:
      for array, result in zip(operation.reads, operation.writes, strict=False):
        roots[result] = result if array is None else roots[array]
  return roots


def stored_arrays(trace: FlatTrace) -> tuple[set[int], set[int]]:
  """Arrays that lie in memory by rules 1 and 2; and matrix products that are fused into readers."""
  roots, readers = roots_of(trace), readers_of(trace)
  outputs = {roots[array] for array in trace.outputs if array is not None}
  stored, fused, random = set(trace.inputs), set[int](), set[int]()
  for operation in trace.operations:
    if operation.name in WHOLE:
      stored |= {roots[array] for array in operation.arrays()}
    if operation.name == "dot_general":
      product = operation.writes[0]
      while (
        product not in outputs and (result := fused_result(trace, product, readers)) is not None
      ):
        fused.add(product)
        product = result
      stored.add(product)
    elif is_kernel(operation):
      stored |= set(operation.writes)
    elif operation.name in ("random_bits", "threefry2x32") or random & set(operation.arrays()):
      (stored if operation.is_bool else random).update(operation.writes)
  return stored - fused, fused


def readers_of(trace: FlatTrace) -> dict[int, list[Operation]]:
  """Array -> the operations that read it or a view of it."""
  roots = roots_of(trace)
  readers: dict[int, list[Operation]] = {}
  for operation in trace.operations:
    if operation.name not in VIEWS:
      for array in {roots[array] for array in operation.arrays()}:
        readers.setdefault(array, []).append(operation)
  return readers


def fused_result(trace: FlatTrace, array: int, readers: dict[int, list[Operation]]) -> int | None:
  """The result of an array's only reader, if that is element-wise and writes as many bytes."""
  operations = readers.get(array, [])
  if len(operations) != 1 or is_kernel(operations[0]) or len(operations[0].writes) != 1:
    return None
  (result,) = operations[0].writes
  return result if trace.sizes[result] == trace.sizes[array] else None


def most_alive(
  trace: FlatTrace, lifetimes: dict[int, tuple[int, int]], inside: list[float]
) -> float:
  """The largest sum of bytes that are alive at one time.

  Args:
    trace: with the sizes.
    lifetimes: array -> the places of the operations that make it and read it last.
    inside: bytes that each operation needs itself.
  """
  changes = [0.0] * (len(inside) + 1)
  for array, (start, end) in lifetimes.items():
    changes[start] += trace.sizes[array]
    changes[end + 1] -= trace.sizes[array]
  alive = most = 0.0
  for change, extra in zip(changes, inside, strict=False):
    alive += change
    most = max(most, alive + extra)
  return most
