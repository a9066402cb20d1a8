"""Model FLOPs utilisation: how much of what the chips could do went into the model.

MFU as in PaLM (arXiv 2204.02311, appendix B): the FLOPs that a step needs, without those that a
program computes again to save memory, over the peak of the chips. Matrix products alone count, as
`plan` counts them; the peak is that of bfloat16, whatever the step computes in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from dap_jax.distributed import peaks
from dap_jax.training import build
from dap_jax.training.flops import matmul_flops


class Utilisation:
  """Counts the FLOPs of batches.

  Args:
    train_program: of the run, without recomputing: see `of_run`.
    peak: of all devices, FLOP/s.
  """

  def __init__(self, train_program: build.TrainProgram, *, peak: float):
    self.peak = peak
    self._train_program = train_program
    self._known: dict[tuple[int, ...], float] = {}

  def flops(self, batch: Mapping[str, jax.Array]) -> float:
    """FLOPs of a step on all devices together. A batch of a new length is traced, for seconds."""
    shape = batch["ids"].shape
    if shape not in self._known:
      self._known[shape] = matmul_flops(self._train_program.trace(batch).jaxpr)
    return self._known[shape]


def of_run(train_program: build.TrainProgram, **settings: Any) -> Utilisation | None:
  """The utilisation of a run; None where the peak of its devices is not known.

  Args:
    train_program: of the run.
    **settings: the arguments of `build.build` that it was made with.
  """
  peak = peaks.flops_of_mesh(train_program.mesh)
  if peak is None:
    return None
  if settings["program"] != build.ONE_PASS:
    train_program = build.build(**{**settings, "program": dict(build.ONE_PASS)})
  return Utilisation(train_program, peak=peak)
