"""A workdir belongs to one process, and to nobody once that has ended, however it did."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dap_jax.utils.errors import UserError
from dap_jax.utils.locks import LockedError, exclusive

ROOT = Path(__file__).parents[1]
HOLD = (
  "import sys, time; from dap_jax.utils.locks import exclusive\n"
  "with exclusive(sys.argv[1]): print('held', flush=True); time.sleep(100)"
)


@pytest.fixture
def holder(tmp_path):
  command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
  with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()


def test_the_second_process_is_told_and_a_killed_one_holds_nothing(holder, tmp_path):
  with (
    pytest.raises(LockedError, match=r"run is being written by another process: wait"),
    exclusive(tmp_path / "run"),
  ):
    pass
  holder.send_signal(signal.SIGKILL)
  holder.wait(timeout=10)
  with exclusive(tmp_path / "run"):
    pass


def test_a_folder_is_free_again_after_an_error(tmp_path):
  with pytest.raises(KeyError), exclusive(tmp_path / "new" / "run"):
    raise KeyError
  with exclusive(tmp_path / "new" / "run"), exclusive(tmp_path / "another"):
    pass


def test_remote_folders_are_not_locked():
  with exclusive("gs://bucket/run"), exclusive("gs://bucket/run"):
    pass


def test_what_is_no_folder_is_refused(tmp_path):
  (tmp_path / "file").write_text("")
  with (
    pytest.raises(UserError, match="--workdir=.*cannot be written"),
    exclusive(tmp_path / "file"),
  ):
    pass
