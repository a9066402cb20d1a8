"""What a save costs a run: how long training waits for it, and how much slower it is meanwhile.

    python -m benchmarks.checkpoint_stall [--config=configs/demo.py] [--saves=5] [--steps=20]

The config's own step and checkpoints, on random ids and one device. Between two saves there are so
many steps; the time of a save is that of the call, during which training waits, and of the whole,
until the checkpoint is complete on disk. The cost of a save is the time of the call, the steps and
the wait for the rest, less the usual time of so many steps, which is the median of those before
the first save; it is what a run loses that saves this often. In seconds: --config=tests/tiny.py
--saves=1 --steps=2.
"""

from __future__ import annotations

import tempfile
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from benchmarks import measuring
from dap_jax.core.train_step import NOTHING_FROZEN
from dap_jax.distributed import sharding
from dap_jax.planning import step as planned_step
from dap_jax.workdir.checkpointing import Checkpoints

CONFIG = config_flags.DEFINE_config_file("config", "configs/demo.py")
SAVES = flags.DEFINE_integer("saves", 5, "How many are measured, after one to warm up.")
STEPS = flags.DEFINE_integer("steps", 20, "Between two saves.")


class Save(NamedTuple):
  """Seconds: of the call, of the steps after it, and of the wait for what was not yet on disk."""

  call: float
  steps: float
  rest: float


class Run:
  """The training of a config on one batch."""

  def __init__(self, config: dict[str, Any]):
    sizes = measuring.plan_sizes(config)
    self._program, shapes = planned_step.plan_step(config, devices=jax.devices()[:1], **sizes)
    rng, size = np.random.default_rng(0), sizes["vocabulary"].size
    batch = {name: random_feature(rng, name, shape, size) for name, shape in shapes.items()}
    batch_size = config["batch_size"]
    self._batch = sharding.put_batch(batch, self._program.mesh, batch_size=batch_size)
    self.state = self._program.init({})

  def step(self) -> None:
    """One update, finished when this returns."""
    self.state, means = self._program.step(self.state, self._batch, NOTHING_FROZEN)
    jax.block_until_ready((self.state, means))

  def bytes_of_state(self) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(self.state))


def random_feature(
  rng: np.random.Generator, name: str, shape: jax.ShapeDtypeStruct, vocabulary: int
) -> np.ndarray:
  """Sentences of full length, no two alike; whatever else there is, is 0."""
  if shape.dtype == bool:
    return np.ones(shape.shape, bool)
  highest = {"ids": vocabulary, "text_hash": 1 << 30}.get(name, 1)
  return rng.integers(highest, size=shape.shape).astype(shape.dtype)


def measure(run: Run, checkpoints: Checkpoints, number: int) -> Save:
  """One save and the steps after it."""
  call = measuring.seconds_of(lambda: checkpoints.save(number, run.state, metrics={}))
  steps = sum(measuring.seconds_of(run.step) for _ in range(STEPS.value))
  return Save(call, steps, measuring.seconds_of(checkpoints.wait))


def main(argv: list[str]) -> None:
  del argv
  run = Run(CONFIG.value.to_dict())
  run.step()  # compiles
  usual = float(np.median([measuring.seconds_of(run.step) for _ in range(STEPS.value)]))
  with (
    tempfile.TemporaryDirectory() as folder,
    Checkpoints(folder, keep_last=1, best_metric="") as checkpoints,
  ):
    saves = [measure(run, checkpoints, number) for number in range(1 + SAVES.value)][1:]
    alone = measuring.seconds_of(lambda: save_alone(run, checkpoints))
  costs = [sum(save) - STEPS.value * usual for save in saves]
  print(f"{measuring.machine('jax', 'orbax-checkpoint')}, median of {SAVES.value} saves\n")
  titles = ("state", "a step, s", "waits for the call, s", f"{STEPS.value} steps meanwhile, s")
  measuring.print_header(*titles, "wait for the rest, s", "cost of a save, s", "without steps, s")
  medians = (*np.median(saves, axis=0), np.median(costs), alone)
  cells = (f"{seconds:.3f}" for seconds in (usual, *medians))
  measuring.print_row(f"{run.bytes_of_state() / 1e6:.1f} MB", *cells)


def save_alone(run: Run, checkpoints: Checkpoints) -> None:
  """A save with nothing beside it, from the call to the complete files."""
  checkpoints.save(SAVES.value + 1, run.state, metrics={})
  checkpoints.wait()


if __name__ == "__main__":
  app.run(main)
