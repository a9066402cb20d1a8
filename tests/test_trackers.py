"""`train --tracker`, offline: the tracker's own files have the numbers of metrics.jsonl."""

import json
import sqlite3
import struct
import sys

import pytest

from dap_jax.training import trackers
from dap_jax.utils.errors import UserError
from tests.commands import lines_of

SHORT = ["--config.steps=6", "--config.log_steps=2", "--config.eval_steps=3"]


def expected_of(run):
  """Step -> all its numbers."""
  steps = {}
  for line in lines_of(run):
    steps.setdefault(line["step"], {}).update({k: v for k, v in line.items() if k != "step"})
  return steps


BLOCK = 32 * 1024


def records_of(data):
  """The records of a .wandb file: a header of 7 bytes, then the log format of LevelDB."""
  place, record = 7, b""
  while place + 7 <= len(data):
    if (left := BLOCK - place % BLOCK) < 7:
      place += left
      continue
    size, kind = struct.unpack("<HB", data[place + 4 : place + 7])
    record += data[place + 7 : place + 7 + size]
    place += 7 + size
    if kind in (1, 4):  # whole, or its last part
      yield record
      record = b""


def history_of(folder):
  """Step -> numbers, of the files that wandb keeps offline."""
  from wandb.proto import wandb_internal_pb2

  steps = {}
  for path in sorted(folder.rglob("*.wandb")):
    for data in records_of(path.read_bytes()):
      record = wandb_internal_pb2.Record.FromString(data)
      if record.HasField("history"):
        items = {
          item.key or "/".join(item.nested_key): json.loads(item.value_json)
          for item in record.history.item
        }
        numbers = {key: value for key, value in items.items() if not key.startswith("_")}
        steps.setdefault(items["_step"], {}).update(numbers)
  return steps


def test_wandb_has_the_numbers_of_metrics_jsonl(commands, tmp_path):
  pytest.importorskip("wandb", reason="of requirements-dev.txt")
  run = tmp_path / "run"
  flags = commands.train_flags(run, *SHORT, "--tracker=wandb:tests")
  commands.run(*flags, cold=True, WANDB_MODE="offline", WANDB_SILENT="true")
  found, expected = history_of(run), expected_of(run)
  assert found.keys() == expected.keys()
  for step, numbers in expected.items():
    assert found[step] == pytest.approx(numbers)
  assert json.loads((run / "tracker.json").read_text()).keys() == {"wandb"}


def test_trackio_goes_on_with_its_run(commands, tmp_path):
  """A run of two starts is one run of the tracker, with the numbers of both."""
  pytest.importorskip("trackio", reason="of requirements-dev.txt")
  run = tmp_path / "run"
  how = {"TRACKIO_DIR": str(tmp_path / "tracked"), "cold": True}
  constant = "--config.optimizer.schedule_name=constant"
  for steps in (4, 6):
    flags = [*SHORT, f"--config.steps={steps}", constant, "--tracker=trackio:tests"]
    commands.run(*commands.train_flags(run, *flags), **how)
  (path,) = (tmp_path / "tracked").glob("*.db")
  with sqlite3.connect(path) as database:
    rows = database.execute("SELECT run_name, step, metrics FROM metrics").fetchall()
  assert len({name for name, _, _ in rows}) == 1
  found = {}
  for _, step, metrics in rows:
    found.setdefault(step, {}).update(json.loads(metrics))
  for step, numbers in expected_of(run).items():
    assert {key: found[step][key] for key in numbers} == pytest.approx(numbers)


def test_an_unknown_tracker_costs_no_time(commands, tmp_path):
  flags = commands.train_flags(tmp_path / "run", "--tracker=mlflow:project")
  assert "--tracker=mlflow: expected wandb or trackio" in commands.run(*flags, status=1)
  assert not (tmp_path / "run").exists()


def test_a_tracker_that_is_not_installed(monkeypatch):
  monkeypatch.setitem(sys.modules, "wandb", None)
  with pytest.raises(UserError, match="pip install wandb"):
    trackers.load_package("wandb")
