"""Ctrl-C ends a command at once, also where a library swallows the exception."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
import hashlib, time
from dap_jax.cli import command

def swallowed():  # as a callback of the garbage collector does
  while True:
    try:
      time.sleep(100)
    except KeyboardInterrupt:
      pass

def in_c():  # one call that looks at no signal; it holds no lock of Python's, as compiling
  hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)

def at_once():
  time.sleep(100)

def main():
  print("started", flush=True)
  globals()[WAY]()

command.run(main)
"""


@pytest.mark.parametrize("way", ["swallowed", "in_c", "at_once"])
def test_one_line_and_status_130(way):
  program = PROGRAM.replace("WAY", repr(way))
  process = subprocess.Popen(
    [sys.executable, "-c", program],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
  )
  assert process.stdout.readline() == "started\n"
  time.sleep(0.2)
  process.send_signal(signal.SIGINT)
  _, said = process.communicate(timeout=6)
  assert process.returncode == 130
  assert said == "error: interrupted; the same command resumes\n"
