"""Tables whose rows are looked up: how much of their gradients is exchanged."""

from __future__ import annotations

from typing import NamedTuple

from dap_jax.planning.formula.trace import FlatTrace


class RowUpdates(NamedTuple):
  """What is added to the rows of a table's gradient.

  Attributes:
    size: bytes, of one chip's rows of the batch.
    fixed: whether they are the same few rows whatever the batch: [MASK], positions. The chips sum
      these rows, and each then writes the table's gradient by itself.
  """

  size: float
  fixed: bool


def row_updates(trace: FlatTrace) -> dict[int, RowUpdates]:
  """Gradient of a lookup table -> what is added to its rows."""
  varying, updates_of = set(trace.inputs), {}
  for operation in trace.operations:
    if varying.intersection(operation.arrays()):
      varying.update(operation.writes)
    if operation.name in ("scatter-add", "scatter_add"):
      _, ids, updates = operation.reads
      (gradient,) = operation.writes
      if updates is not None:
        fixed = ids is None or ids not in varying
        size = trace.sizes[updates]
        if fixed:
          size = min(size, trace.sizes[gradient])
        updates_of[gradient] = RowUpdates(size, fixed)
  return updates_of
