"""Tables whose rows are looked up: of which parameters, and how much of a gradient is exchanged."""

from __future__ import annotations

from dap_jax.planning.formula.trace import FlatTrace, Operation


def is_lookup_table(array: int, readers: dict[int, list[Operation]]) -> bool:
  """Whether only rows are read of a parameter, or of its copy in the compute dtype."""
  operations = list(readers.get(array, []))
  for operation in tuple(operations):
    if operation.name == "convert_element_type":
      operations += readers.get(operation.writes[0], [])
  names = {operation.name for operation in operations}
  return "gather" in names and "dot_general" not in names


def summed_rows(trace: FlatTrace) -> dict[int, float]:
  """Gradients of tables that are read at the same few rows whatever the batch: [MASK], positions.

  The chips sum these rows, and each then writes the table's gradient by itself.

  Returns:
    Gradient -> bytes of its rows, where they are fewer than the table's.
  """
  varying, rows = set(trace.inputs), {}
  for operation in trace.operations:
    if varying.intersection(operation.arrays()):
      varying.update(operation.writes)
    if operation.name in ("scatter-add", "scatter_add"):
      _, ids, updates = operation.reads
      (gradient,) = operation.writes
      if updates is not None and (ids is None or ids not in varying):
        rows[gradient] = min(trace.sizes[updates], trace.sizes[gradient])
  return rows
