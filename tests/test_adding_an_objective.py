"""Follows docs/adding-an-objective.md to the letter, in a copy of the source tree."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "adding-an-objective.md"
FILE = re.compile(r"^`([^`\n]+)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The page's own command, made short: two languages, fewer steps and ids.
SHORT = (
  *("--config.steps=30", "--config.log_steps=5", "--config.tokenizer.vocabulary_size=4000"),
  *("--config.data.languages=('de','fr')", "--config.data.heldout.min_languages=1"),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
  """A copy of the source tree with the page's files, none of which was there before."""
  folder = tmp_path_factory.mktemp("tree")
  for name in ("dap_jax", "configs", "tests"):
    shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
  files = dict(FILE.findall(PAGE.read_text()))
  assert len(files) == 3
  for name, content in files.items():
    assert not (folder / name).exists()
    (folder / name).write_text(content)
  return folder


def run(command, tree):
  words = shlex.split(command)
  assert words[0] == "python"
  result = subprocess.run(
    [sys.executable, *words[1:], *(SHORT if "dap_jax.train" in command else ())],
    cwd=tree,
    env=os.environ | {"PYTHONPATH": str(tree)},
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stdout + result.stderr
  return result.stdout


@pytest.mark.slow
def test_the_page_works_as_it_stands(tree):
  commands = [line for block in COMMANDS.findall(PAGE.read_text()) for line in block.splitlines()]
  said = [run(command, tree) for command in commands]
  assert "1 passed" in said[0]
  text = (tree / "runs" / "barlow" / "metrics.jsonl").read_text()
  lines = [line for line in map(json.loads, text.splitlines()) if "barlow_twins" in line]
  assert {"self_correlation", "translation_ranking"} <= lines[0].keys()
  assert lines[-1]["self_correlation"] > lines[0]["self_correlation"]
  assert lines[-1]["barlow_twins"] < lines[0]["barlow_twins"]


def test_the_page_is_in_the_projects_own_style(tree):
  names = [name for name, _ in FILE.findall(PAGE.read_text())]
  for check in (["check"], ["format", "--check"]):
    command = [sys.executable, "-m", "ruff", *check, "--config", str(ROOT / "pyproject.toml")]
    result = subprocess.run([*command, *names], cwd=tree, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
