"""What is measured between two lines of metrics.jsonl: means on the device, and the clock."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax

from dap_jax.core.mean import Mean
from dap_jax.training.utilisation import Utilisation


class NotFinite(NamedTuple):
  """A step that changed nothing. step: its number; loss, grad_norm: one of them is not finite."""

  step: int
  loss: float
  grad_norm: float


class MetricAccumulator:
  """The means of the steps since the last line, and how the time between the lines was spent.

  The means stay on the device until they are needed, so that the host does not wait for each step.

  Args:
    examples_per_step: what one step trains on.
    unit: what an example is called in the name of the speed, `{unit}s_per_second`.
    started: `time.monotonic()` at the start, from which goodput counts.
    utilisation: counts FLOPs; None where there is no peak to compare them with.
  """

  def __init__(
    self,
    examples_per_step: int,
    *,
    unit: str,
    started: float,
    utilisation: Utilisation | None = None,
  ):
    self.examples_per_step, self.unit = examples_per_step, unit
    self._born, self._utilisation, self._productive_s = started, utilisation, 0.0
    self.restart()

  def restart(self) -> None:
    """Begins a new line."""
    self._means: list[tuple[int, dict[str, Mean]]] = []
    self._checked = 0
    self.restart_clock()

  def restart_clock(self) -> None:
    """Begins to measure the speed anew; the means stay."""
    self._started, self._steps, self._waited_s = time.monotonic(), 0, 0.0
    self._flops = 0.0

  @contextlib.contextmanager
  def not_timed(self) -> Iterator[None]:
    """Around what is not spent on steps, such as an evaluation."""
    started = time.monotonic()
    try:
      yield
    finally:
      self._started += time.monotonic() - started

  @contextlib.contextmanager
  def waiting_for_data(self) -> Iterator[None]:
    """Around what draws a batch; `data_wait` is its share of the time."""
    started = time.monotonic()
    yield
    self._waited_s += time.monotonic() - started

  def add(self, step: int, means: dict[str, Mean], batch: Mapping[str, jax.Array]) -> None:
    """Takes a step's means, still on the device, and lets the device be one step behind.

    Args:
      step: its number.
      means: of the step.
      batch: what it was computed on.
    """
    if self._means:
      jax.block_until_ready(self._means[-1][1]["loss"])
    self._means.append((step, means))
    self._steps += 1
    if self._utilisation:
      with self.not_timed():
        self._flops += self._utilisation.flops(batch)

  def new_not_finite(self) -> list[NotFinite]:
    """The steps since the last call whose loss or gradient is not finite. Waits for the device."""
    fetched = jax.device_get(self._means[self._checked :])
    self._checked = len(self._means)
    return [
      NotFinite(step, float(means["loss"].compute()), float(means["grad_norm"].compute()))
      for step, means in fetched
      if means["not_finite"].total > 0
    ]

  def compute(self) -> dict[str, float]:
    """The numbers of one line: means over the steps that were finite, and the speed.

    `mfu`: see `utilisation`. `goodput`: the share of all the time since the start that went into
    steps; the rest went into starting, compiling, waiting for data, evaluating and saving.
    """
    fetched = [means for _, means in jax.device_get(self._means)]
    elapsed = time.monotonic() - self._started
    not_finite = sum(float(means["not_finite"].total) for means in fetched)
    finite = [means for means in fetched if not means.pop("not_finite").total] or fetched
    total = finite[0]
    for means in finite[1:]:
      total = {name: mean.merge(means[name]) for name, mean in total.items()}
    numbers = {name: float(mean.total / max(mean.count, 1)) for name, mean in total.items()}
    tokens = numbers.pop("tokens")
    if not_finite:  # where no step was finite, there are no means
      numbers = {name: value for name, value in numbers.items() if math.isfinite(value)}
      numbers["not_finite"] = not_finite
    numbers[self.speed] = self._steps * self.examples_per_step / elapsed
    numbers["tokens_per_second"] = self._steps * tokens / elapsed
    numbers["data_wait"] = self._waited_s / elapsed
    if self._utilisation:
      numbers["mfu"] = self._flops / elapsed / self._utilisation.peak
    self._productive_s += elapsed - self._waited_s
    numbers["goodput"] = self._productive_s / (time.monotonic() - self._born)
    return numbers

  @property
  def speed(self) -> str:
    """The name of the speed among the numbers."""
    return f"{self.unit}s_per_second"
