"""`--output` never takes the place of what a run needs; elsewhere in its folder it may."""

import logging

import pytest

from dap_jax.cli import outputs
from dap_jax.utils.errors import UserError

CHECKS = {
  "check_file": outputs.check_file,
  "check_output": lambda path: outputs.check_file(path, "texts.txt"),
}


@pytest.fixture
def run(tmp_path):
  for folder in ("data", "checkpoints/60/state", "tokenizer"):
    (tmp_path / folder).mkdir(parents=True)
  for name in ("config.json", "versions.json"):
    (tmp_path / name).write_text("{}")
  return tmp_path


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize(
  "name",
  [
    "config.json",
    "metrics.jsonl",
    "data/info.json",
    "checkpoints/60/state/x",
    "data/../config.json",
  ],
)
def test_files_of_a_run_are_refused(run, name, check):
  with pytest.raises(UserError, match=r"--output=.* is part of the run in .*: name another file"):
    check(str(run / name))


def test_what_is_replaced_is_said(tmp_path, caplog, monkeypatch):
  monkeypatch.setattr(logging.getLogger("dap_jax"), "propagate", True)
  with caplog.at_level(logging.INFO, logger="dap_jax"):
    outputs.check_file(str(tmp_path / "pairs.tsv"), "in.txt")
    assert not caplog.messages
    (tmp_path / "pairs.tsv").touch()
    outputs.check_file(str(tmp_path / "pairs.tsv"), "in.txt")
  assert caplog.messages == [f"--output={tmp_path}/pairs.tsv is there: it is replaced at the end"]


def test_a_link_to_a_file_of_a_run_is_refused(run, tmp_path):
  (tmp_path / "link.html").symlink_to(run / "config.json")
  with pytest.raises(UserError, match="is part of the run"):
    outputs.check_file(str(tmp_path / "link.html"))


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_other_files_are_right(run, tmp_path, check):
  check(str(run / "report.html"))
  (tmp_path / "data" / "texts").mkdir()
  check(str(run / "scores.json"))
  (run / "versions.json").unlink()  # no run's folder any more
  check(str(run / "data" / "vectors.npy"))
