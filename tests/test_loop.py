"""When a run evaluates, saves and logs; how its time between two lines is counted."""

import itertools
import time

import jax.numpy as jnp
import pytest

from dap_jax.core.mean import Mean
from dap_jax.training import metric_accumulator
from dap_jax.training.loop import Schedule
from dap_jax.training.metric_accumulator import MetricAccumulator, NotFinite


def schedule(**changes):
  return Schedule(
    **{"first_step": 10, "steps": 40, "log_steps": 4, "eval_steps": 6, "save_steps": 5, **changes}
  )


def test_a_start_evaluates_and_saves_at_these_steps():
  plan, steps = schedule(), range(10, 41)
  evaluated = [step for step in steps if plan.should_evaluate(step, stopping=False)]
  assert evaluated == [12, 18, 24, 30, 36, 40]
  saved = [step for step in steps if plan.should_save(step, stopping=False, evaluated=False)]
  assert saved == [15, 20, 25, 30, 35, 40]
  assert [step for step in steps if plan.should_log(step)] == [
    12,
    15,
    16,
    20,
    24,
    25,
    28,
    30,
    32,
    35,
    36,
    40,
  ]


def test_the_first_step_of_a_start_has_its_checkpoint():
  plan = schedule(eval_steps=5)
  assert not plan.should_evaluate(10, stopping=False)
  assert not plan.should_save(10, stopping=True, evaluated=False)
  missed = schedule(eval_steps=5, scores_are_missing=True)
  assert missed.should_evaluate(10, stopping=False)
  assert missed.should_save(10, stopping=False, evaluated=True)  # once more, with its scores
  assert not schedule(scores_are_missing=True).should_evaluate(10, stopping=False)  # 6 is due


def test_a_job_that_is_to_stop_saves_and_does_not_evaluate():
  plan = schedule()
  for step in range(11, 40):
    assert not plan.should_evaluate(step, stopping=True)
    assert plan.should_save(step, stopping=True, evaluated=False)


def test_no_line_after_the_step_that_compiles():
  assert not schedule(log_steps=1).should_log(11)
  assert schedule(log_steps=1).should_log(12)


def means(loss, *, broken=False):
  finite = {"loss": Mean.of(jnp.float32(loss)), "grad_norm": Mean.of(jnp.float32(1))}
  return {**finite, "tokens": Mean.of(jnp.float32(30)), "not_finite": Mean.of(jnp.float32(broken))}


def test_a_line_is_the_mean_of_the_finite_steps():
  """Losses 1 and 3; the step between them is told once, by its number."""
  metrics = MetricAccumulator(8, unit="pair", started=time.monotonic())
  metrics.add(5, means(1.0), {})
  assert metrics.new_not_finite() == []
  metrics.add(6, means(jnp.inf, broken=True), {})
  metrics.add(7, means(3.0), {})
  assert metrics.new_not_finite() == [NotFinite(6, float("inf"), 1.0)]
  assert metrics.new_not_finite() == []
  numbers = metrics.compute()
  assert numbers["loss"] == 2.0 and numbers["not_finite"] == 1
  # 3 steps of 8 pairs and 30 tokens in the same time.
  assert numbers["tokens_per_second"] / numbers["pairs_per_second"] == pytest.approx(30 / 8)
  metrics.restart()
  metrics.add(8, means(5.0), {})
  assert metrics.compute()["loss"] == 5.0


class Counted:
  """A `Utilisation` whose batches say what they need."""

  peak = 50.0

  def flops(self, batch):
    return batch["flops"]


def test_the_time_of_an_evaluation_does_not_count(monkeypatch):
  """Ten seconds of evaluation, one of waiting for data, three of the step."""
  now = 100.0
  monkeypatch.setattr(metric_accumulator.time, "monotonic", lambda: now)
  metrics = MetricAccumulator(8, unit="example", started=95.0, utilisation=Counted())
  with metrics.not_timed():
    now += 10
  with metrics.waiting_for_data():
    now += 1
  now += 3
  metrics.add(0, means(1.0), {"flops": 120})
  numbers = metrics.compute()
  assert numbers["examples_per_second"] == 8 / 4
  assert numbers["data_wait"] == 1 / 4
  assert numbers["mfu"] == 120 / 4 / 50
  assert numbers["goodput"] == 3 / 19  # of 5 s before the first batch, and the 14 since
  metrics.restart()
  now += 1
  metrics.add(1, means(1.0), {"flops": 10})
  numbers = metrics.compute()
  assert numbers["mfu"] == 10 / 50 and numbers["goodput"] == 4 / 20


def test_decisions_are_those_of_one_formula():
  """All cases of a small run, against the loop's decisions written as one expression each."""
  for first, step, stop, missing in itertools.product(
    range(5), range(9), (False, True), (False, True)
  ):
    if step < first:
      continue
    plan = Schedule(first, 8, log_steps=2, eval_steps=3, save_steps=2, scores_are_missing=missing)
    last, fresh = step == 8, step > first
    evaluated = (fresh or missing) and (last or step % 3 == 0) and not stop
    saved = (evaluated and not fresh) or (fresh and (last or stop or step % 2 == 0))
    assert plan.should_evaluate(step, stopping=stop) == evaluated
    assert plan.should_save(step, stopping=stop, evaluated=evaluated) == saved
