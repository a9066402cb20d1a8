"""Files and folders that one process has for itself; the kernel lets go when it ends or is killed.

A lock is of a file on a local or shared disk (`flock`, which NFS serves too). Remote storage such
as gs:// has none, so there nothing keeps two runs apart: give each its own folder.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

from etils import epath

from dap_jax.utils.errors import UserError, writing

FILE = ".lock"  # in a folder; it stays, since to remove it would let two processes lock two files


class LockedError(UserError):
  """Another process is writing the same file or folder."""


@contextmanager
def locked(path: Path, what: object, *, mode: str = "rb") -> Iterator[IO[bytes]]:
  """Opens a file and locks it. Raises LockedError, about `what`, where it is locked already."""
  with path.open(mode) as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise LockedError(f"{what} is being written by another process: wait for its end") from error
    yield file


@contextmanager
def building(folder: epath.Path, what: object) -> Iterator[None]:
  """Has an empty folder for this process, whatever a killed one left in it; none is there after.

  It holds the lock, FILE, which whoever renames the folder removes from it afterwards.

  Raises:
    LockedError: another process has it; the message is about `what`.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with nullcontext() if "://" in str(folder) else locked(Path(folder) / FILE, what, mode="ab"):
    try:
      for leftover in folder.iterdir():
        if leftover.is_dir():
          leftover.rmtree()
        elif leftover.name != FILE:
          leftover.unlink()
      yield
    finally:
      if folder.exists():
        folder.rmtree()


@contextmanager
def exclusive(folder: epath.PathLike) -> Iterator[None]:
  """Has a workdir for this process, so that of several hosts of a run only the first calls it.

  Nothing is locked where the folder is remote, see above.

  Args:
    folder: made where it is absent, its parents too.

  Raises:
    LockedError: another process has it.
    UserError: it cannot be written.
  """
  if "://" in str(folder):
    yield
    return
  path = Path(folder) / FILE
  with writing(f"--workdir={folder}"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  with locked(path, f"--workdir={folder}"):
    yield
