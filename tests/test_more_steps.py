"""Runs that are evaluated before they train, and runs that go on after their last step.

Expected values: the state of a run that was planned for all steps at once; the scores that
`evaluate` gives the checkpoint.
"""

import json

import jax
import numpy as np
import pytest

from dap_jax.inference import embedder
from tests.commands import final_state, lines_of

CONSTANT = "--config.optimizer.schedule_name=constant"


def test_a_constant_schedule_goes_on(commands, tmp_path):
  """To the same bits as one run of all the steps."""
  for folder, steps in (("parts", 20), ("parts", 30), ("whole", 30)):
    flags = [CONSTANT, f"--config.steps={steps}", "--config.eval_steps=10"]
    commands.run(*commands.train_flags(tmp_path / folder, *flags))
  parts, whole = (final_state(tmp_path / folder) for folder in ("parts", "whole"))
  jax.tree.map(np.testing.assert_array_equal, parts, whole)


def test_a_schedule_that_ends_says_how_to_train_on(commands, tmp_path):
  flags = commands.train_flags(tmp_path / "run", "--config.steps=10")
  commands.run(*flags)
  said = commands.run(*flags[:-1], "--config.steps=20", status=1)
  assert "steps=10, this config has 20" in said and f"--config.init_from={tmp_path}/run" in said
  further = commands.train_flags(tmp_path / "on", f"--config.init_from={tmp_path}/run")
  commands.run(*further, "--config.steps=5")


@pytest.fixture(scope="module")
def started(commands):
  """A run from the checkpoint of another, evaluated before its first step."""
  folder = commands.folder / "evaluated_first"
  flags = [f"--config.init_from={commands.straight}", "--config.eval_at_start=True"]
  flags += ["--config.steps=20", "--config.eval_steps=10"]
  commands.run(*commands.train_flags(folder, *flags))
  return folder


def test_the_checkpoint_has_its_scores_at_step_0(commands, started, tmp_path):
  """Those of `evaluate` on the checkpoint, with the run's held-out sentences."""
  flags = [f"--model={commands.straight}", "--suite=retrieval", f"--output={tmp_path}/s.json"]
  commands.run("evaluate", *flags)  # the corpus and the seed are the same, so are these sentences
  expected = json.loads((tmp_path / "s.json").read_text())
  (first,) = (line for line in lines_of(started) if line["step"] == 0)
  for way in ("to", "from"):
    name = f"eval/retrieval/{way}_pivot_accuracy"
    assert first[name] == pytest.approx(expected[name], abs=1e-6)


def test_where_training_only_harms_the_checkpoint_is_the_best(commands, tmp_path):
  flags = [f"--config.init_from={commands.straight}", "--config.eval_at_start=True"]
  flags += ["--config.steps=30", "--config.optimizer.learning_rate=3.0"]
  commands.run(*commands.train_flags(tmp_path / "run", *flags))
  best = embedder.load(tmp_path / "run", step="best")
  assert best.step == 0
  texts = ["the red page opens it", "a big word keeps more"]
  expected = embedder.load(commands.straight).encode(texts)
  np.testing.assert_array_equal(best.encode(texts), expected)


def test_it_is_not_evaluated_twice(commands, started):
  flags = [f"--config.init_from={commands.straight}", "--config.eval_at_start=True"]
  commands.run(
    *commands.train_flags(started, *flags, "--config.steps=20", "--config.eval_steps=10")
  )
  assert sum(line["step"] == 0 for line in lines_of(started)) == 1


def test_the_page_says_what_training_gained(commands, started, tmp_path):
  commands.run("report", f"--workdir={started}", f"--output={tmp_path}/page.html")
  page = (tmp_path / "page.html").read_text()
  (first,) = (line for line in lines_of(started) if line["step"] == 0)
  assert f"before training {first['eval/retrieval/to_pivot_accuracy']:.1%}" in page
  commands.run("report", f"--workdir={commands.straight}", f"--output={tmp_path}/plain.html")
  assert "before training" not in (tmp_path / "plain.html").read_text()
