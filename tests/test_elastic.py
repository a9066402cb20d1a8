"""One run is the same on any number of processes and devices, and may change them on its way."""

import signal
import time

import pytest

from dap_jax.workdir import records
from tests.commands import ROOT, lines_of

STEPS = 20
MESHES = {"8x1x1": (8, 1, 1), "4x2x1": (4, 2, 1), "2x2x2": (2, 2, 2)}
SHORT = (f"--config.steps={STEPS}", "--config.log_steps=1", "--config.eval_steps=100")


def mesh_flags(name):
  axes = zip(("data", "fsdp", "model"), MESHES[name], strict=True)
  return [f"--config.mesh.{axis}={size}" for axis, size in axes]


def short_run(commands, name, *flags, processes=1, devices=8):
  """The losses of a run of `STEPS` steps, from the second on: the first has no line of its own."""
  run = commands.prepared(name)
  flags = commands.train_flags(run, *SHORT, *flags)
  if processes == 1:
    commands.run(*flags, devices=devices)
  else:
    commands.run_processes(*flags, folders=(ROOT,) * processes)
  return [line["loss"] for line in lines_of(run) if "loss" in line]


@pytest.fixture(scope="module")
def on_one_device(commands):
  losses = short_run(commands, "on_one_device", devices=1)
  assert len(losses) == STEPS - 1
  return losses


# All nine pairs: benchmarks/pods/processes.py.
@pytest.mark.slow
@pytest.mark.parametrize(
  ("processes", "mesh"), [(1, "2x2x2"), (2, "4x2x1"), (4, "8x1x1"), (4, "2x2x2")]
)
def test_processes_and_meshes_change_no_loss(commands, on_one_device, processes, mesh):
  """Every step's loss to 1e-5, dropout on, against one device."""
  losses = short_run(commands, f"{processes}_{mesh}", *mesh_flags(mesh), processes=processes)
  assert losses == pytest.approx(on_one_device, rel=1e-5)


def stop_after(started, run, lines):
  """SIGTERM to all once metrics.jsonl has so many lines; they must leave with status 0."""
  deadline = time.monotonic() + 200
  while len(records.read_records(run)) < lines:
    assert time.monotonic() < deadline and all(process.poll() is None for process in started)
    time.sleep(0.02)
  for process in started:
    process.send_signal(signal.SIGTERM)
  for process in started:
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err


@pytest.mark.slow
def test_stopped_on_four_finished_on_two_and_on_one(commands):
  """The same losses and final scores as one process on one device that was never stopped."""
  often = ("--config.log_steps=1", "--config.eval_steps=60")
  straight, run = commands.prepared("by_step"), commands.prepared("elastic")
  commands.run(*commands.train_flags(straight, *often))
  flags = commands.train_flags(run, *often)
  stop_after(commands.start_processes(*flags, folders=(ROOT,) * 4), run, 13)
  flags += mesh_flags("2x2x2")
  stop_after(commands.start_processes(*flags, folders=(ROOT,) * 2), run, 30)
  assert "resumed at step" in commands.run(*flags, devices=8)
  (losses, scores), (expected, their_scores) = map(by_step, (run, straight))
  # A start's first step has no line of its own, and is part of the next one's mean.
  alone = [step for step in losses if step - 1 in losses]
  assert len(alone) >= 60 - 2 * 3
  for step in alone:
    assert losses[step] == pytest.approx(expected[step], rel=1e-5), step
  assert scores.pop("step") == their_scores.pop("step") == 60
  assert scores == pytest.approx(their_scores, abs=1e-6)


def by_step(run):
  """step -> loss; and the last line, the scores."""
  lines = lines_of(run)
  return {line["step"]: line["loss"] for line in lines if "loss" in line}, lines[-1]
