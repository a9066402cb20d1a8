"""Damage of checkpoints: every flipped bit is told, and the one before is restored bit for bit."""

import random
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json
from dap_jax.workdir import checksums, restore
from dap_jax.workdir.checkpointing import FOLDER, Checkpoints
from tests.commands import final_state

STATES = {
  step: {
    "step": jnp.int32(step),
    "params": {"kernel": jax.random.normal(jax.random.key(step), (40, 30))},
    "opt_state": {"mu": jnp.full((40, 30), float(step))},
  }
  for step in (1, 2)
}


def open_checkpoints(folder):
  return Checkpoints(folder, keep_last=2, best_metric="eval/score")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
  """A folder with checkpoints 1 and 2."""
  folder = tmp_path_factory.mktemp("two")
  with open_checkpoints(folder) as checkpoints:
    for step, state in STATES.items():
      checkpoints.save(step, state, metrics={"eval/score": step / 10})
  return folder


def abstract():
  sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), STATES[1]
  )


def newest(folder):
  """(step, state) of what a run would resume from."""
  with open_checkpoints(folder) as checkpoints:
    restored = checkpoints.restore(abstract())
  return restored.step, restored.state


def assert_equal(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def flip(path, rng):
  data = bytearray(path.read_bytes())
  data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
  path.write_bytes(data)


def test_every_file_has_a_digest(two):
  for step in STATES:
    files = {path for path in (two / FOLDER / str(step)).rglob("*") if path.is_file()}
    names = {path.relative_to(two / FOLDER / str(step)).as_posix() for path in files}
    assert set(read_json(checksums.file_of(two, step))["files"]) == names
    assert checksums.damage(two, FOLDER, step) is None
  assert newest(two)[0] == 2


def test_digests_of_checkpoints_that_are_gone_go_too(tmp_path):
  with Checkpoints(tmp_path, keep_last=1, best_metric="") as checkpoints:
    for step in range(1, 4):
      checkpoints.save(step, STATES[1], metrics={})
  assert [path.name for path in (tmp_path / "checksums").iterdir()] == ["3.json"]


def test_a_checkpoint_that_is_written_anew_has_new_digests(tmp_path):
  for state in STATES.values():  # the second run saves step 7 again, over the first's
    with Checkpoints(tmp_path, keep_last=1, best_metric="") as checkpoints:
      checkpoints.save(7, state, metrics={})
  assert checksums.damage(tmp_path, FOLDER, 7) is None
  assert_equal(newest(tmp_path)[1], STATES[2])


def test_without_digests_it_is_read_as_before(two, tmp_path):
  folder = shutil.copytree(two, tmp_path / "old")
  shutil.rmtree(folder / "checksums")
  assert newest(folder)[0] == 2


@pytest.mark.slow
def test_200_bit_flips(two, tmp_path, caplog):
  """Over all files of the newest checkpoint and its digests: none passes in silence."""
  rng = random.Random(0)
  for number in range(200):
    caplog.clear()
    folder = shutil.copytree(two, tmp_path / str(number))
    files = sorted(path for path in (folder / FOLDER / "2").rglob("*") if path.is_file())
    flip(rng.choice([*files, folder / "checksums" / "2.json"]), rng)
    step, state = newest(folder)
    assert step == 1, number
    assert_equal(state, STATES[1])
    assert "checkpoint 2 cannot be read" in caplog.text and "trying the one before" in caplog.text
    shutil.rmtree(folder)


def test_a_command_tells_which_file(two, tmp_path):
  folder = shutil.copytree(two, tmp_path / "run")
  largest = max((folder / FOLDER / "2").rglob("*"), key=lambda path: path.stat().st_size)
  flip(largest, random.Random(1))
  with pytest.raises(UserError, match=rf"checkpoint 2 .*{largest.name} has other bytes.*--step"):
    restore.restore(folder, {"kernel": abstract()["params"]["kernel"]}, step="newest")


@pytest.mark.slow
def test_a_run_goes_on_from_the_one_before(commands, tmp_path):
  """Bit for bit where it would have been, with a line that says what happened."""
  run = shutil.copytree(commands.straight, tmp_path / "run")
  largest = max((run / FOLDER / "60").rglob("*"), key=lambda path: path.stat().st_size)
  flip(largest, random.Random(2))
  output = commands.run(*commands.train_flags(run))
  assert "checkpoint 60 cannot be read" in output and "resumed at step 50" in output
  (found, step), (expected, _) = final_state(run), final_state(commands.straight)
  assert step == 60
  assert_equal(found, expected)


def test_damaged_metrics_are_told(two, tmp_path):
  """Orbax lists no checkpoint at all where the metrics of one are no JSON."""
  folder = shutil.copytree(two, tmp_path / "run")
  (folder / FOLDER / "2" / "metrics" / "metrics").write_text("{")
  with pytest.raises(UserError, match=r"the checkpoints of .* cannot be listed .*moves it aside"):
    restore.shapes(folder)
  assert newest(folder)[0] == 1
