"""What goes wrong in a run is told in one line, harms nothing, and can be looked at again."""

import contextlib
import re
import resource
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dap_jax.core import train_step
from dap_jax.core.mean import Mean
from dap_jax.core.objective import Objective
from dap_jax.core.train_step import Frozen, TrainState
from dap_jax.distributed import sharding
from dap_jax.distributed.watchdog import Watchdog
from dap_jax.training.metric_writer import MetricWriter
from dap_jax.utils.errors import UserError
from dap_jax.workdir import checkpointing
from tests.commands import ROOT, lines_of
from tests.models import drawn
from tests.test_checkpoint import abstract_of, is_state_of, state_of
from tests.test_objectives import VOCABULARY, batch_of, tiny


def poisoned(context):
  """An objective that is NaN where a batch has the id 29."""
  bad = (context.batch["ids"] == 29).any()
  return Mean.of(jnp.where(bad, jnp.nan, context.z**2)), {}


def test_a_step_that_is_not_finite_changes_nothing_but_its_number():
  model, optimizer = tiny(), optax.adam(1e-2)
  good = batch_of([[4, 4], [5, 5]])
  good["ids"] = jnp.where(good["ids"] == 29, 28, good["ids"])
  bad = good | {"ids": good["ids"].at[0, 0, 1].set(29)}
  params = drawn(model)

  @jax.jit
  def step(state, batch):
    return train_step.train_step(
      state,
      batch,
      Frozen(),
      0,
      model=model,
      objectives={"poisoned": Objective(1.0, poisoned)},
      vocabulary=VOCABULARY,
      optimizer=optimizer,
      teacher=None,
      microbatches=1,
    )

  state = TrainState(jnp.int32(0), params, optimizer.init(params))
  state, means = step(state, good)
  assert means["not_finite"].compute() == 0
  after, means = step(state, bad)
  assert means["not_finite"].compute() == 1
  assert not np.isfinite(means["loss"].compute())
  assert after.step == 2
  jax.tree.map(np.testing.assert_array_equal, after.params, state.params)
  jax.tree.map(np.testing.assert_array_equal, after.opt_state, state.opt_state)
  later, _ = step(after, good)
  assert not np.array_equal(later.params["projection"]["bias"], after.params["projection"]["bias"])


DIVERGING = ("--config.optimizer.learning_rate=1e30", "--config.optimizer.warmup_steps=0")


def test_a_run_that_diverges_says_where_and_keeps_the_batch(commands):
  run = commands.prepared("diverging")
  output = commands.fail(*commands.train_flags(run, *DIVERGING))
  step = int(output.split("step ")[1].split(" ")[0])
  assert f"--replay_step={step}" in output
  assert "optimizer.learning_rate" in output
  with np.load(run / "not_finite" / f"{step}.npz") as batch:
    assert batch["ids"].shape[:2] == (16, 2)
  assert not any((run / "checkpoints").glob("[0-9]*"))  # nothing broken is kept


def test_steps_that_may_be_passed_over_are_counted(commands):
  run = commands.prepared("skipping")
  flags = commands.train_flags(run, *DIVERGING, "--config.skip_not_finite=60")
  output = commands.run(*flags, "--config.steps=20", "--config.eval_steps=40", status=1)
  assert "skip_not_finite=60, so it goes on" in output
  assert "vectors are not finite" in output  # the evaluation at the end has no number to give
  counted = sum(line.get("not_finite", 0) for line in lines_of(run))
  assert counted == output.count("so it goes on") > 0
  # What is written stays JSON.
  assert all(np.isfinite(list(line.values())).all() for line in lines_of(run))


def test_one_step_again(commands):
  """The replayed step 37 has the very figures that the run had, from the checkpoint of step 30."""
  run = commands.prepared("replayed")
  flags = commands.train_flags(run, "--config.steps=40", "--config.log_steps=1")
  commands.run(*flags)
  before = sorted(path.name for path in run.rglob("*"))
  output = commands.run(
    *commands.train_flags(run, "--config.log_steps=1", "--config.steps=40"), "--replay_step=37"
  )
  assert sorted(path.name for path in run.rglob("*")) == before
  (line,) = [each for each in lines_of(run) if each["step"] == 38 and "loss" in each]
  for name in ("loss", "translation_ranking", "grad_norm"):
    (figure,) = [text.split()[1] for text in output.splitlines() if text.split()[:1] == [name]]
    assert float(figure) == pytest.approx(line[name], rel=1e-5)
  assert "encoder/embeddings/word/embedding" in output
  assert "NOT FINITE" not in output
  output = commands.fail(
    *commands.train_flags(run, "--config.log_steps=1", "--config.steps=40"), "--replay_step=3"
  )
  assert "the oldest checkpoint is of step" in output


@pytest.mark.slow
def test_processes_that_differ_do_not_start(commands):
  run = commands.prepared("differing")
  address = commands.free_address()
  flags = commands.train_flags(run, f"--coordinator={address}", "--processes=2")
  both = [
    commands.start(*flags, f"--process_id={i}", f"--config.log_steps={10 + i}") for i in range(2)
  ]
  first, second = (process.communicate(timeout=100)[1] for process in both)
  assert [process.returncode for process in both] == [1, 1], first + second
  assert "error: process 1 has another config than process 0 (1 of 2 differ)" in first
  assert "error" not in second
  assert not (run / "config.json").exists()


def test_a_run_that_hangs_ends():
  program = (
    "import time; from dap_jax.distributed.watchdog import Watchdog\n"
    "with Watchdog(1.0) as watchdog:\n"
    "  with watchdog.paused(): time.sleep(2.5)\n"
    "  print('still here', flush=True)\n"
    "  time.sleep(60)"
  )
  process = subprocess.run(
    [sys.executable, "-c", program],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=50,
    check=False,
  )
  assert process.returncode == 1
  assert process.stdout == "still here\n"
  assert "error: no step for 1 s (hang_seconds)" in process.stderr
  assert "in <module>" in process.stderr  # where it stood
  with pytest.raises(UserError, match="hang_seconds=-1"):
    Watchdog(-1)


def test_a_watchdog_that_is_fed_lets_go():
  with Watchdog(0.0) as never, Watchdog(30.0) as fed:
    never.alive()
    fed.alive()


def test_compiling_is_no_hang(commands):
  """Two runs that compile another step each; the second may wait for much less than that takes."""
  cache = str(commands.folder / "compiling_cache")  # that of the other tests may hold the steps

  def first_step_s(temperature, hang_seconds):
    run = commands.prepared(f"compiling_{temperature}")
    flags = commands.train_flags(run, "--config.steps=1", f"--hang_seconds={hang_seconds}")
    setting = f"--config.objectives.translation_ranking.temperature={temperature}"
    said = commands.run(*flags, setting, JAX_COMPILATION_CACHE_DIR=cache)
    return float(re.findall(r"first step done ([0-9.]+) s", said)[0])

  hang_seconds = 0.15 * first_step_s(0.06, 0)
  assert first_step_s(0.07, hang_seconds) > hang_seconds


@contextlib.contextmanager
def small_disk(limit):
  """No file may grow beyond `limit` bytes: the kernel's own error, without a full disk."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_save_that_fails_is_told_and_the_one_before_stays(tmp_path, caplog):
  """A checkpoint here has a file of more than 100 kB."""
  mesh = sharding.make_mesh(data=8, model=1)
  options = {"keep_last": 2, "best_metric": ""}
  with (
    pytest.raises(UserError, match=r"no checkpoint can be written to .*File too large"),
    checkpointing.Checkpoints(tmp_path, **options) as checkpoints,
  ):
    checkpoints.save(1, state_of(1, mesh), metrics={})
    checkpoints.wait()
    with small_disk(20_000):
      checkpoints.save(2, state_of(2, mesh), metrics={})
      checkpoints.wait()
  assert not [record for record in caplog.records if record.exc_info]  # no page of tracebacks
  with checkpointing.Checkpoints(tmp_path, **options) as checkpoints:
    restored = checkpoints.restore(abstract_of(mesh))
    assert restored.step == 1 and is_state_of(1, restored.state)
    checkpoints.save(2, state_of(2, mesh), metrics={})
    checkpoints.wait()
    assert checkpoints.steps() == [1, 2]


def test_data_that_cannot_be_written_is_told_and_prepared_anew(commands, tmp_path):
  flags = commands.train_flags(tmp_path / "r", "--config.steps=2")
  process = commands.start(*flags)
  resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
  output = "".join(process.communicate(timeout=300))
  assert process.returncode == 1 and "Traceback" not in output, output
  (line,) = [line for line in output.split("\n") if line.startswith("error: ")]
  assert "cannot be written: [Errno 27] File too large" in line
  assert "resumed" not in commands.run(*flags)


@pytest.mark.slow
def test_a_save_that_fails_on_one_of_two_processes_ends_both(commands):
  """Orbax only logs it there, and waits for the other process, which waits for its write."""
  run = commands.prepared("full_for_one")
  flags = commands.train_flags(run)
  processes = commands.start_processes(*flags, "--hang_seconds=100")
  resource.prlimit(processes[1].pid, resource.RLIMIT_FSIZE, (4096, 4096))
  first, second = (process.communicate(timeout=300) for process in processes)
  assert [process.returncode for process in processes] == [1, 1], "".join(first + second)
  (line,) = [line for line in "".join(first).split("\n") if line.startswith("error: ")]
  assert "process 1: no checkpoint can be written to the workdir" in line, line
  assert "File too large" in line
  assert "Traceback" not in "".join(first + second)


@pytest.mark.parametrize("handled", [True, False])
def test_an_abort_at_the_end_keeps_the_status(handled):
  """Gloo aborts where a peer has exited; seen once, in a run of the test above."""
  program = "import os; from dap_jax.distributed.process_group import exit_on_abort\n"
  program += "exit_on_abort(3)\n" if handled else ""
  ran = subprocess.run([sys.executable, "-c", f"{program}os.abort()"], cwd=ROOT, check=False)
  assert ran.returncode == (3 if handled else -signal.SIGABRT)


def test_a_clock_that_is_set_forward_ends_no_save(tmp_path, monkeypatch):
  """Two hours in each of some saves, at once or a little later: Orbax reads the wall clock."""
  mesh, true_time, ahead_s = sharding.make_mesh(data=8, model=1), time.time, [0]
  monkeypatch.setattr(time, "time", lambda: true_time() + ahead_s[0])
  with checkpointing.Checkpoints(tmp_path, keep_last=1, best_metric="") as checkpoints:
    for step in range(6):
      checkpoints.save(step, state_of(step, mesh), metrics={})
      time.sleep(0.005 * step)
      ahead_s[0] += 7200
      checkpoints.wait()
    assert checkpoints.steps() == [5]


def test_the_first_error_is_told(tmp_path):
  """An error of the run, while a save fails too."""
  mesh = sharding.make_mesh(data=8, model=1)
  with (
    pytest.raises(UserError, match="of the run"),
    small_disk(20_000),
    checkpointing.Checkpoints(tmp_path, keep_last=1, best_metric="") as checkpoints,
  ):
    checkpoints.save(1, state_of(1, mesh), metrics={})
    raise UserError("of the run")


def test_metrics_that_cannot_be_written_are_told_and_nothing_is_lost(tmp_path):
  metrics = tmp_path / "metrics.jsonl"
  before = "".join(f'{{"step": {step}, "loss": 1.0}}\n' for step in range(1000))
  metrics.write_text(before)
  opened = {"steps": 2000, "first_step": 1000, "writes": True}
  with small_disk(10_000), pytest.raises(UserError, match=r"cannot be written.*File too large"):
    MetricWriter(tmp_path, **opened)  # it writes the lines anew that it keeps
  assert metrics.read_text() == before
  with MetricWriter(tmp_path, **opened) as writer:
    with small_disk(10_000), pytest.raises(UserError, match=r"cannot be written.*resumes"):
      writer.write(1001, {"loss": 1.0})
    writer.write(1001, {"loss": 1.0})
  assert metrics.read_text() == before + '{"step": 1001, "loss": 1.0}\n'
