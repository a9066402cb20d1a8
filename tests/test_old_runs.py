"""A workdir and an exported folder of version 0.1: they resume, evaluate, export and report.

Its layout is made of a fresh run's: names of before in config.json and data/info.json, and no file
that came later.
"""

import json
import shutil

import jax
import numpy as np
import pytest

from dap_jax.inference import embedder
from dap_jax.utils import old_configs
from tests import taught
from tests.commands import final_state

FILES = {"checkpoints", "config.json", "data", "metrics.jsonl", "tokenizer", "versions.json"}
EXPORTED = {
  "1_Pooling",
  "2_Normalize",
  "README.md",
  "config.json",
  "config_sentence_transformers.json",
  "model.safetensors",
  "modules.json",
  "sentence_bert_config.json",
  "special_tokens_map.json",
  "tokenizer.json",
  "tokenizer_config.json",
}


def change(path, edit):
  content = json.loads(path.read_text())
  edit(content)
  path.write_text(json.dumps(content))


def config_of_before(config):
  config["data"]["renderings"] = config["data"].pop("views")
  for key in old_configs.ADDED:
    section, name = old_configs.holder(config, key)
    del section[name]


def rename_sides(info):
  sides = [feature for feature in info["features"] if feature["of"] == "view"]
  assert sides, "no feature of a view: nothing is checked"
  for feature in sides:
    feature["of"] = "rendering"


@pytest.fixture(scope="module")
def runs(commands, tmp_path_factory):
  """The flags of a run; a finished one, and one of version 0.1 that lost its last ten steps."""
  folder = tmp_path_factory.mktemp("old")
  texts = [line.split("\t")[1] for line in (commands.corpus / "en.tsv").read_text().splitlines()]
  teacher = taught.write_teacher(folder / "teacher", texts, width=24)
  flags = ["--config.steps=20", "--config.eval_steps=10", "--config.data.renderings=3"]
  flags += [f"--config.teacher.model={teacher}", f"--config.teacher.max_tokens={taught.L_T}"]
  flags += ["--config.objectives.soft_alignment.weight=1.0"]
  new, old = folder / "new", folder / "old"
  commands.run(*commands.train_flags(new, *flags))
  old.mkdir()
  for name in FILES:
    copy = shutil.copytree if (new / name).is_dir() else shutil.copy
    copy(new / name, old / name)
  shutil.rmtree(old / "checkpoints" / "20")
  change(old / "config.json", config_of_before)
  change(old / "data" / "info.json", rename_sides)
  return flags, new, old


def test_it_resumes_bit_for_bit(commands, runs):
  """With the flags of before; one line says what the renamed key is called."""
  flags, new, old = runs
  said = commands.run(*commands.train_flags(old, *flags))
  assert "resumed at step 10" in said
  assert "config key data.renderings is called data.views now" in said
  (found, step), (expected, _) = final_state(old), final_state(new)
  assert step == 20
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_it_is_evaluated_exported_and_reported(commands, runs, tmp_path):
  _, new, old = runs
  run, folder = tmp_path / "run", tmp_path / "exported"
  shutil.copytree(old, run)
  commands.run("evaluate", f"--model={run}", f"--output={tmp_path}/old.json")
  commands.run("export", f"--workdir={run}", "--step=10", f"--output={folder}")
  assert {path.name for path in folder.iterdir()} >= EXPORTED
  for path in folder.iterdir():
    if path.name not in EXPORTED and path.name != "sentencepiece.model":
      path.unlink()
  texts = ["the red page opens it", "a new file"]
  expected = embedder.load(new, step="10").encode(texts)
  np.testing.assert_allclose(embedder.load(folder).encode(texts), expected, atol=1e-5)
  commands.run("evaluate", f"--model={folder}", f"--data={run}", f"--output={tmp_path}/new.json")
  name = "eval/retrieval/to_pivot_accuracy"
  scores = [json.loads((tmp_path / f"{age}.json").read_text())[name] for age in ("old", "new")]
  assert all(0 < score <= 1 for score in scores)
  commands.run("report", f"--workdir={run}")
  assert (run / "report.html").stat().st_size > 10_000
