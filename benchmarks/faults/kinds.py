"""The faults, one function each: it starts the run, does harm, waits for its end, and cleans up.

To add one, write a function with `@fault(...)`, using the methods of `trial.Trial`. Damage to the
files of the run stays; what it does outside of them (mounts, full disks) is undone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.faults.trial import STEPS, Trial
from dap_jax.workdir import checkpointing

DIED = "another process|another task died"  # in the errors of the processes that survive


@dataclasses.dataclass(frozen=True)
class Fault:
  """A kind of fault.

  Attributes:
    name: in the table.
    inflict: takes a trial through one start, from its beginning to its end, with the fault.
    processes: the numbers of processes that are tried.
    error: a regular expression of a clear error; "" where no error is expected.
    lacks: why this machine cannot do it; "" where it can.
  """

  name: str
  inflict: Callable[[Trial], None]
  processes: tuple[int, ...]
  error: str
  lacks: Callable[[], str]


FAULTS: list[Fault] = []


def fault(name, *, processes=(1, 2), error="", lacks=lambda: ""):
  """Adds a function to FAULTS; the arguments are `Fault`'s."""

  def add(inflict: Callable[[Trial], None]) -> Callable[[Trial], None]:
    FAULTS.append(Fault(name, inflict, processes, error, lacks))
    return inflict

  return add


@functools.cache
def lacks_mounts() -> str:
  """Why nothing can be mounted here."""
  command = "mount -t tmpfs none /mnt && umount /mnt"
  ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
  return "no right to mount" if ran.returncode else ""


# Python runs it at its start, where it finds it. The file `clock` beside it holds seconds.
SITE = """
import pathlib, time
clock, true = pathlib.Path(__file__).with_name("clock"), time.time
time.time = lambda: true() + float(clock.read_text() or 0)
time.time_ns = lambda: int(time.time() * 1e9)
"""


@fault("kill -9 of all processes")
def kill_all(trial):
  trial.prepare()
  trial.start()
  trial.random_moment()
  trial.send(signal.SIGKILL)
  trial.wait()


@fault("kill -9 of all while the data is prepared", processes=(1,))
def kill_while_preparing(trial):
  trial.start()
  trial.random_moment()
  trial.send(signal.SIGKILL)
  trial.wait()


@fault("kill -9 of all during a save")
def kill_all_saving(trial):
  trial.prepare()
  trial.start()
  reach_save(trial)
  trial.send(signal.SIGKILL)
  trial.wait()


@fault("kill -9 of one process", processes=(2,), error=DIED)
def kill_one(trial):
  trial.prepare()
  trial.start()
  trial.random_moment()
  trial.send(signal.SIGKILL, trial.random_process())
  trial.wait()


@fault("kill -9 of one process during a save", processes=(2,), error=DIED)
def kill_one_saving(trial):
  trial.prepare()
  trial.start()
  reach_save(trial)
  trial.send(signal.SIGKILL, trial.random_process())
  trial.wait()


@fault("SIGTERM")
def sigterm(trial):
  """To one process, as a cloud may tell one host, or to all."""
  trial.prepare()
  trial.start()
  trial.random_moment()
  everyone = trial.rng.random() < 0.5
  trial.send(signal.SIGTERM, *(() if everyone else (trial.random_process(),)))
  trial.wait()


@fault("a file of the newest checkpoint cut off")
def checkpoint_cut(trial):
  file = file_of_newest(trial)
  file.write_bytes(file.read_bytes()[: int(trial.rng.integers(file.stat().st_size))])


@fault("a file of the newest checkpoint deleted")
def checkpoint_file_deleted(trial):
  file_of_newest(trial).unlink()


@fault("the newest checkpoint deleted")
def checkpoint_deleted(trial):
  shutil.rmtree(newest_checkpoint(trial))


@fault("disk full", error="No space left", lacks=lacks_mounts)
def disk_full(trial):
  """All but up to 1 MB is taken at a random moment: two checkpoints at the most."""
  subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", trial.workdir], check=True)
  trial.prepare()
  trial.start()
  trial.random_moment()
  ballast = trial.workdir / "ballast"
  room = int(trial.rng.integers(1_000_000))
  with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
    while shutil.disk_usage(trial.workdir).free > room:
      file.write(bytes(1 << 14))
  trial.wait()
  ballast.unlink()


@fault("workdir read-only", error="Read-only file system", lacks=lacks_mounts)
def read_only(trial):
  """A read-only mount over the workdir, of itself: what is open stays writable, as a log may be."""
  trial.prepare()
  trial.start()
  trial.random_moment()
  subprocess.run(["mount", "--bind", trial.workdir, trial.workdir], check=True)
  subprocess.run(["mount", "-o", "remount,bind,ro", trial.workdir], check=True)
  trial.wait()
  subprocess.run(["umount", trial.workdir], check=True)


@fault("NaN in a batch", error="is not finite")
def not_a_number(trial):
  """In some teacher's vectors of the prepared data: they come up in batches."""
  trial.prepare()
  path = trial.workdir / "data" / "train.npz"
  sound = path.read_bytes()
  arrays = dict(np.load(io.BytesIO(sound)))
  values = arrays["teacher_vectors/values"]
  values[trial.rng.integers(1, len(values), 8), trial.rng.integers(values.shape[1])] = np.nan
  np.savez(path, **arrays)
  trial.start()
  trial.wait()
  path.write_bytes(sound)


@fault("clock jumps")
def clock_jumps(trial):
  """The wall clock of one process goes hours forward, later back; for all that is in Python.

  C++ libraries keep the true clock: libfaketime, which reaches them, breaks `time.sleep` of Python.
  """
  trial.prepare()
  site = trial.folder / "site"
  site.mkdir()
  (site / "sitecustomize.py").write_text(SITE)
  clock = site / "clock"
  clock.write_text("0")
  trial.start({trial.random_process(): {"PYTHONPATH": str(site)}})
  steps = sorted(trial.rng.integers(1, STEPS, 2))
  for step, hours in zip(steps, (trial.rng.integers(1, 9), -trial.rng.integers(1, 9)), strict=True):
    trial.reach(step)
    clock.write_text(str(3600 * hours))
  trial.wait()


def reach_save(trial: Trial) -> None:
  """Waits for a moment in a random save; a save takes some tenths of a second."""
  trial.reach(int(trial.rng.integers(1, STEPS - 5)))
  trial.until(trial.saving)
  time.sleep(trial.rng.uniform(0, 0.1))


def newest_checkpoint(trial: Trial) -> Path:
  """That of a run that was killed when it had two or more: one is left to go back to."""
  trial.prepare()
  trial.start()
  trial.reach(int(trial.rng.integers(15, STEPS)))
  trial.until(lambda: len(trial.checkpoints()) >= 2)
  trial.send(signal.SIGKILL)
  trial.wait()
  return trial.workdir / checkpointing.FOLDER / str(trial.checkpoints()[-1])


def file_of_newest(trial: Trial) -> Path:
  """A random file of the newest checkpoint."""
  files = sorted(path for path in newest_checkpoint(trial).rglob("*") if path.is_file())
  return files[trial.rng.integers(len(files))]
