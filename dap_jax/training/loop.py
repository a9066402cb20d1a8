"""The training loop: evaluate(n), save(n), batch(n), step; and what is measured on the way."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from dap_jax import evals
from dap_jax.core.mean import Mean
from dap_jax.core.train_step import Frozen, TrainState
from dap_jax.data import store
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.distributed import multihost, sharding
from dap_jax.distributed.preemption import Preemption
from dap_jax.distributed.watchdog import Watchdog
from dap_jax.evals.retrieval import retrieval
from dap_jax.inference.embedder import Embedder
from dap_jax.training import build
from dap_jax.training.metric_writer import MetricWriter
from dap_jax.utils.errors import NotFiniteError, UserError
from dap_jax.workdir import checkpointing


class Window:
  """The means and the clock since the last line of metrics.jsonl."""

  def __init__(self, batch_size: int):
    self.batch_size, self.skipped = batch_size, 0
    self.restart()

  def restart(self) -> None:
    self._means: list[dict[str, Mean]] = []
    self._checked = 0
    self.restart_clock()

  def restart_clock(self) -> None:
    self._clock, self._steps, self.waited = time.monotonic(), 0, 0.0

  def exclude(self, seconds: float) -> None:
    """Takes time that was not spent on steps off the clock."""
    self._clock += seconds

  def add(self, means: dict[str, Mean]) -> None:
    """Takes a step's means, still on the device, and lets the device be one step behind."""
    if self._means:
      jax.block_until_ready(self._means[-1]["loss"])
    self._means.append(means)
    self._steps += 1

  def broken(self) -> list[tuple[int, float, float]]:
    """The steps that were not finite since this was last asked: how many ago, loss, gradient."""
    fetched = jax.device_get(self._means[self._checked :])
    self._checked = len(self._means)
    values = [[float(m[name].compute()) for name in ("loss", "grad_norm")] for m in fetched]
    return [
      (len(fetched) - i, *values[i]) for i, m in enumerate(fetched) if m["not_finite"].total > 0
    ]

  def compute(self) -> dict[str, float]:
    """Numbers of one line: means over the window's steps that were finite, and the speed."""
    fetched = jax.device_get(self._means)
    elapsed = time.monotonic() - self._clock
    broken = sum(float(means["not_finite"].total) for means in fetched)
    kept = [means for means in fetched if not means.pop("not_finite").total] or fetched
    total = kept[0]
    for means in kept[1:]:
      total = {name: mean.merge(means[name]) for name, mean in total.items()}
    numbers = {name: float(mean.total / max(mean.count, 1)) for name, mean in total.items()}
    tokens = numbers.pop("tokens")
    if broken:  # where no step was finite, there are no means
      numbers = {name: value for name, value in numbers.items() if math.isfinite(value)}
      numbers["not_finite"] = broken
    numbers["pairs_per_second"] = self._steps * self.batch_size / elapsed
    numbers["tokens_per_second"] = self._steps * tokens / elapsed
    numbers["data_wait"] = self.waited / elapsed
    return numbers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
  """The loop and what it holds.

  Attributes:
    train_program, corpus, tokens: the model, what it trains on, its tokenizer.
    batches: this process's rows of every batch, from the first step on.
    checkpoints, preemption, writer: where it saves, when it is to stop, what it writes.
    model: the config's `model` section.
    suites: benchmarks beside held-out retrieval, name -> folder.
    evaluated: whether the step it starts from has its scores.
    frozen: parameters that no step changes: a teacher's, those that the run began with.
    watchdog: which is told that the run goes on.
    batch_at: number -> the whole global batch, for what is to be looked at again.
    skip_not_finite: steps that may be passed over.
  """

  train_program: build.TrainProgram
  corpus: store.Corpus
  tokens: Tokenizer
  batches: Iterator[dict[str, np.ndarray]]
  checkpoints: checkpointing.Checkpoints
  preemption: Preemption
  writer: MetricWriter
  model: Mapping[str, Any]
  suites: Mapping[str, str]
  evaluated: bool
  frozen: Frozen
  watchdog: Watchdog
  batch_at: Callable[[int], dict[str, np.ndarray]]
  skip_not_finite: int

  @multihost.together()
  def loop(
    self,
    state: TrainState,
    *,
    first_step: int,
    steps: int,
    batch_size: int,
    log_steps: int,
    eval_steps: int,
    save_steps: int,
    pivot: str,
    started: float,
  ) -> None:
    """Steps until the last one, or until the job is to be stopped."""
    step = first_step
    window = Window(batch_size * (self.corpus.views - 1))
    while True:
      self.watchdog.alive()
      last, fresh = step == steps, step > first_step
      stop = self.preemption.requested(step)
      scores: dict[str, float] = {}
      # A start may find that the one before it was stopped where it should have evaluated.
      waiting = fresh or (step > 0 and not self.evaluated)
      if waiting and (last or step % eval_steps == 0) and not stop:
        clock = time.monotonic()
        self._refuse_broken(window, step)
        with self.watchdog.paused():
          scores = self._evaluate_or_save(state, step, pivot=pivot)
        window.exclude(time.monotonic() - clock)
      if scores and not fresh or fresh and (last or stop or step % save_steps == 0):
        self._refuse_broken(window, step)
        self.checkpoints.save(step, state, metrics=scores)
      if last or stop:
        break
      batch = self._next_batch(window, batch_size)
      # The first step of this start compiles, which may take long and is no measure of speed.
      patience = contextlib.nullcontext() if fresh else self.watchdog.paused()
      with patience, jax.transfer_guard("disallow"):
        state, means = self.train_program.step(state, batch, self.frozen)
        if not fresh:
          jax.block_until_ready(means)
      step += 1
      window.add(means)
      self.writer.advance()
      if not fresh:
        self.writer.announce(f"first step done {time.monotonic() - started:.1f} s after the start")
        window.restart_clock()
      elif step % log_steps == 0 or step == steps:
        self._refuse_broken(window, step)
        self._log(step, window, steps=steps)
    self.checkpoints.wait()
    self.writer.announce(
      f"stopped at step {step} as asked; the same command resumes"
      if stop and not last
      else f"finished at step {step}; best checkpoint: step {self.checkpoints.best_step()}"
    )

  def _refuse_broken(self, window: Window, step: int) -> None:
    """Tells of steps that were not finite; raises NotFiniteError where they are too many."""
    for ago, loss, norm in window.broken():
      window.skipped += 1
      number = step - ago
      said = f"step {number} is not finite: loss {loss:.3g}, gradient {norm:.3g}; nothing changed"
      if window.skipped <= self.skip_not_finite:
        self.writer.announce(f"{said}; skip_not_finite={self.skip_not_finite}, so it goes on")
        continue
      self.checkpoints.wait()  # all processes are here: none of them leaves a save half done
      kept = self.writer.keep_batch(number, self.batch_at)
      raise NotFiniteError(
        f"{said}. Its batch is in {kept}; --replay_step={number} looks at it again. A lower"
        " optimizer.learning_rate may cure it, or skip_not_finite pass over such steps"
      )

  def _evaluate_or_save(self, state: TrainState, step: int, *, pivot: str) -> dict[str, float]:
    """`evaluate`; where a benchmark's files are wrong, the steps so far are not lost."""
    try:
      return self.evaluate(state, step, pivot=pivot)
    except NotFiniteError:  # not worth keeping: the newest checkpoint is the way back
      raise
    except UserError:
      self.checkpoints.save(step, state, metrics={})
      self.checkpoints.wait()
      raise

  def _next_batch(self, window: Window, batch_size: int) -> dict[str, jax.Array]:
    clock = time.monotonic()
    rows = next(self.batches)
    window.waited += time.monotonic() - clock
    return sharding.put_batch(rows, self.train_program.mesh, batch_size=batch_size)

  def _log(self, step: int, window: Window, *, steps: int) -> None:
    metrics = window.compute()
    metrics["learning_rate"] = float(self.train_program.learning_rate(step - 1))
    self.writer.write(step, metrics)
    speed = metrics["pairs_per_second"]
    text = f"loss {metrics.get('loss', math.nan):.3f}  {speed:.0f} pairs/s"
    left = (steps - step) * window.batch_size / speed
    self.writer.say(step, text, seconds_left=left)
    window.restart()

  def evaluate(self, state: TrainState, step: int, *, pivot: str) -> dict[str, float]:
    """Held-out retrieval and the config's suites -> `eval/SUITE/METRIC`, written and returned."""
    model = Embedder(
      network=self.train_program.model,
      params=state.params,
      model=self.model,
      tokenizer=self.tokens,
      max_tokens=self.corpus.info["max_tokens"],
      step=step,
      mesh=self.train_program.mesh,
      changed={},
    )
    found = {"retrieval": retrieval(self.corpus.heldout, model.encode, pivot=pivot)}
    for suite, data in self.suites.items():
      protocol, result = evals.run_suite(suite, model, data)
      found[suite] = result.scores
      self.writer.keep_protocol(suite, protocol)
    scores = {
      f"eval/{suite}/{name}": value for suite, own in found.items() for name, value in own.items()
    }
    self.writer.write(step, scores)
    to, back = (found["retrieval"][f"{way}_pivot_accuracy"] for way in ("to", "from"))
    self.writer.announce(f"step {step}: held-out retrieval to {pivot} {to:.3f}, from it {back:.3f}")
    if (metric := self.checkpoints.best_metric) and metric not in scores:
      self.writer.announce(f"no best checkpoint is kept: best_metric={metric} is none of them")
    return scores
