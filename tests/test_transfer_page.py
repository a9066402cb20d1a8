"""The report of fine-tunings: what is read, the map of scores by hand, mistakes.

tests/test_report.py opens the page in a browser.
"""

import markupsafe
import pytest
from etils import epath

from dap_jax.report_page import transfer
from tests.scored_folders import HOSTILE, write_finetuning, write_xtreme


def test_the_map_of_a_fine_tuning_by_hand(tmp_path):
  """Rows by the mean of both scores; a shade is a tenth: 0.31 is the fourth of ten."""
  one = transfer.read(epath.Path(write_finetuning(tmp_path / "run")), name="run")
  table = transfer.score_map([one])
  assert table["titles"] == ["f1", "accuracy"]
  rows = dict(table["rows"])
  assert list(rows) == ["zero_shot_mean", "en", "zh", "de", "sw"]
  assert rows["sw"] == [("31.0", 3), ("36.0", 3)] and rows["en"] == [("90.0", 9), ("95.0", 9)]
  assert rows["zero_shot_mean"] == [("55.3", 5), None]
  assert one.trainings[0].curve("eval/dev/f1") == [(50, 1 / 3), (100, 2 / 3)]


def test_the_map_of_xtreme_by_hand(tmp_path):
  """Of [0, 100]; the metrics that count in averages; averages are tiles, not cells."""
  one = transfer.read(epath.Path(write_xtreme(tmp_path / "run")), name="run")
  table = transfer.score_map([one])
  assert table["titles"] == ["udpos", "xquad EM", "xquad F1"]
  assert dict(table["rows"]) == {
    "mean": [("61.0", 6), None, None],
    "de": [("100.0", 9), ("50.0", 5), ("60.0", 6)],
  }
  assert one.figures == {"udpos": 61.0, "question answering": 55.0}
  assert [each.name for each in one.trainings] == ["squad", "udpos"]


def test_several_are_told_apart(tmp_path):
  folders = [write_finetuning(tmp_path / name / "pos") for name in ("a", "b")]
  scored = transfer.read_scored([str(folder) for folder in folders])
  assert [one.name for one in scored] == [str(folder) for folder in folders]
  assert transfer.score_map(scored)["titles"][2] == f"{folders[1]}: f1"


def test_the_command(commands, tmp_path):
  """A hostile text of a protocol stays text; a run before its test has curves alone."""
  folder = write_finetuning(tmp_path / "run")
  commands.run("report", f"--workdir={folder}")
  html = (folder / "report.html").read_text()
  assert HOSTILE not in html and markupsafe.escape(HOSTILE) in html
  (folder / "scores.json").unlink()
  commands.run("report", f"--workdir={folder}")
  assert "no run has reached its test yet" in (folder / "report.html").read_text()


def test_mistakes(commands, tmp_path):
  folder = write_finetuning(tmp_path / "run")
  both = f"--workdir={folder}", f"--workdir={commands.straight}"
  assert "is of another kind than the others" in commands.fail("report", *both)
  assert "is given 2 times" in commands.fail("report", *2 * (f"--workdir={folder}",))
  line = commands.fail("report", f"--workdir={folder}", "--step=best")
  assert "--step has no effect" in line
  (folder / "scores.json").write_text("{")
  assert "scores.json" in commands.fail("report", f"--workdir={folder}")
  assert not (folder / "report.html").exists()


@pytest.mark.parametrize("share", [0.0, 0.0999, 0.1, 0.95, 1.0, 1.2, -0.1])
def test_shades(tmp_path, share):
  """Tenths; what is out of [0, 1] has the shade of the end."""
  one = transfer.Scored("x", {"f1": {"de": share}}, 1.0, {}, {}, [])
  ((_, [(_, shade)]),) = transfer.score_map([one])["rows"]
  assert shade == {0.0: 0, 0.0999: 0, 0.1: 1, 0.95: 9, 1.0: 9, 1.2: 9, -0.1: 0}[share]
