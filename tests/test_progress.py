"""What is said while work goes on: soon, regularly, and on any terminal."""

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time

import pytest

from dap_jax.training import metric_writer
from dap_jax.training.metric_writer import MetricWriter
from dap_jax.utils import progress
from tests.commands import ROOT


@pytest.fixture
def clock(monkeypatch):
  """A clock that a test turns; what a module takes for `time.monotonic()`."""
  now = [1000.0]
  monkeypatch.setattr(time, "monotonic", lambda: now[0])
  return now


def test_what_takes_long_is_said_at_once_and_again(monkeypatch):
  """0.5 s of work at a line every 0.1 s: the first, and four, or fewer on a busy machine."""
  monkeypatch.setattr(progress, "STILL_SECONDS", 0.1)
  lines = []
  with progress.still_working("compiling", say=lines.append):
    assert lines == ["compiling"]
    time.sleep(0.5)
  count = len(lines)
  assert 2 <= count <= 6
  assert set(lines[1:]) == {"compiling: 00:00 so far"}
  time.sleep(0.2)
  assert len(lines) == count


def test_the_time_left_is_of_the_last_minutes(clock):
  """By hand: 600 s at a step a second, then 300 s at two a second: 100 steps take 50 s."""
  rate = progress.RecentRate()
  assert rate.seconds_for(100) is None
  done = 0
  for seconds, steps in ((600, 1), (300, 2)):
    for _ in range(seconds):
      clock[0] += 1
      done += steps
      rate.add(done)
  assert rate.seconds_for(100) == pytest.approx(50, rel=0.01)
  clock[0] += 30  # one pause of 30 s in 330: a tenth more, where the last interval says 15 times
  rate.add(done + 2)
  assert rate.seconds_for(100) == pytest.approx(55, rel=0.02)


def test_a_run_is_never_silent_for_long(clock, tmp_path, monkeypatch, caplog):
  """A step every 25 s: off a terminal every third passes a minute without a line."""
  monkeypatch.setattr(logging.getLogger("dap_jax"), "propagate", True)
  caplog.set_level(logging.INFO, logger=metric_writer.__name__)
  with MetricWriter(tmp_path, steps=100, first_step=10, writes=True) as writer:
    for _ in range(7):
      clock[0] += 25
      writer.advance()
  assert [record.getMessage() for record in caplog.records] == [
    "step 13/100  36:15 left",  # 87 steps of 25 s
    "step 16/100  35:00 left",
  ]
  assert (tmp_path / "metrics.jsonl").read_text() == ""


@pytest.mark.parametrize(("columns", "widest"), [(0, 80), (60, 60)])
def test_a_bar_on_a_terminal(columns, widest):
  """A terminal that `script` makes has 0 columns: as 80, what terminals have that do not say."""
  outer, inner = pty.openpty()
  fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
  script = (
    "from dap_jax.utils.progress import Progress\n"
    "with Progress('reading', total=8, unit='line') as bar:\n"
    "  bar.advance(4)\n"
  )
  subprocess.run([sys.executable, "-c", script], cwd=ROOT, stderr=inner, check=True)
  os.close(inner)
  text = os.read(outer, 10_000).decode()
  os.close(outer)
  lines = [line for line in re.split(r"[\r\n]+", text) if "reading" in line]
  assert lines
  assert max(map(len, lines)) in (widest - 1, widest)
