"""Mistakes in --config, its overrides and around a command: one line says where and what."""

import subprocess

import pytest

from configs import base
from dap_jax.cli import config_mistakes
from dap_jax.training.config import check_best_metric
from dap_jax.utils.errors import UserError
from dap_jax.utils.trees import flatten
from tests.commands import ROOT, environment

KEYS = list(flatten(base.get_config().to_dict(), separator="."))


@pytest.mark.parametrize(
  ("key", "expected"),
  [
    ("learning_rate", ["optimizer.learning_rate"]),
    ("optimiser.learning_rate", ["optimizer.learning_rate"]),
    ("batchsize", ["batch_size"]),
    ("model.layers", ["model.encoder.layers", "decoder.layers"]),
    ("optimizer.learningrate", ["optimizer.learning_rate"]),
    ("colour", []),
  ],
)
def test_nearest_keys(key, expected):
  assert config_mistakes.nearest(key, KEYS)[: max(1, len(expected))] == expected


def test_an_unknown_key_names_the_nearest():
  arguments = ["--config=demo", "--config.steps=3", "--config.warmup_steps=5", "--workdir=x"]
  line, is_in_file = config_mistakes.explain(KeyError("warmup_steps"), arguments)
  assert line == (
    "--config.warmup_steps=5: the config has no key 'warmup_steps'; did you mean"
    " optimizer.warmup_steps?"
  )
  assert not is_in_file


@pytest.mark.parametrize(
  ("text", "line", "message"),
  [
    ("x = 1\ndef get_config(:\n", 2, "SyntaxError: "),
    ("def get_config():\n\n  raise RuntimeError('no luck\\nat all')\n", 3, "RuntimeError: no luck"),
    ("import json\n\njson.loads('{')\n", 3, "JSONDecodeError: Expecting property name"),
    ("import no_such_module\n", 1, "ModuleNotFoundError: No module named 'no_such_module'"),
    ('{"steps": true}', 1, "NameError: name 'true' is not defined"),
    ("def other():\n  pass\n", None, "get_config"),
    ("def get_config(a, b):\n  pass\n", None, "TypeError: get_config() missing"),
  ],
)
def test_a_config_file_that_raises(tmp_path, text, line, message):
  path = tmp_path / "mine.py"
  path.write_text(text)
  output, is_in_file = config_mistakes.explain(ValueError("of the parser"), [f"--config={path}"])
  assert is_in_file
  where = f"--config={path}: {path}" + (f":{line}: " if line else ": ")
  assert output.startswith(where) and message in output
  assert "\n" not in output


def test_a_value_of_the_wrong_type_is_left_to_the_parser():
  arguments = ["--config", "demo", "--config.steps=many"]
  assert config_mistakes.config_value(arguments) == "demo"
  line = config_mistakes.explain(ValueError("no number:\nmany"), arguments)
  assert line == ("--config.steps=many: no number:", False)


@pytest.mark.parametrize(
  "name", ["", "eval/retrieval/to_pivot_accuracy", "-eval/sts/spearman/mean"]
)
def test_best_metrics(name):
  check_best_metric(name, {"sts": "folder"})


@pytest.mark.parametrize("name", ["eval/nope", "loss", "eval/tatoeba/x", "eval/retrieval/accuracy"])
def test_a_best_metric_that_no_evaluation_gives(name):
  with pytest.raises(UserError, match=f"checkpoint.best_metric='{name}': expected eval/retrieval/"):
    check_best_metric(name, {"sts": "folder"})


@pytest.mark.parametrize(("platform", "reason"), [("tpuu", "tpuu"), ("cuda", "no such device")])
def test_a_platform_that_is_not_there(commands, platform, reason):
  flags = [f"--model={commands.straight}"]
  line = commands.fail("evaluate", *flags, cold=True, JAX_PLATFORMS=platform)
  assert line.startswith(f"error: JAX_PLATFORMS={platform}: JAX cannot use it here")
  assert reason in line


def test_an_export_of_what_is_no_workdir(commands, tmp_path):
  (tmp_path / "config.json").write_text('{"model_type": "bert"}')
  line = commands.fail("export", f"--workdir={tmp_path}", f"--output={tmp_path}/out")
  assert f"--workdir={tmp_path} is no workdir" in line


def test_digits_that_are_no_number(commands):
  """A superscript two is a digit, for Python, that int() does not take."""
  line = commands.fail("evaluate", f"--model={commands.straight}", "--step=²")
  assert "has no checkpoint '²'" in line


def test_a_plan_for_a_file_in_no_folder(commands, tmp_path):
  flags = ["--config=demo", "--topology=gpu:h100x8", f"--output={tmp_path}/no/plan.json"]
  assert "name a file in an existing folder" in commands.fail("plan", *flags)


def test_a_full_disk_behind_stdout(commands):
  command = commands.arguments("evaluate", f"--model={commands.straight}")
  with open("/dev/full", "w") as full:
    done = subprocess.run(
      command, cwd=ROOT, env=environment(commands.cache), stdout=full, stderr=subprocess.PIPE
    )
  errors = [line for line in done.stderr.decode().split("\n") if line.startswith("error: ")]
  assert errors == ["error: standard output cannot be written: No space left on device"]
  assert done.returncode == 1 and b"Traceback" not in done.stderr
