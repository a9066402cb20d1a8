"""Sides that take turns: seconds of a step of each, and of a large matrix product, by round."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.training_step.batches import Weighted

PEAK_WIDTH = {"cpu": 2048}  # of the matrices, by platform
OTHER_WIDTH = 8192


class Trainer(Protocol):
  """What takes a step."""

  def put(self, batch: dict[str, np.ndarray]) -> Any: ...

  def step(self, batch: Any) -> float: ...


class Side(NamedTuple):
  """Who takes steps, and on which batches: those of one round after the other."""

  trainer: Trainer
  plans: Iterator[list[Weighted]]

  def seconds(self) -> float:
    """Of one round: the mean over its batches by their weights. To place a batch takes no time."""
    total = 0.0
    for weight, batch in next(self.plans):
      placed = self.trainer.put(batch)
      started = time.perf_counter()
      self.trainer.step(placed)
      total += weight * (time.perf_counter() - started)
    return total


def matmul_width() -> int:
  return PEAK_WIDTH.get(jax.devices()[0].platform, OTHER_WIDTH)


def jax_matmul(dtype: str) -> Callable[[], Any]:
  """Multiplies two square matrices of `matmul_width()`, and waits."""
  matrix = jnp.ones((matmul_width(), matmul_width()), dtype)
  product = jax.jit(lambda x: x @ x)
  return lambda: product(matrix).block_until_ready()


def torch_matmul(dtype: str) -> Callable[[], Any]:
  """The same in torch."""
  import torch

  device = "cuda" if torch.cuda.is_available() else "cpu"
  matrix = torch.ones((matmul_width(), matmul_width()), dtype=getattr(torch, dtype), device=device)

  def run() -> None:
    matrix @ matrix
    if device == "cuda":
      torch.cuda.synchronize()

  return run


def take_turns(timed: dict[str, Callable[[], float]], *, rounds: int) -> dict[str, np.ndarray]:
  """Name -> what each of so many rounds gave, float [rounds]; one round before them is dropped."""
  samples: dict[str, list[float]] = {name: [] for name in timed}
  for _ in range(1 + rounds):
    for name, run in timed.items():
      samples[name].append(run())
  return {name: np.array(values[1:]) for name, values in samples.items()}
