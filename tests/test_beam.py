"""Preparing data with Apache Beam's local runner in two processes.

Expected values: the files that this machine's own processes make.
"""

import importlib.util
import json
import time

import pytest
from etils import epath

from dap_jax.data import manifest
from dap_jax.data.cleaning import corpus as corpus_module
from dap_jax.data.engines.beam import BeamWorkers
from dap_jax.utils.errors import UserError
from tests.test_data import prepare, prepare_corpus

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
LOCAL = ("--runner=DirectRunner", "--direct_num_workers=2")
PROCESSES = (*LOCAL, "--direct_running_mode=multi_processing")
pytestmark = pytest.mark.skipif(not HAS_BEAM, reason="needs apache-beam, which wants numpy < 2.5")


def files_in(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
  }


@pytest.mark.slow
def test_two_processes_of_beam_make_the_same_files(tmp_path, monkeypatch):
  monkeypatch.setattr(corpus_module, "CHUNK_ROWS", 40)
  folder, whole = tmp_path / "beam", tmp_path / "whole"
  folder.mkdir(), whole.mkdir()
  prepare_corpus(whole, near_duplicates=0.6)
  assert "near_duplicate" in manifest.read_info(whole / "data")["rejected"]
  workers = BeamWorkers(epath.Path(folder / "work"), PROCESSES)
  arguments = {"paths": str(whole / "*-en.tsv")}
  prepare(folder, arguments=arguments, near_duplicates=0.6, workers=workers)
  assert files_in(folder / "data") == files_in(whole / "data")
  assert not (folder / "work").exists()


def test_what_was_done_before_is_not_done_again(tmp_path):
  """Of ten parts the fourth fails at first; the others' results are used again."""
  marks = tmp_path / "marks"
  marks.mkdir()
  work = epath.Path(tmp_path / "work")
  parts = [(str(marks), number % 9) for number in range(10)]  # the first and last are equal
  with pytest.raises(Exception, match="not yet"), BeamWorkers(work, LOCAL) as workers:
    list(workers.map(marked, parts))
  (marks / "ready").touch()
  with BeamWorkers(work, LOCAL) as workers:
    assert list(workers.map(marked, parts)) == [number % 9 * 2 for number in range(10)]
  counts = [len((marks / str(number)).read_text()) for number in range(9)]
  assert all(count == 1 for number, count in enumerate(counts) if number != 3) and counts[3] > 1
  assert not work.exists()


def marked(part):
  """Twice the number; leaves a mark of having done it."""
  folder, number = part
  with open(f"{folder}/{number}", "a") as file:
    file.write("x")
  if number == 3 and not epath.Path(f"{folder}/ready").exists():
    raise ValueError("not yet")
  return 2 * number


def test_an_option_that_beam_does_not_have(tmp_path):
  with pytest.raises(UserError, match="--beam_option: Beam has no option nonsense"):
    BeamWorkers(epath.Path(tmp_path), ["--nonsense=1"])


@pytest.mark.slow
def test_a_killed_pipeline_is_gone_on_with(commands, tmp_path):
  """The command, killed when a part is done, and started again: the files of the other engine."""
  run = tmp_path / "run"
  flags = [f"--config=tests/tiny.py:{commands.corpus}", f"--workdir={run}", "--engine=beam"]
  flags += [f"--beam_option={option}" for option in LOCAL]
  process = commands.start("prepare", *flags)
  outputs = run / "beam" / "outputs"
  while process.poll() is None and not (outputs.exists() and any(outputs.iterdir())):
    time.sleep(0.001)
  process.kill()
  process.communicate()
  assert process.returncode == -9
  assert not (run / "data" / "info.json").exists()
  commands.run("prepare", *flags)
  assert files_in(run / "data") == files_in(commands.straight / "data")
  assert not (run / "beam").exists()
  assert json.loads((run / "config.json").read_text())
