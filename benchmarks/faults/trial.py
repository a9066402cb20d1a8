"""One run of the real command with a fault: started, disturbed, ended, started again, compared."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dap_jax.utils.errors import UserError
from dap_jax.workdir import checkpointing, records
from tests.commands import ROOT, environment, final_state, write_corpus
from tests.xla_flags import QUICK

DEVICES = 2  # of all processes together
STEPS, LOG_STEPS = 40, 5  # of config.py
SEPARATOR = " + "  # between the ends of processes
ERROR, SILENT, TRACEBACK = (
  "error: ",
  "status 1 without a message",
  "Traceback (most recent call last)",
)
HANG_S = 30  # --hang_seconds
LIMIT_S = 330  # a start that has not ended by then hangs; JAX waits 300 s for the others
WIDTH = 32  # of the teacher's vectors, and of the student's
FATAL = "Terminating process because the JAX distributed service detected fatal errors"


class HangError(Exception):
  """A start that does not end."""


class Place:
  """What all runs share: corpus, teacher's vectors, compilation cache, the undisturbed runs.

  Attributes:
    folder: where they lie.
    reference: that of the first undisturbed run, whose data is prepared.
    start_s: processes -> seconds from the start of a run until its first step.
    losses, states: processes -> step -> loss, and the final state, of the undisturbed run.
  """

  def __init__(self, folder: Path):
    self.folder, self.reference = folder, folder / "undisturbed_1"
    self.start_s: dict[int, float] = {}
    self.losses: dict[int, dict[int, float]] = {}
    self.states: dict[int, Any] = {}
    write_corpus(folder / "corpus")
    rows = [line for file in (folder / "corpus").iterdir() for line in file.open(encoding="utf-8")]
    texts = sorted({row.rstrip("\n").split("\t")[1] for row in rows})
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    vectors = np.random.default_rng(0).normal(size=(len(texts), WIDTH))
    np.save(folder / "vectors.npy", vectors.astype(np.float32))


class Trial:
  """One run, on which a fault acts.

  Args:
    place: what all runs share.
    folder: of this run: its workdir and its logs.
    processes: how many the run has.
    rng: all that is random about the fault.
  """

  def __init__(self, place: Place, *, folder: Path, processes: int, rng: np.random.Generator):
    self.place, self.folder, self.processes, self.rng = place, folder, processes, rng
    self.workdir = folder / "workdir"
    self.starts = 0
    self._address = free_address(rng)
    self._running: list[subprocess.Popen] = []
    self._sent: dict[int, signal.Signals] = {}
    folder.mkdir()
    self.workdir.mkdir()

  def prepare(self) -> None:
    """Copies the prepared data of the undisturbed run: a start is quicker by half."""
    for part in ("data", "tokenizer"):
      shutil.copytree(
        self.place.reference / "workdir" / part, self.workdir / part, dirs_exist_ok=True
      )

  def start(self, environments: Mapping[int, Mapping[str, str]] | None = None) -> None:
    """Starts all processes; environments: further variables of some of them, by number."""
    self.starts += 1
    self._sent, self._running = {}, []
    for index in range(self.processes):
      variables = environment(self.place.folder / "cache", devices=DEVICES // self.processes)
      variables |= {"XLA_FLAGS": QUICK, "PYTHONUNBUFFERED": "1"}
      variables |= (environments or {}).get(index, {})
      with self._log(index).open("wb") as log:
        process = subprocess.Popen(
          self._command(index), cwd=ROOT, env=variables, stdout=log, stderr=subprocess.STDOUT
        )
      self._running.append(process)

  def _command(self, index: int) -> list[str]:
    config = f"--config=benchmarks/faults/config.py:{self.place.folder}"
    command = [sys.executable, "-m", "dap_jax.train", config, f"--workdir={self.workdir}"]
    command += [f"--hang_seconds={HANG_S}"]
    if self.processes > 1:
      command += [f"--coordinator={self._address}", f"--processes={self.processes}"]
      command += [f"--process_id={index}"]
    return command

  def _log(self, index: int) -> Path:
    return self.folder / f"start{self.starts}.process{index}.log"

  def until(self, holds: Callable[[], bool]) -> bool:
    """Waits until it holds, or a process has ended; returns whether it holds."""
    deadline = time.monotonic() + LIMIT_S
    while not holds():
      if any(process.poll() is not None for process in self._running):
        return False
      if time.monotonic() > deadline:
        raise HangError
      time.sleep(0.002)
    return True

  def step(self) -> int:
    """The newest step in metrics.jsonl; 0 before there is one."""
    lines = records.read_records(self.workdir)
    return int(lines[-1]["step"]) if lines else 0

  def random_moment(self) -> None:
    """Waits: three times in ten for a moment of the start, else for one of the steps or the end."""
    if self.rng.random() < 0.3:
      end = time.monotonic() + self.rng.uniform(0, self.place.start_s[self.processes])
      self.until(lambda: time.monotonic() > end)
    else:
      self.reach(int(self.rng.integers(1, STEPS + 1)))
      time.sleep(self.rng.uniform(0, 0.3))

  def reach(self, step: int) -> bool:
    """Waits for a step; returns whether it came."""
    return self.until(lambda: self.step() >= step)

  def checkpoints(self) -> list[int]:
    """Steps of the complete checkpoints, rising."""
    folder = self.workdir / checkpointing.FOLDER
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return sorted(int(name) for name in names if name.isdigit())

  def saving(self) -> bool:
    """Whether a checkpoint is being written."""
    folder = self.workdir / checkpointing.FOLDER
    return folder.exists() and any(
      checkpointing.UNFINISHED in path.name for path in folder.iterdir()
    )

  def send(self, number: signal.Signals, *indices: int) -> None:
    """Sends a signal to the processes with these numbers, without any to all of them."""
    for index in indices or range(self.processes):
      if self._running[index].poll() is None:
        self._sent[index] = number
        self._running[index].send_signal(number)

  def random_process(self) -> int:
    return int(self.rng.integers(self.processes))

  def wait(self) -> None:
    """Until all processes have ended. Raises HangError where one does not."""
    deadline = time.monotonic() + LIMIT_S
    for process in self._running:
      try:
        process.wait(max(0, deadline - time.monotonic()))
      except subprocess.TimeoutExpired as error:
        raise HangError from error

  def clear(self, *, keep: bool) -> None:
    """Ends what still runs, and removes the files or keeps them for a look."""
    for process in self._running:
      process.kill()
      process.wait()
    copy = self.folder / "workdir_kept"
    if keep:
      shutil.copytree(self.workdir, copy)
    while os.path.ismount(self.workdir):
      subprocess.run(["umount", self.workdir], check=True)
    shutil.rmtree(self.workdir)
    if keep:
      copy.rename(self.workdir)
    else:
      shutil.rmtree(self.folder)

  def resumed(self) -> list[int]:
    """The steps at which starts resumed."""
    logs = [path.read_text(errors="replace") for path in self.folder.glob("start*.process0.log")]
    return [int(step) for log in logs for step in re.findall("resumed at step ([0-9]+)", log)]

  def ending(self) -> Ending:
    """How the last start ended, of all its processes."""
    ends = [self._ending_of(index) for index in range(self.processes)]
    if any(end.text.startswith(ERROR) for end in ends):  # one process reports it for all
      ends = [end for end in ends if end.text != SILENT]
    texts = [end.text for end in ends]
    return Ending(SEPARATOR.join(dict.fromkeys(texts)), clear=all(end.clear for end in ends))

  def _ending_of(self, index: int) -> Ending:
    status, sent = self._running[index].returncode, self._sent.get(index)
    log = self._log(index).read_text(errors="replace")
    if status == 0:
      stopped = "as asked; the same command resumes" in log
      return Ending("stopped as asked" if stopped else "finished", clear=True)
    if sent is not None and status == -sent:
      return Ending(f"ended by {sent.name}", clear=True)
    lines = [line for line in log.split("\n") if line.startswith(ERROR)]
    if len(lines) == 1:
      text = lines[0].replace(str(self.workdir), "WORKDIR")
      if TRACEBACK in log:
        text += " (after tracebacks of libraries)"
      return Ending(text, clear=True)
    if FATAL in log and status == -signal.SIGABRT:  # JAX's own end of the survivors of a process
      return Ending("JAX: another task died", clear=True)
    if status == 1 and not lines:  # TensorStore prints tracebacks where a program ends in a save
      return Ending(SILENT, clear=False)
    last = (log.strip().split("\n") or [""])[-1]
    return Ending(f"status {status}: {last[:200]}", clear=False)


@dataclasses.dataclass(frozen=True)
class Ending:
  """How a start ended. text: in words; clear: whether a user knows what happened."""

  text: str
  clear: bool

  def fits(self, error: str) -> bool:
    """Whether each error line in it holds one of the words, which are a regular expression."""
    parts = [part for part in self.text.split(SEPARATOR) if part.startswith((ERROR, "JAX: "))]
    return all(error and re.search(error, part) for part in parts)


def free_address(rng: np.random.Generator) -> str:
  """HOST:PORT, below the range of ephemeral ports, so that it is still free for the restart."""
  while True:
    port = int(rng.integers(20_000, 32_000))
    with socket.socket() as probe:
      if probe.connect_ex(("127.0.0.1", port)):
        return f"127.0.0.1:{port}"


def losses_of(run: Path) -> dict[int, float]:
  """Step -> mean loss of the steps since the line before. ValueError: a step was written twice."""
  losses = [(line["step"], line["loss"]) for line in records.read_records(run) if "loss" in line]
  if len(losses) != len(dict(losses)):
    raise ValueError("a step is twice in metrics.jsonl")
  return dict(losses)


def difference(trial: Trial) -> str:
  """How a run's end differs from the undisturbed one's, losses included; "" if it does not."""
  place, processes = trial.place, trial.processes
  if not trial.checkpoints():
    return "no checkpoint"
  try:
    losses = losses_of(trial.workdir)
    state, step = final_state(trial.workdir)
  except (OSError, UserError, ValueError) as error:
    return f"cannot be compared: {error}"
  if step != STEPS:
    return f"its newest readable checkpoint is of step {step}"
  leaves = [jax.tree.leaves(tree) for tree in (state, place.states[processes])]
  if not all(map(np.array_equal, *leaves)):
    return "another state"
  expected = place.losses[processes]
  # After a SIGTERM between two lines, the next one is the mean of other steps.
  cut = [at for at in trial.resumed() if at % LOG_STEPS]
  whole = [step for step in expected if not any(at < step <= at + 1 + LOG_STEPS for at in cut)]
  wrong = [step for step in whole if losses.get(step) != expected[step]]
  return f"metrics.jsonl has another loss at the steps {wrong}" if wrong else ""
