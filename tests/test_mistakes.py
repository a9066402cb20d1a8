"""Mistakes: each costs a clear line that names the value, status 1, and nothing of the workdir."""

import shutil

import jax
import numpy as np
import pytest

from tests.commands import ROOT, final_state


def test_unknown_key(commands, tmp_path):
  flags = commands.train_flags(tmp_path / "r", "--config.modle.width=8")
  message = commands.fail(*flags, status=2)
  assert "modle" in message
  assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
  ("flag", "expected"),
  [
    ("--config.steps=many", "a whole number"),
    ("--config.steps=1.5", "a whole number"),
    ("--config.optimizer.learning_rate=fast", "a number"),
    ("--config.model.projection=maybe", "True or False"),
    ("--replay_step=last", "a whole number"),
  ],
)
def test_value_of_the_wrong_type(commands, tmp_path, flag, expected):
  """What config files hold there: an int, a float, a bool."""
  line = commands.fail(*commands.train_flags(tmp_path / "r", flag), status=2)
  assert line == f"error: {flag}: expected {expected}; --help lists the flags"
  assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (
      ["--workdir", "--config.steps=3"],
      "--workdir has no value: the flag --config.steps=3 follows",
    ),
    (
      ["--workdir=r", "--config.init_from", "--config.steps=3"],
      "--config.init_from has no value: the flag --config.steps=3 follows",
    ),
    (["--workdir="], "--workdir= is empty"),
  ],
)
def test_a_flag_without_its_value(commands, tmp_path, flags, message):
  config = f"--config={ROOT}/tests/tiny.py:{commands.corpus}"
  assert message in commands.fail("train", config, *flags, status=2, folder=tmp_path)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  "flags", [["--model", "--output=o"], ["--model="], ["--data=", "--model=m"]]
)
def test_a_flag_of_another_command_without_its_value(commands, flags):
  line = commands.fail("evaluate", *flags, status=2)
  assert "has no value" in line or "is empty" in line


def test_no_weights_to_start_from(commands, tmp_path):
  """`--config.init_from=$M` without M: said, and no mistake, since a config may have some."""
  flags = commands.train_flags(tmp_path / "r", "--config.init_from=", "--config.batch_size=0")
  assert "--config.init_from= is empty: no weights" in commands.run(*flags, status=1)


def test_an_input_that_is_not_there(commands):
  line = commands.fail("embed", "--model=m", "--input=../nope.txt", "--output=o.npy")
  assert line == "error: cannot read --input=../nope.txt: No such file or directory"


def test_a_config_that_is_no_config(commands, tmp_path):
  (tmp_path / "c.py").write_text("def get_config():\n  return 3\n")
  message = commands.fail("train", f"--config={tmp_path}/c.py", f"--workdir={tmp_path}/r")
  assert "c.py" in message


def test_a_config_that_is_not_there(commands, tmp_path):
  message = commands.fail("train", f"--config={tmp_path}/no.py", f"--workdir={tmp_path}/r")
  assert "no.py" in message


def test_workdir_of_another_config(commands):
  before = (commands.straight / "config.json").read_bytes()
  message = commands.fail(*commands.train_flags(commands.straight, "--config.batch_size=8"))
  assert "batch_size=16" in message and "8" in message and "another --workdir" in message
  assert (commands.straight / "config.json").read_bytes() == before


def test_unwritable_workdir(commands, tmp_path):
  (tmp_path / "file").write_text("mine")
  message = commands.fail(*commands.train_flags(tmp_path / "file"))
  assert "cannot be written" in message
  assert (tmp_path / "file").read_text() == "mine"


def test_language_without_pairs(commands, tmp_path):
  flags = commands.train_flags(tmp_path / "r", "--config.data.languages=('aa','xx')")
  message = commands.fail(*flags)
  assert "'xx' in data.languages has no pairs" in message and "aa, bb, cc" in message


def test_vocabulary_too_large(commands, tmp_path):
  message = commands.fail(
    *commands.train_flags(tmp_path / "r", "--config.tokenizer.vocabulary_size=50000")
  )
  assert "vocabulary_size=50000" in message and "at most" in message


def test_batch_that_does_not_divide(commands, tmp_path):
  flags = commands.train_flags(tmp_path / "r", "--config.batch_size=12")
  message = commands.run(*flags, status=1, devices=8)
  assert "error: batch_size=12 is not divisible by the 8" in message


def test_gradient_accumulation(commands, tmp_path):
  message = commands.fail(
    *commands.train_flags(tmp_path / "r", "--config.gradient_accumulation_steps=4")
  )
  assert "another, easier loss" in message


def test_truncated_newest_checkpoint(commands):
  run = commands.folder / "truncated"
  shutil.copytree(commands.straight, run)
  files = [p for p in (run / "checkpoints" / "60" / "state").rglob("*") if p.is_file()]
  largest = max(files, key=lambda p: p.stat().st_size)
  largest.write_bytes(largest.read_bytes()[:100])
  message = commands.run(*commands.train_flags(run))
  assert "checkpoint 60 cannot be read" in message and "resumed at step 50" in message
  jax.tree.map(
    np.testing.assert_array_equal, final_state(run)[0], final_state(commands.straight)[0]
  )


def test_wrong_flags_have_status_2(commands):
  assert "wrkdir" in commands.fail("train", "--wrkdir=x", status=2)
  commands.fail("train", status=2)


def test_a_model_that_is_none(commands, tmp_path):
  assert "no folder" in commands.fail("evaluate", f"--model={tmp_path}/none")
  assert "has no config.json" in commands.fail(
    "evaluate", f"--model={tmp_path}", f"--data={commands.straight}"
  )


def test_export_overwrites_nothing(commands, tmp_path):
  (tmp_path / "mine.txt").write_text("")
  message = commands.fail("export", f"--workdir={commands.straight}", f"--output={tmp_path}")
  assert "exists already" in message
  assert list(tmp_path.iterdir()) == [tmp_path / "mine.txt"]
