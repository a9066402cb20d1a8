"""A frozen teacher: its vectors of the training texts, made in the step or read from files."""

from __future__ import annotations

from typing import Any, NamedTuple

from dap_jax.data.store import Extra
from dap_jax.model.dual_alignment import DualAlignment


class Teacher(NamedTuple):
  """What a run needs of a teacher.

  Attributes:
    network: the network and its parameters; None where the vectors are given.
    extra: what `data.store` makes of the texts: the teacher's ids of them, or its vectors.
    width: D_T of its vectors.
  """

  network: tuple[DualAlignment, Any] | None
  extra: Extra
  width: int


def load(*, pivot: str) -> Teacher:
  """To be written."""
  raise NotImplementedError
