"""The checks of `selfcheck`: short, on random tokens, on the machines that a run will use."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from dap_jax.core.train_step import NOTHING_FROZEN, TrainState
from dap_jax.distributed import multihost, peaks, sharding
from dap_jax.planning.step import guess_vocabulary, plan_step
from dap_jax.training import build
from dap_jax.training.flops import matmul_flops
from dap_jax.workdir.checkpointing import Checkpoints

STEPS = 3
LANGUAGES = 37
Batch = dict[str, jax.Array]


class Check(NamedTuple):
  """name: the property; ok: whether it holds; message: its figure, or what is wrong."""

  name: str
  ok: bool
  message: str


class Checks:
  """The checks of one config.

  Args:
    config: the whole config; objectives that need a teacher are left out.
    folder: where a checkpoint can be written, the same for all hosts.
  """

  def __init__(self, config: Mapping[str, Any], *, folder: str):
    of_teacher = {"soft_alignment", "distillation"}
    objectives = {
      name: settings for name, settings in config["objectives"].items() if name not in of_teacher
    }
    self._config = {**config, "objectives": objectives}
    self._config["model"] = {**config["model"], "compute_dtype": "float32"}
    self._folder = epath.Path(folder) / "selfcheck"
    self._vocabulary = guess_vocabulary(config, english_ids=1000)

  def all(self) -> Iterator[Check]:
    """Each check in turn, in the order of a run: each relies on those before it."""
    with jax.default_matmul_precision("float32"):
      train_program, batch = self._train_program()
      state, losses = self._train(train_program, batch)
      yield self._determinism(train_program, batch, state, losses)
      yield self._resume(train_program, batch, state)
      yield self._mesh(losses)
      yield self._microbatches(losses)
      yield self._speed()

  def _train_program(
    self, *, devices: Any = None, **changes: Any
  ) -> tuple[build.TrainProgram, Batch]:
    """The train program and a batch of random tokens, the same whatever the devices."""
    config = {**self._config, **changes}
    train_program, shapes = plan_step(
      config, vocabulary=self._vocabulary, languages=LANGUAGES, devices=devices
    )
    rng = np.random.default_rng(0)
    rows = {name: np.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}
    examples, views, length = rows["ids"].shape
    lengths = rng.integers(3, length + 1, (examples, views, 1))
    rows["mask"] = np.arange(length)[None, None] < lengths
    english_ids = self._vocabulary.english_ids
    assert english_ids is not None, "guess_vocabulary gives them"
    ids = rng.choice(english_ids, rows["ids"].shape)
    rows["ids"] = np.where(rows["mask"], ids, 0).astype(np.int32)
    rows["text_hash"] = rng.integers(0, 2**31 - 1, (examples, views)).astype(np.int32)
    rows["language"][:, 1:] = 1
    return train_program, sharding.put_whole_batch(rows, train_program.mesh)

  def _train(
    self,
    train_program: build.TrainProgram,
    batch: Batch,
    state: TrainState | None = None,
  ) -> tuple[TrainState, list[float]]:
    """Takes `STEPS` steps, from the seed or from a state, which is donated.

    Returns:
      The state and the loss of each step.
    """
    with jax.set_mesh(train_program.mesh):
      state, losses = train_program.init({}) if state is None else state, []
      frozen = NOTHING_FROZEN
      if train_program.abstract_frozen.initial is not None:
        frozen = frozen._replace(initial=jax.tree.map(lambda leaf: leaf.copy(), state.params))
      for _ in range(STEPS):
        state, means = train_program.step(state, batch, frozen)
        losses.append(float(means["loss"].compute()))
    return state, losses

  def _determinism(
    self,
    train_program: build.TrainProgram,
    batch: Batch,
    state: TrainState,
    losses: list[float],
  ) -> Check:
    state_again, losses_again = self._train(train_program, batch)
    same = losses_again == losses and same_bits(state, state_again)
    message = "the same steps twice give the same bits"
    wrong = f"losses {losses}, then {losses_again}"
    return Check("determinism", same, message if same else wrong)

  def _resume(self, train_program: build.TrainProgram, batch: Batch, state: TrainState) -> Check:
    """Saves, restores and goes on; measures how fast the checkpoint is written."""
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    with (
      jax.set_mesh(train_program.mesh),
      Checkpoints(self._folder, keep_last=1, best_metric="") as checkpoints,
    ):
      clock = time.monotonic()
      checkpoints.save(STEPS, state, metrics={})
      checkpoints.wait()
      seconds = time.monotonic() - clock
      restored = checkpoints.restore(train_program.abstract_state)
    assert restored is not None, "it has just been saved"
    straight, expected = self._train(train_program, batch, state)
    resumed, losses = self._train(train_program, batch, restored.state)
    same = losses == expected and same_bits(straight, resumed)
    if multihost.is_first():
      self._folder.rmtree()
    message = f"a resumed run has the bits of a straight one; {size / 1e6:.0f} MB written in"
    message += f" {seconds:.1f} s, {size / 1e6 / seconds:.0f} MB/s"
    return Check("resume", same, message if same else f"losses {expected}, resumed {losses}")

  def _mesh(self, losses: list[float]) -> Check:
    if jax.process_count() > 1 or jax.device_count() == 1:
      return Check("mesh", True, "not compared: one device, or several hosts")
    mesh = {"data": 1, "fsdp": 1, "model": 1}
    train_program, batch = self._train_program(devices=jax.devices()[:1], mesh=mesh)
    return self._near("mesh", losses, self._train(train_program, batch)[1], "one device")

  def _microbatches(self, losses: list[float]) -> Check:
    """Without dropout, whose masks are drawn for each chunk."""
    shards = self._config["mesh"]["fsdp"] * max(1, self._config["mesh"]["data"])
    if self._config["batch_size"] % (2 * max(shards, jax.device_count())):
      return Check("microbatches", True, "not compared: the batch cannot be cut in two")
    model = {**self._config["model"], "dropout": 0.0}
    whole, halves = (
      self._train(*self._train_program(program={**build.ONE_PASS, "microbatches": n}, model=model))
      for n in (1, 2)
    )
    return self._near("microbatches", halves[1], whole[1], "one pass over the batch")

  def _near(self, name: str, losses: list[float], expected: list[float], source: str) -> Check:
    distance = max(abs(a - b) / abs(b) for a, b in zip(losses, expected, strict=True))
    return Check(name, distance < 1e-4, f"losses are {distance:.1e} from those of {source}")

  def _speed(self) -> Check:
    """Steps per second as the config has them, and what share of the peak that is."""
    model = {**self._config["model"], "compute_dtype": "bfloat16"}
    with jax.default_matmul_precision("default"):
      train_program, batch = self._train_program(model=model)
      state, _ = self._train(train_program, batch)
      clock = time.monotonic()
      self._train(train_program, batch, state)
      seconds = (time.monotonic() - clock) / STEPS
    message = f"{seconds * 1e3:.0f} ms a step, {self._config['batch_size'] / seconds:,.0f} pairs/s"
    peak = peaks.flops_of_mesh(train_program.mesh)
    if peak is not None:
      with jax.set_mesh(train_program.mesh):
        flops = matmul_flops(train_program.trace(batch).jaxpr)
      message += f", {flops / seconds / peak:.0%} of the peak of {jax.devices()[0].device_kind}"
    return Check("speed", True, message)


def same_bits(first: TrainState, second: TrainState) -> bool:
  """Whether two states are equal bit for bit, in the shards of this process."""
  return all(
    np.array_equal(a.data, b.data)
    for pair in zip(*map(jax.tree.leaves, (first, second)), strict=True)
    for a, b in zip(*(leaf.addressable_shards for leaf in pair), strict=True)
  )
