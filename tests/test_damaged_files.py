"""A run's own files, damaged: one line with the path, what is wrong and the cure; or no matter."""

import json
import shutil

import numpy as np
import pytest

from dap_jax.data import manifest, store
from dap_jax.utils.errors import UserError
from dap_jax.workdir import layout, records
from tests.commands import without_checksums


@pytest.fixture
def new_run(commands, tmp_path):
  """A copy of a finished run, without its checkpoints."""
  ignored = shutil.ignore_patterns("checkpoints", "checksums")
  return shutil.copytree(commands.straight, tmp_path / "run", ignore=ignored)


@pytest.fixture
def run(new_run):
  """As one of a version that kept no checksums of its data, which would notice all of this."""
  return without_checksums(new_run)


@pytest.mark.parametrize("name", ["data/heldout.jsonl", "data/train.npz"])
def test_a_file_of_other_data(new_run, commands, name):
  load(new_run)
  path = new_run / name
  if path.suffix == ".npz":  # whole, and with the same arrays
    arrays = dict(np.load(path))
    arrays["aa/pivot/tokens"] = arrays["aa/pivot/tokens"][::-1]
    np.savez(path, **arrays)
  else:
    path.write_text(path.read_text().replace("e", "a", 1))
  with pytest.raises(UserError, match=f"{path} is damaged; remove {new_run}/data and the run"):
    load(new_run)
  assert "is damaged; remove" in commands.fail(*commands.train_flags(new_run))


def test_another_tokenizer(new_run):
  manifest.check_tokenizer(new_run)
  path = new_run / "tokenizer" / "tokenizer.json"
  path.write_text(path.read_text().replace('"id": 0', '"id":  0', 1))
  with pytest.raises(UserError, match=f"{path} is damaged; remove {new_run}/data .*256"):
    manifest.check_tokenizer(new_run)
  shutil.rmtree(new_run / "data")  # nothing to compare with
  manifest.check_tokenizer(new_run)


def load(run):
  return store.load(run / "data", pad_id=0)


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    ("", "Expecting value"),
    ("{}", "it has no pairs"),
    ("[]", "it has no pairs"),
    ('{"pairs": {"aa": 3', "Expecting"),
    ("\udcff", "utf-8"),
    ("[" * 100_000, "recursion"),
  ],
)
def test_info(run, content, reason):
  path = run / "data" / "info.json"
  path.write_bytes(content.encode(errors="surrogateescape"))
  with pytest.raises(UserError, match=f"{path} is damaged; remove .*anew: .*{reason}"):
    load(run)


def test_features_of_another_shape(run):
  path = run / "data" / "info.json"
  info = json.loads(path.read_text()) | {"features": [{"name": "x"}]}
  path.write_text(json.dumps(info))
  with pytest.raises(UserError, match="info.json is damaged"):
    load(run)


@pytest.mark.parametrize(
  "damage",
  [
    lambda data: data[:2000],
    lambda data: b"",
    lambda data: data[:3000] + bytes([data[3000] ^ 255]) + data[3001:],
    lambda data: None,
  ],
)
def test_training_data(run, damage):
  path = run / "data" / "train.npz"
  content = damage(path.read_bytes())
  path.unlink() if content is None else path.write_bytes(content)
  with pytest.raises(UserError, match="train.npz is damaged; remove .* prepares its data anew"):
    load(run)


def test_training_data_without_a_language(run):
  path = run / "data" / "train.npz"
  arrays = {name: array for name, array in np.load(path).items() if not name.startswith("aa/")}
  np.savez(path, **arrays)
  with pytest.raises(UserError, match="train.npz is damaged.*aa/pivot"):
    load(run)


@pytest.mark.parametrize(
  "content",
  ["[]\n", '{"en": null, "aa": "x"}\n', '{"en": "a"', "[" * 100_000 + "\n", '"a"\n', "\udcff\n"],
)
def test_heldout_sentences(run, content):
  path = run / "data" / "heldout.jsonl"
  path.write_bytes(content.encode(errors="surrogateescape"))
  with pytest.raises(UserError, match="heldout.jsonl is damaged; remove"):
    store.heldout(run / "data")


def test_no_heldout_sentences(run):
  (run / "data" / "heldout.jsonl").unlink()
  with pytest.raises(UserError, match="heldout.jsonl is damaged; remove .*No such file"):
    store.heldout(run / "data")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda config: config.clear(), "has no data: it is damaged"),
    (lambda config: config["model"]["encoder"].update(heads=0), "heads=0: expected a whole number"),
    (lambda config: config["model"]["encoder"].update(positions="24"), "positions='24': expected"),
    (lambda config: config.pop("max_tokens"), "has no max_tokens"),
  ],
)
def test_config(run, change, message):
  path = run / "config.json"
  config = json.loads(path.read_text())
  change(config)
  path.write_text(json.dumps(config))
  with pytest.raises(UserError, match=message):
    layout.read_config(run)


@pytest.mark.parametrize(
  "line", ['{"step": 10, "pairs_per_second": "fast"}', '{"step": [1]}', "[]"]
)
def test_a_line_of_metrics(run, line):
  path = run / "metrics.jsonl"
  path.write_text(f"{line}\n{path.read_text()}")
  with pytest.raises(UserError, match=r"metrics.jsonl, line 1 is no JSON object .*delete the line"):
    records.read_records(run)
  path.write_text('{"step": 1, "loss": 2.0}\n' + line)  # what a kill leaves: half a line
  assert records.read_records(run) == [{"step": 1, "loss": 2.0}]


@pytest.mark.parametrize("command", ["export", "evaluate"])
def test_a_command_says_one_line(commands, tmp_path, command):
  run = shutil.copytree(commands.straight, tmp_path / "run")
  (run / "data" / "heldout.jsonl").write_text("[]\n")
  (run / "data" / "info.json").write_text("{}")
  flags = {
    "export": [f"--workdir={run}", f"--output={tmp_path}/out"],
    "evaluate": [f"--model={run}"],
  }
  assert "is damaged; remove" in commands.fail(command, *flags[command])


def test_a_report_goes_without_its_vectors(commands, tmp_path):
  run = shutil.copytree(commands.straight, tmp_path / "run")
  (run / "data" / "heldout.jsonl").write_text("[]\n")
  output = commands.run("report", f"--workdir={run}")
  assert "the page goes without its vectors" in output and "is damaged; remove" in output
