"""Commands that are killed, or whose disk is full, give the undisturbed bytes when run again.

Seven commands, each killed as soon as it has written something and at two moments more, and each on
a disk that takes half of its largest file. `train` has its own: test_commands.py, test_faults.py.
"""

import json
import resource
import signal
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.topics import write_topics

COMMANDS = ("embed", "evaluate", "export", "finetune", "mine", "prepare", "report")
TIMES = ("pairs_per_second", "examples_per_second", "tokens_per_second", "data_wait", "goodput")
STAMPED = {"checkpoints", "checksums", ".tfevents"}  # their bytes or names hold the time


@pytest.fixture(scope="module")
def inputs(commands, tmp_path_factory):
  """Texts to embed and to mine, topics to fine-tune on."""
  folder = tmp_path_factory.mktemp("inputs")
  for code in ("en", "aa"):
    lines = (commands.corpus / f"{code}.tsv").read_text(encoding="utf-8").splitlines()
    texts = "".join(line.split("\t")[1] + "\n" for line in lines)
    (folder / f"{code}.txt").write_text(texts * (12 if code == "en" else 1), encoding="utf-8")
  (folder / "topics").mkdir()
  for code in ("en", "aa"):
    write_topics(commands.corpus, folder / "topics", code)
  return folder


def flags_of(name, *, run, corpus, inputs, folder):
  """A command's flags; all that it writes is in the folder."""
  model = f"--model={run}"
  return {
    "embed": [model, f"--input={inputs}/en.txt", f"--output={folder}/vectors.npy"],
    "evaluate": [model, f"--output={folder}/scores.json"],
    "export": [f"--workdir={run}", f"--output={folder}/exported"],
    "finetune": [model, f"--data={inputs}/topics", f"--workdir={folder}/run", "--save_steps=2"]
    + ["--train_language=en", "--batch_size=32", "--max_tokens=16"],
    "mine": [model, f"--source={inputs}/aa.txt", f"--target={inputs}/en.txt", "--save_seconds=0"]
    + [f"--output={folder}/pairs.tsv"],
    "prepare": [f"--config=tests/tiny.py:{corpus}", f"--workdir={folder}/run"],
    "report": [f"--workdir={run}", f"--output={folder}/report.html"],
  }[name]


def content(folder):
  """What a command left, by path: bytes, or arrays of checkpoints; without the clock's figures."""
  kept = {}
  for path in sorted(folder.rglob("*")):
    name = str(path.relative_to(folder))
    if path.name == "metrics.jsonl":
      lines = [json.loads(line) for line in path.read_text().splitlines()]
      kept[name] = [{k: v for k, v in line.items() if k not in TIMES} for line in lines]
    elif path.name == "checkpoints":
      (step,) = (each for each in path.iterdir() if each.name.isdigit())
      state = ocp.PyTreeCheckpointer().restore(step / "state")
      leaves = ocp.tree.to_flat_dict(state, sep="/")
      kept |= {f"{name}/{step.name}/{leaf}": np.asarray(leaves[leaf]).tobytes() for leaf in leaves}
    elif path.is_file() and not STAMPED & {*path.parts, *path.suffixes}:
      kept[name] = path.read_bytes()
  return kept


def largest_file(folder):
  return max(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def kill(process, folder, seconds):
  """After so many seconds, or, where that is None, once something stands in the folder."""
  deadline = time.monotonic() + (100 if seconds is None else seconds)
  while time.monotonic() < deadline and process.poll() is None:
    if seconds is None and any(path.is_file() for path in folder.rglob("*")):
      break
    time.sleep(0.001)
  process.kill()
  process.communicate()
  return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_disturbed_and_run_again(commands, inputs, tmp_path, name):
  def made(case):
    folder = tmp_path / case
    folder.mkdir()
    inputs_of = {"run": commands.straight, "corpus": commands.corpus, "inputs": inputs}
    return folder, flags_of(name, **inputs_of, folder=folder)

  whole, flags = made("undisturbed")
  commands.run(name, *flags)
  again, flags = made("again")
  started = time.monotonic()
  commands.run(name, *flags)
  seconds = time.monotonic() - started
  expected = content(whole)
  assert expected and content(again) == expected
  rng = np.random.default_rng(COMMANDS.index(name))
  moments = {"first_file": None} | {
    f"killed_{part}": part * seconds for part in rng.uniform(0.4, 1.0, 2).round(2)
  }
  killed = 0
  for case, moment in moments.items():
    folder, flags = made(case)
    killed += kill(commands.start(name, *flags), folder, moment) == -signal.SIGKILL
    commands.run(name, *flags)
    assert content(folder) == expected, case
  assert killed, "no moment was before the end"
  folder, flags = made("full")
  process = commands.start(name, *flags)
  limit = largest_file(whole) // 2
  resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
  output = "".join(process.communicate(timeout=300))
  assert process.returncode == 1 and "Traceback" not in output, output
  assert len([line for line in output.split("\n") if line.startswith("error: ")]) == 1, output
  commands.run(name, *flags)
  assert content(folder) == expected
