"""What a sweep file says: runs, their names, every mistake; and the table and the plot by hand."""

import json
from pathlib import Path

import pytest

from dap_jax.sweeps import hyper, plan, plot, results
from dap_jax.utils.errors import UserError
from tests.commands import ROOT
from tests.test_sweep import write_sweep

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def test_shares_of_machines():
  """Of 0, ..., 6 by hand; all shares together are everything once."""
  assert plan.share(range(7), "2/3") == [1, 4] and plan.share(range(7), "1/1") == list(range(7))
  for wrong in ("0/2", "3/2", "1", "x/2", "", "-1/2", "1/2/3"):
    with pytest.raises(UserError, match=f"--shard={wrong}: expected I/N"):
      plan.share(range(7), wrong)


def test_settings_combine():
  """2 x (2 zipped) x 2, the last fastest; names of what differs, seeds apart."""
  systems = hyper.system("a", "a.py") + hyper.system("b", "b.py:x", {"steps": 3})
  zipped = hyper.zipit(
    [hyper.sweep("o.rate", [0.1, 1e-5]), hyper.sweep("data.folder", ["x/y", ()])]
  )
  runs = hyper.product([systems, zipped, hyper.seeds(2)])
  assert len(runs) == 8
  assert runs[0] == {
    "name": "a,rate=0.1,folder=y",
    "config": "a.py",
    "o.rate": 0.1,
    "data.folder": "x/y",
    "seed": 0,
  }
  assert [run["seed"] for run in runs] == [0, 1] * 4
  assert runs[-1]["name"] == "b,rate=1e-05,folder=()" and runs[-1]["steps"] == 3
  with pytest.raises(UserError, match=r"\[2, 3\] runs: expected equally many"):
    hyper.zipit([hyper.seeds(2), hyper.seeds(3)])
  with pytest.raises(UserError, match="steps is set to 3 and to 4 in one run"):
    hyper.product([systems, hyper.sweep("steps", [4])])


GOOD = 'hyper.system("a", "tests/tiny.py")'
MISTAKES = {
  "no get_hyper": ("x = 1", "no function get_hyper"),
  "not Python": ("def get_hyper(:", "SyntaxError"),
  "no list": ("def get_hyper():\n  return 3", "must return a list, it returned int"),
  "no runs": ("def get_hyper():\n  return []", "gave no runs"),
  "an exception": ("def get_hyper():\n  return [][1]", "get_hyper fails: IndexError"),
  "an argument wanted": (
    "def get_hyper(folder):\n  return []",
    "cannot be called for FILE without",
  ),
  "no run": ("def get_hyper():\n  return [{'seed': 1}]", "make it with hyper.system"),
  "unknown key": (
    f"def get_hyper():\n  return hyper.product([{GOOD}, hyper.sweep('optimizer.rate', [1])])",
    "unknown config key optimizer.rate",
  ),
  "key below a leaf": (
    f"def get_hyper():\n  return hyper.product([{GOOD}, hyper.sweep('steps.x', [1])])",
    "unknown config key steps.x",
  ),
  "wrong type": (
    f"def get_hyper():\n  return hyper.product([{GOOD}, hyper.sweep('steps', ['many'])])",
    "steps='many'",
  ),
  "changed on its way": (
    f"def get_hyper():\n  return hyper.product([{GOOD}, hyper.sweep('init_from', [None])])",
    "init_from=None cannot be set by a flag, it becomes 'None'",
  ),
  "no config file": (
    "def get_hyper():\n  return hyper.system('a', 'configs/no.py')",
    "configs/no.py is no file",
  ),
  "get_config fails": (
    "def get_hyper():\n  return hyper.system('a', 'tests/tiny.py:x:y') + "
    "hyper.system('b', 'configs/demo.py:argument')",
    "takes 0 positional arguments but 1 was given",
  ),
  "one name twice": (
    f"def get_hyper():\n  return {GOOD} + {GOOD}",
    "2 runs are called 'a seed 0'",
  ),
  "names that differ by case": (
    f"def get_hyper():\n  return {GOOD} + hyper.system('A', 'tests/tiny.py', {{'seed': 1}})",
    "differ by case alone",
  ),
  "a name that is no folder": (
    "def get_hyper():\n  return hyper.system('a/b', 'tests/tiny.py')",
    "cannot be called 'a/b'",
  ),
  "a name of our own": (
    "def get_hyper():\n  return hyper.system('failed', 'tests/tiny.py')",
    "cannot be called 'failed'",
  ),
  "unknown suite": (
    f"def get_hyper():\n  return {GOOD}\ndef get_evaluations():\n  return [{{'suite': 'x'}}]",
    "the suite 'x' is unknown",
  ),
  "unknown setting": (
    f"def get_hyper():\n  return {GOOD}\n"
    "def get_evaluations():\n  return [{'suite': 'xsim', 'settings': {'margins': 'ratio'}}]",
    "xsim has no setting margins='ratio'",
  ),
  "unknown key of an evaluation": (
    f"def get_hyper():\n  return {GOOD}\n"
    "def get_evaluations():\n  return [{'suite': 'xsim', 'margin': 'ratio'}]",
    "expected a suite, and of",
  ),
  "a step that is none": (
    f"def get_hyper():\n  return {GOOD}\n"
    "def get_evaluations():\n  return [{'suite': 'xsim', 'step': 'last'}]",
    "step newest, best or a number",
  ),
  "data that is not there": (
    f"def get_hyper():\n  return {GOOD}\n"
    "def get_evaluations():\n  return [{'suite': 'sts', 'data': 'no/where'}]",
    "data='no/where' is no folder",
  ),
  "data that is needed": (
    f"def get_hyper():\n  return {GOOD}\ndef get_evaluations():\n  return [{{'suite': 'sts'}}]",
    "needs 'data'",
  ),
  "two evaluations of one name": (
    f"def get_hyper():\n  return {GOOD}\n"
    "def get_evaluations():\n  return [{'suite': 'xsim'}, {'suite': 'xsim'}]",
    "2 evaluations are called 'xsim'",
  ),
  "a column of no evaluation": (
    f"def get_hyper():\n  return {GOOD}\ndef get_columns():\n  return {{'x': '-xsim:a'}}",
    "no evaluation is called 'xsim'",
  ),
  "a column without a key": (
    f"def get_hyper():\n  return {GOOD}\ndef get_columns():\n  return {{'x': ''}}",
    "expected a title and the key",
  ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_start_nothing(mistake, tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  body, expected = MISTAKES[mistake]
  sweep = write_sweep(tmp_path, body)
  with pytest.raises(UserError) as raised:
    plan.read_sweep(sweep, str(tmp_path / "out"))
  assert expected in str(raised.value) and "\n" not in str(raised.value)
  assert [path.name for path in tmp_path.iterdir() if path.suffix != ".pyc"] == ["sweep.py"]


def test_example_files(monkeypatch, tmp_path):
  """Those in configs/sweeps are read without a mistake."""
  monkeypatch.chdir(ROOT)
  files = sorted(Path("configs/sweeps").glob("[a-z]*.py"))
  assert files
  for file in files:
    assert plan.read_sweep(str(file), str(tmp_path / "out")).runs


def write_workdir(run, values):
  """A finished run's folder with the figures of one evaluation in its journal."""
  (run.workdir / "checkpoints" / str(run.settings["steps"])).mkdir(parents=True)
  (run.workdir / "config.json").write_text(json.dumps(run.settings))
  (run.workdir / "versions.json").write_text("{}")
  line = {"step": run.settings["steps"], **values}
  (run.workdir / "metrics.jsonl").write_text(json.dumps(line) + "\n")


@pytest.fixture
def figures(tmp_path, monkeypatch):
  """Three systems of three seeds with figures that are easy to work out."""
  monkeypatch.chdir(ROOT)
  sweep = write_sweep(
    tmp_path,
    """
    def get_hyper():
      names = hyper.system("a|b", "tests/tiny.py") + hyper.system("c", "tests/tiny.py")
      names += hyper.system("d", "tests/tiny.py")
      return hyper.product([names, hyper.seeds(3)])

    def get_columns():
      return {"right": "eval/x/right", "wrong": "-eval/x/wrong", "speed": "pairs_per_second"}
    """,
  )
  found = plan.read_sweep(sweep, str(tmp_path / "out"))
  right = [0.5, 0.6, 0.7, 0.65, 0.55]
  wrong = [4.0, 4.0, 4.0, 1.0, 3.0]
  for run, x, y in zip(found.runs, right, wrong, strict=False):
    write_workdir(run, {"eval/x/right": x, "eval/x/wrong": y, "pairs_per_second": 250.0})
  return found


def test_means_and_deviations_by_hand(figures):
  """a|b: 0.5, 0.6, 0.7 have mean 0.6 and variance 0.02 / 2; c: two of three seeds, 0.65 and 0.55,
  have mean 0.6 and variance 0.005, 1 and 3 have mean 2 and variance 2; d has none."""
  text = results.markdown(results.collect(figures))
  rows = [[cell.strip() for cell in line.split(" | ")] for line in text.split("\n")[2:5]]
  rows = [[cell.strip("| ") for cell in row] for row in rows]
  assert rows[0] == ["a\\|b", "**0.600 ± 0.100**", "4.00 ± 0.00", "**250 ± 0**"]
  assert rows[1] == [
    *("c", "**0.600 ± 0.071** (2 of 3)", "**2.00 ± 1.41** (2 of 3)", "**250 ± 0** (2 of 3)")
  ]
  assert rows[2] == ["d", "missing", "missing", "missing"]
  assert "over 3 seeds; ↓: smaller is better" in text and "4 of 9 runs" in text
  assert "- c seed 2: not started" in text and "- d seed 0: not started" in text
  assert len({len(line) for line in text.split("\n")[:5]}) == 1


def test_unfinished_runs_have_no_figures(figures):
  run = figures.runs[0]
  line = json.loads((run.workdir / "metrics.jsonl").read_text()) | {"step": 30}
  (run.workdir / "metrics.jsonl").write_text(json.dumps(line) + "\n")
  found = results.collect(figures)
  assert found.states[0] == "unfinished: step 30 of 60"
  assert found.cell("a|b", "right").values == [0.6, 0.7]


def test_one_seed_has_no_deviation_and_one_system_no_best(figures):
  alone = figures._replace(runs=[figures.runs[0]])
  text = results.markdown(results.collect(alone))
  assert "| a\\|b   | 0.500 | 4.00    | 250   |" in text
  assert "over 1 seed;" in text


def test_the_plot_shows_each_seed_its_mean_and_what_is_missing(figures):
  """Panel "right": five seeds, two means, and d without either."""
  found = results.collect(figures)
  spec = plot.panel(found, "right").to_dict()
  bars, points, words = (spec["datasets"][layer["data"]["name"]] for layer in spec["layer"])
  assert [point["value"] for point in points] == [0.5, 0.6, 0.7, 0.65, 0.55]
  assert [bar["value"] for bar in bars] == pytest.approx([0.6, 0.6])
  assert words == [{"system": "d"}]
  assert plot.panel(found, "wrong").to_dict()["title"] == "wrong (smaller is better)"


def test_digits():
  """Three digits of the largest figure, at most four after the point."""
  largest = {0.786: 3, 0.0071: 4, 90.94: 1, 8.1: 2, 626.0: 0, 45_000.0: 0, 0.0: 1}
  assert {value: results.decimals([value, value / 3]) for value in largest} == largest
