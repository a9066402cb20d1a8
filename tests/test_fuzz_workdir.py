"""Readers of a run's own files on damaged copies: a result or one line, never anything else."""

import shutil

import pytest
from etils import epath

from dap_jax.data import store
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.report_page import runs
from dap_jax.utils.json_files import read_json
from dap_jax.workdir import layout, records, restore
from dap_jax.workdir.checkpointing import FOLDER
from tests.commands import without_checksums
from tests.fuzzing import damaged, damaged_json, damaged_lines, fuzz


@pytest.fixture
def run(commands, tmp_path):
  """A copy of a finished run, without checksums of its data: they would notice all of this."""
  return without_checksums(shutil.copytree(commands.straight, tmp_path / "run"))


def load_data(run):
  """The data as a run that resumes reads it."""
  return store.load(run / "data", pad_id=0)


def load_tokenizer(run):
  """The vocabulary, and a text through it."""
  return Tokenizer.load(epath.Path(run / "tokenizer"), max_tokens=12).encode_ragged(
    ["the red page"]
  )


def load_run(run):
  """All that a report reads of a run beside its vectors."""
  return runs.read_run(str(run), name="run")


def checkpoint_shapes(run):
  return restore.shapes(run)


def drop_records(run):
  """What a run does that goes on."""
  records.drop_records_after(run, 30)


FILES = {  # file -> (how it is damaged, what reads it)
  "config.json": (damaged_json, layout.read_config),
  "versions.json": (damaged_json, load_run),
  "metrics.jsonl": (damaged_lines, records.read_records),
  "metrics.jsonl ": (damaged, drop_records),
  "data/info.json": (damaged_json, load_data),
  "data/heldout.jsonl": (damaged_lines, load_data),
  "data/train.npz": (damaged, load_data),
  "tokenizer/tokenizer.json": (damaged_json, load_tokenizer),
  "tokenizer/tokenizer_config.json": (damaged_json, load_tokenizer),
  f"{FOLDER}/60/metrics/metrics": (damaged_json, checkpoint_shapes),
  "checksums/60.json": (damaged_json, lambda run: read_json(epath.Path(run / "checksums/60.json"))),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file(run, name):
  mutate, load = FILES[name]
  path = run / name.strip()
  original = path.read_bytes()

  def read(data):
    path.write_bytes(data)
    return load(run)

  read.__name__ = name
  assert fuzz(read, original, mutate=mutate, count=40)["UserError"] > 0
