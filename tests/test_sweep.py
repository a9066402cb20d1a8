"""Sweeps: small real runs to the table, a stop in the middle, one that diverges; every mistake."""

import csv
import json
import shlex
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from dap_jax.sweeps import plan, runner, state
from dap_jax.workdir import layout
from tests.commands import ROOT, Commands, environment, lines_of

# ml_collections loads config files by an old name of importlib's.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

RUN = {"steps": 200, "eval_steps": 200, "log_steps": 10, "checkpoint.save_steps": 100}
# What compiles in seconds, since every run here is a program of its own.
RUN |= {"objectives.representation_translation.weight": 0.0, "model.dropout": 0.0}
SWEEP = f"""
from dap_jax.sweeps import hyper

def get_hyper(corpus):
  config, small = f"tests/tiny.py:{{corpus}}", {RUN}
  wild = hyper.system("wild", config, small | {{"optimizer.learning_rate": 1e30}})
  mean = hyper.system("mean", config, small)
  first = hyper.system("first", config, small | {{"model.pooling": "cls"}})
  return wild + hyper.product([mean + first, hyper.seeds(2)])

def get_evaluations(corpus):
  return [{{"suite": "xsim", "settings": {{"margin": "distance"}}}}]

def get_columns(corpus):
  return {{"to English": "eval/retrieval/to_pivot_accuracy", "xsim": "-xsim:to_pivot_xsim/mean",
          "pairs/s": "pairs_per_second"}}
"""
NAMES = ["mean seed 0", "mean seed 1", "first seed 0", "first seed 1"]


def start(folder, *flags):
  return subprocess.Popen(
    [sys.executable, "launch/sweep.py", *map(str, flags)],
    cwd=ROOT,
    env=environment(),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finish(process, *, status):
  out, err = process.communicate(timeout=300)
  assert process.returncode == status, f"status {process.returncode}\n{out}\n{err}"
  assert "Traceback" not in err
  return out, err


@pytest.fixture(scope="module")
def swept(tmp_path_factory, common):
  """A sweep that was stopped in its third run, and started again; what both starts said."""
  commands = Commands(tmp_path_factory.mktemp("sweep"), shared=common)
  output = commands.folder / "out"
  (commands.folder / "sweep.py").write_text(SWEEP)
  flags = [f"--sweep={commands.folder}/sweep.py:{commands.corpus}", f"--output={output}"]
  first = start(commands.folder, *flags)
  metrics = output / "mean" / "seed1" / "metrics.jsonl"
  while not metrics.exists() or not metrics.read_text():
    assert first.poll() is None, first.communicate()
    time.sleep(0.01)
  first.send_signal(signal.SIGTERM)
  first_said = finish(first, status=130)
  stopped_at = lines_of(output / "mean" / "seed1")[-1]["step"]
  before = {path: path.stat().st_mtime_ns for path in (output / "mean" / "seed0").rglob("*")}
  second_said = finish(start(commands.folder, *flags), status=1)
  return commands, output, flags, first_said, second_said, stopped_at, before


@pytest.mark.slow
def test_a_stop_and_the_same_command_again(swept):
  _, output, _, (_, first), (_, second), stopped_at, before = swept
  assert "interrupted; the same command resumes" in first
  assert "2/5 mean seed 0: loss " in first and "3/5" not in first
  assert 0 < stopped_at < RUN["steps"]
  assert "2/5 mean seed 0: complete" in second
  assert {path: path.stat().st_mtime_ns for path in before} == before
  for number, name in enumerate(NAMES[1:], 3):
    assert f"{number}/5 {name}: loss " in second
  assert second.count("left\n") == 2  # an estimate as long as runs wait, from the first that ends
  log = (output / "mean" / "seed1.log").read_text()
  resumed = int(log.split("resumed at step ")[1].split(" ")[0])
  assert 0 < resumed < RUN["steps"]
  steps = [line["step"] for line in lines_of(output / "mean" / "seed1") if "loss" in line]
  assert steps == sorted(set(steps)) and steps[-1] == RUN["steps"]


@pytest.mark.slow
def test_a_run_that_diverges_is_set_apart(swept):
  _, output, _, (_, first), (out, second), *_ = swept
  for said in (first, second):  # the second start tried it again, from its last checkpoint
    assert "1/5 wild seed 0: FAILED: step " in said and "is not finite: loss " in said
  assert "1 of 5 runs are not complete: wild seed 0" in second
  assert not (output / "wild" / "seed0").exists()
  assert layout.is_workdir(output / "failed" / "wild" / "seed0")
  reason = (output / "failed" / "wild" / "seed0.txt").read_text()
  assert reason.startswith("step ") and "--replay_step=" in reason
  assert (output / "failed" / "wild" / "seed0.log").read_text().count("$ python -m") == 2
  assert "- wild seed 0: failed: step " in out


@pytest.mark.slow
def test_the_table_of_real_runs(swept):
  """Means and deviations once more, from metrics.jsonl and the evaluations, by numpy."""
  _, output, _, _, (out, _), *_ = swept
  assert out == (output / "table.md").read_text()
  with (output / "table.csv").open() as file:
    rows = {row["system"]: row for row in csv.DictReader(file)}
  assert list(rows) == ["wild", "mean", "first"]
  for system in ("mean", "first"):
    folders = [output / system / f"seed{seed}" for seed in (0, 1)]
    records = [lines_of(folder) for folder in folders]
    found = {
      "to English": [lines[-1]["eval/retrieval/to_pivot_accuracy"] for lines in records],
      "xsim": [
        json.loads((folder / "scores" / "xsim.json").read_text())[
          "eval/xsim[margin=distance]/to_pivot_xsim/mean"
        ]
        for folder in folders
      ],
      "pairs/s": [
        np.median([line["pairs_per_second"] for line in lines if "loss" in line])
        for lines in records
      ],
    }
    for title, values in found.items():
      assert float(rows[system][f"{title} mean"]) == pytest.approx(np.mean(values))
      assert float(rows[system][f"{title} sd"]) == pytest.approx(np.std(values, ddof=1))
      assert rows[system][f"{title} seeds"] == "2"
  assert rows["wild"]["xsim mean"] == "" and rows["wild"]["xsim seeds"] == "0"
  with (output / "runs.csv").open() as file:
    runs = list(csv.DictReader(file))
  assert [f"{run['system']} seed {run['seed']}" for run in runs] == ["wild seed 0", *NAMES]
  assert [run["state"] for run in runs][1:] == ["complete"] * 4
  assert (output / "plot.svg").read_text().startswith("<svg")
  assert (output / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_data_was_prepared_once(swept):
  _, output, *_ = swept
  logs = [*output.glob("*/*.log"), *output.glob("failed/*/*.log")]
  assert sum("preparing the data, once" in log.read_text() for log in logs) == 1
  assert len(logs) == 5 and len(list((output / "prepared").iterdir())) == 1
  first, last = output / "failed" / "wild" / "seed0", output / "first" / "seed1"
  for path in ("data/train.npz", "data/info.json", "tokenizer/tokenizer.json"):
    assert (first / path).read_bytes() == (last / path).read_bytes()


@pytest.mark.slow
def test_only_the_table(swept, tmp_path):
  """From what is there; other columns need no run, and one that no run has is named."""
  commands, output, *_ = swept
  text = SWEEP.replace("xsim:to_pivot_xsim/mean", "xsim:to_pivot/mean")
  (tmp_path / "sweep.py").write_text(text)
  flags = [f"--sweep={tmp_path}/sweep.py:{commands.corpus}", f"--output={output}", "--table"]
  out, err = finish(start(commands.folder, *flags), status=0)
  assert "No run has -xsim:to_pivot/mean of the column xsim" in out
  assert "xsim:to_pivot_xsim/mean" in out and err == ""


@pytest.mark.slow
def test_other_evaluation_settings_are_not_taken_for_these(swept, tmp_path):
  commands, output, *_ = swept
  (tmp_path / "sweep.py").write_text(SWEEP.replace('{"margin": "distance"}', "{}"))
  other = plan.read_sweep(f"{tmp_path}/sweep.py:{commands.corpus}", str(output))
  assert state.state_of(other.runs[1], other) == "unfinished: trained, not evaluated"


@pytest.mark.slow
def test_a_run_of_another_config_is_refused_before_anything_starts(swept, tmp_path):
  commands, output, *_ = swept
  (tmp_path / "sweep.py").write_text(SWEEP.replace('"cls"', '"mean_top2"'))
  flags = [f"--sweep={tmp_path}/sweep.py:{commands.corpus}", f"--output={output}"]
  _, err = finish(start(commands.folder, *flags), status=1)
  assert "first/seed0 holds a run with model.pooling='cls'" in err
  assert err.count("\n") == 1


@pytest.mark.slow
def test_a_run_that_another_process_has_is_left_to_it(swept):
  _, output, flags, *_ = swept
  whole = plan.read_sweep(flags[0].removeprefix("--sweep="), str(output))
  with runner.opened_log(whole.runs[1]) as log, runner.opened_log(whole.runs[1]) as again:
    assert log is not None and again is None


def write_sweep(folder, body, *, name="sweep.py"):
  path = folder / name
  path.write_text("from dap_jax.sweeps import hyper\n" + textwrap.dedent(body))
  return str(path)


def test_print_quotes_for_a_shell(tmp_path):
  folder = tmp_path / "the data's"
  folder.mkdir()
  sweep = write_sweep(
    tmp_path,
    """
    def get_hyper(folder):
      system = hyper.system("a b", f"tests/tiny.py:{folder}", {"data.drop_characters": "'\\" $x"})
      return hyper.product([system, hyper.seeds(3)])

    def get_evaluations(folder):
      return [{"suite": "sts", "name": "my sts", "data": folder, "max_tokens": 9}]
    """,
  )
  output = tmp_path / "o u t"
  flags = [f"--sweep={sweep}:{folder}", f"--output={output}", "--print"]
  out, _ = finish(start(tmp_path, *flags), status=0)
  run = f"{output}/a b/seed2"
  train, makes, evaluates = out.splitlines()[2].split(" && ")
  assert shlex.split(train) == [
    *("python", "-m", "dap_jax.train", f"--config=tests/tiny.py:{folder}", f"--workdir={run}"),
    *("--config.data.drop_characters='\" $x", "--config.seed=2"),
    f"--config.data.cache={output}/prepared",
  ]
  assert shlex.split(makes) == ["mkdir", "-p", f"{run}/scores"]
  assert shlex.split(evaluates) == [
    *("python", "-m", "dap_jax.evaluate", f"--model={run}", "--suite=sts", f"--data={folder}"),
    *("--max_tokens=9", f"--output={run}/scores/my sts.json"),
  ]
  assert not output.exists()


def test_mistakes_of_the_command(tmp_path):
  _, err = finish(start(tmp_path, "--output=x"), status=2)
  assert "--sweep and --output are both needed" in err
  _, err = finish(start(tmp_path, f"--sweep={tmp_path}/no.py", "--output=x"), status=1)
  assert err.startswith("error: --sweep=") and "no.py" in err
  (tmp_path / "file").write_text("mine")
  sweep = write_sweep(tmp_path, """def get_hyper(): return hyper.system("a", "tests/tiny.py")""")
  _, err = finish(start(tmp_path, f"--sweep={sweep}", f"--output={tmp_path}/file"), status=1)
  assert "cannot be written" in err and (tmp_path / "file").read_text() == "mine"


def test_durations():
  assert [runner.duration(s) for s in (4.2, 59.6, 300, 4230)] == [
    *("4 s", "1 min", "5 min", "1 h 10 min")
  ]


def test_the_reason_of_a_failure(tmp_path):
  log = tmp_path / "log"
  log.write_text("error: of an earlier start\n" + "Traceback\nKeyError: 'x'\n\n")
  assert runner.why(1, log, first=27) == "exit status 1: KeyError: 'x'"
  assert runner.why(1, log, first=0) == "of an earlier start"
  assert runner.why(-9, log, first=27) == "killed by SIGKILL; its last line: KeyError: 'x'"
