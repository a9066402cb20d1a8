"""The commands as real processes on a corpus made here, for the tests that run them.

The corpus: English sentences of a small grammar, and three ciphers of it.
"""

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import jax

from dap_jax.data import manifest
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.training import build
from dap_jax.workdir import checkpointing, layout, records
from tests.warm_process import WarmProcess

ROOT = Path(__file__).parents[1]
COLD = ("plan",)  # it sets what JAX reads when it is imported
STARTED = []  # processes of the test that runs
CIPHERS = {"aa": "nopqrstuvwxyzabcdefghijklm", "bb": "абвгдежзийклмнопрстуфхцчшщ"}
CIPHERS["cc"] = "αβγδεζηθικλμνξοπρστυφχψωϊϋ"


def write_corpus(folder):
  """One keyed file a language: 480 sentences of four or five words."""
  words = ["the", "a"], ["red", "old", "new", "big"], ["page", "user", "file", "word", "group"]
  words += (["opens", "keeps", "finds", "needs"], ["it", "them", "more"])
  english = [" ".join(choice) for choice in itertools.product(*words)]
  folder.mkdir()
  for code in ("en", *CIPHERS):
    table = str.maketrans(
      "abcdefghijklmnopqrstuvwxyz", CIPHERS.get(code, "abcdefghijklmnopqrstuvwxyz")
    )
    lines = [f"{number}\t{text.translate(table)}\n" for number, text in enumerate(english)]
    (folder / f"{code}.tsv").write_text("".join(lines), encoding="utf-8")


def environment(cache=None, *, devices=1):
  """The caller's own, with so many CPU devices; cache: where compiled programs are kept."""
  variables = os.environ | {"JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
  variables["JAX_NUM_CPU_DEVICES"] = str(devices)
  return variables if cache is None else variables | {"JAX_COMPILATION_CACHE_DIR": str(cache)}


@contextlib.contextmanager
def locked(path):
  """One process at a time, of all that name this file."""
  with open(path, "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


class Commands:
  """Runs commands on one corpus, each in a process.

  Most are forks of a process that has its imports behind it (warm_process.py). `cold=True` starts
  an interpreter, as a user does: where starting, or what is imported, is what a test is about.

  Attributes:
    folder: where this process's tests make their runs.
    corpus: shared by all workers of pytest, since a run's config names it.
  """

  def __init__(self, folder, *, shared=None):
    self.folder, self.shared = folder, shared or folder / "common"
    self.corpus = self.shared / "corpus"
    self.cache = os.environ.get("JAX_COMPILATION_CACHE_DIR") or folder / "cache"
    self.shared.mkdir(exist_ok=True)
    with locked(self.shared / "corpus.lock"):
      if not self.corpus.exists():
        write_corpus(self.corpus)

  def arguments(self, name, *flags):
    return [sys.executable, "-m", f"dap_jax.{name}", *map(str, flags)]

  def train_flags(self, run, *flags):
    return ["train", f"--config=tests/tiny.py:{self.corpus}", f"--workdir={run}", *flags]

  def start(self, name, *flags, devices=1, folder=ROOT, cold=False, **settings):
    """A process; settings are of its environment."""
    variables = environment(self.cache, devices=devices) | settings
    if cold or name in COLD:
      process = subprocess.Popen(
        self.arguments(name, *flags),
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
    else:
      flags = [str(flag) for flag in flags]
      process = WarmProcess(f"dap_jax.{name}", flags, environment=variables, folder=folder)
    STARTED.append(process)
    return process

  def run(self, name, *flags, status=0, devices=1, **how):
    process = self.start(name, *flags, devices=devices, **how)
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, f"status {process.returncode}\n{out}\n{err}"
    return out + err

  def free_address(self):
    with socket.socket() as probe:
      probe.bind(("127.0.0.1", 0))
      return f"127.0.0.1:{probe.getsockname()[1]}"

  def start_processes(self, name, *flags, folders=(ROOT, ROOT)):
    """One command on several processes, each in its folder; eight devices in all.

    They start cold: each interpreter orders its sets in its own way, as those of several hosts do.
    """
    count = len(folders)
    flags = (*flags, f"--coordinator={self.free_address()}", f"--processes={count}")
    return [
      self.start(
        name, *flags, f"--process_id={number}", devices=8 // count, folder=folder, cold=True
      )
      for number, folder in enumerate(folders)
    ]

  def run_processes(self, name, *flags, status=0, folders=(ROOT, ROOT)):
    """Runs them to their end; what each said."""
    said = []
    for process in self.start_processes(name, *flags, folders=folders):
      out, err = process.communicate(timeout=300)
      assert process.returncode == status, f"status {process.returncode}\n{out}\n{err}"
      said.append(out + err)
    return said

  def fail(self, name, *flags, status=1, **how):
    """Runs a command that must fail with one clear line; returns that line."""
    said = self.run(name, *flags, status=status, **how)
    errors = [line for line in said.split("\n") if line.startswith("error: ")]
    assert len(errors) == 1, said
    assert "Traceback" not in said
    return errors[0]

  def prepared(self, name):
    """A workdir whose data is prepared but which has not trained yet: saves the tests time."""
    run = self.folder / name
    run.mkdir()
    for part in ("data", "tokenizer"):
      shutil.copytree(self.straight / part, run / part)
    return run

  def straight_run(self):
    """A run of 60 steps that was never interrupted; made by one worker for all."""
    self.straight = self.shared / "straight"
    message = self.shared / "straight.txt"
    with locked(self.shared / "straight.lock"):
      if not message.exists():
        message.write_text(self.run(*self.train_flags(self.straight), cold=True))
    self.said = message.read_text()
    return self


def kill_started():
  """Ends what a test left running, so that nothing outlives it."""
  for process in STARTED:
    if process.poll() is None:
      process.kill()
      process.wait()
  STARTED.clear()


def final_state(run):
  """The newest state of a workdir on the host, and its step."""
  config = layout.read_config(run)
  tokens = Tokenizer.load(run / "tokenizer", max_tokens=config["max_tokens"])
  vocabulary = vocabulary_of(tokens, rows=0, english_ids=manifest.english_ids(run / "data"))
  config["mesh"] = {"data": -1, "fsdp": 1, "model": 1}
  train_program = build.build(vocabulary=vocabulary, **{key: config[key] for key in build.KEYS})
  with checkpointing.Checkpoints(run, keep_last=9, best_metric="") as checkpoints:
    restored = checkpoints.restore(train_program.abstract_state)
  return jax.device_get(restored.state), restored.step


def without_checksums(run):
  """The run, its data as a version prepared it that kept no checksums of it."""
  path = run / "data" / "info.json"
  info = json.loads(path.read_text())
  del info["files"]
  path.write_text(json.dumps(info))
  return run


def lines_of(run):
  assert (run / records.FILE).exists()
  return records.read_records(run)
