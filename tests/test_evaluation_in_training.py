"""Benchmarks on a schedule while a run trains: their lines, the best checkpoint, mistakes."""

import json
import shutil

import pytest

from dap_jax.evals import sts
from dap_jax.inference import embedder
from dap_jax.workdir import checkpointing, layout
from tests.commands import lines_of

SUITE = "--config.eval_suites=sts={}"
METRIC = "eval/sts/spearman/mean"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, commands):
  """Pairs of the corpus: a translation counts 5, the next line's translation 1."""
  folder = tmp_path_factory.mktemp("sts")
  english, other = (
    [line.split("\t")[1] for line in (commands.corpus / f"{code}.tsv").read_text().splitlines()]
    for code in ("en", "aa")
  )
  lines = [
    f"5\t{a}\t{b}\n1\t{a}\t{c}\n" for a, b, c in zip(english, other, other[7:], strict=False)
  ]
  (folder / "aa-en.tsv").write_text("".join(lines[:60]))
  return folder


def test_a_suite_is_evaluated_and_chooses_the_best(commands, folder, tmp_path):
  """On two devices, so that every device takes part; the scores are those of `evaluate`."""
  run = tmp_path / "run"
  suites = SUITE.format(f"{folder},xsim={commands.corpus}")  # xsim searches on a mesh of its own
  flags = [suites, f"--config.checkpoint.best_metric={METRIC}"]
  # Evaluated on what it trains on, which the guard would leave out.
  line = commands.fail(*commands.train_flags(tmp_path / "guarded", *flags))
  assert "data.guard: every pair has a sentence" in line and "data.guard=()" in line
  flags += ["--config.data.guard=()"]
  commands.run(*commands.train_flags(run, *flags, "--config.eval_steps=20"), devices=2)
  lines = lines_of(run)
  scored = {line["step"]: line[METRIC] for line in lines if METRIC in line}
  assert set(scored) == {20, 40, 60}
  others = ("eval/retrieval/to_pivot_accuracy", "eval/xsim/to_pivot_xsim/mean")
  assert all(name in line for line in lines if METRIC in line for name in others)
  protocol = json.loads((run / "protocols" / "sts.json").read_text())
  assert protocol["pairs"] == 120 and protocol["pooling"] == "mean"
  best = max(scored, key=scored.get)
  assert embedder.load(run, step="best").step == best
  for step in ("best", "60"):
    model = embedder.load(run, step=step)
    direct = sts.evaluate(model, str(folder)).scores["spearman/mean"]
    assert direct == pytest.approx(scored[model.step], abs=1e-2)


def test_an_evaluation_that_was_missed_is_made_up(commands, folder, tmp_path):
  """Its scores are taken out of a finished run, as if it had been told to stop just there."""
  run = tmp_path / "run"
  flags = commands.train_flags(run, "--config.steps=10", "--config.eval_steps=5")
  commands.run(*flags)
  lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
  remaining = [line for line in lines if "eval/" not in line or json.loads(line)["step"] != 10]
  assert len(remaining) == len(lines) - 1
  (run / "metrics.jsonl").write_text("".join(remaining))
  assert "step 10: held-out retrieval" in commands.run(*flags)
  again = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
  assert json.loads(again[-1]) == json.loads(lines[-1])
  assert "step 10: held-out retrieval" not in commands.run(*flags)


def test_a_benchmark_that_breaks_loses_no_step(commands, folder, tmp_path):
  """Its file is damaged after the start; mended, the same command goes on from that step."""
  run, mine = tmp_path / "run", tmp_path / "sts"
  shutil.copytree(folder, mine)
  flags = [SUITE.format(mine), "--config.eval_steps=15", "--config.checkpoint.save_steps=1000"]
  (mine / "aa-en.tsv").write_text("no number\ta\tb\n")
  output = commands.fail(*commands.train_flags(run, *flags), status=1)
  assert "aa-en.tsv, line 1: expected score" in output
  with checkpointing.Checkpoints(run, keep_last=1, best_metric="") as checkpoints:
    assert checkpoints.steps() == [15]
  shutil.copy(folder / "aa-en.tsv", mine)
  output = commands.run(*commands.train_flags(run, *flags))
  assert "resumed at step 15" in output


@pytest.mark.parametrize(
  ("value", "output"),
  [
    ("stss={}", "the suite 'stss' is unknown"),
    ("sts={}/none", "expected NAME=FOLDER"),
    ("{}", "expected NAME=FOLDER"),
    ("retrieval={}", "the held-out retrieval is always there"),
    ("sts={0},sts={0}", "eval_suites names sts twice"),
  ],
)
def test_mistakes(commands, folder, tmp_path, value, output):
  flags = [f"--config.eval_suites={value.format(folder)}"]
  assert output in commands.fail(*commands.train_flags(tmp_path / "run", *flags), status=1)
  assert not layout.is_workdir(tmp_path / "run")


def test_a_metric_that_is_none_of_the_scores_is_said(commands, tmp_path):
  """A suite that the run has not, at once; a language that the data has not, when it is scored."""
  unknown = "--config.checkpoint.best_metric=eval/sts/mean"
  output = commands.fail(*commands.train_flags(tmp_path / "refused", unknown))
  assert "expected eval/retrieval/to_pivot_accuracy" in output
  absent = "--config.checkpoint.best_metric=eval/retrieval/to_pivot_accuracy/zz"
  flags = commands.train_flags(tmp_path / "run", absent, "--config.steps=2")
  assert "no best checkpoint is kept" in commands.run(*flags)


def test_a_run_that_diverged_stops_before_its_evaluation(commands, tmp_path):
  """A learning rate of 1e30 overflows float32; what it made is neither scored nor saved."""
  run = tmp_path / "run"
  flags = ["--config.optimizer.learning_rate=1e30", "--config.eval_steps=5"]
  output = commands.fail(*commands.train_flags(run, *flags), status=1)
  assert "is not finite: loss " in output
  assert not [line for line in lines_of(run) if "eval/retrieval/to_pivot_accuracy" in line]
  with checkpointing.Checkpoints(run, keep_last=9, best_metric="") as checkpoints:
    assert checkpoints.steps() == []
