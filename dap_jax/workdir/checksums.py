"""SHA-256 of every file of a checkpoint: a bit that flips on the disk is noticed, not trained on.

    WORKDIR/checksums/STEP.json    {"files": {path below checkpoints/STEP: digest}}

Written beside the training as soon as a checkpoint is complete, by the first process, and compared
when it is read. A checkpoint without such a file (of an older version, or of a run that was killed
just then) is read as it is. Remote file systems are left alone: they have checksums of their own,
and reading a checkpoint back would cost as much as writing it.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path

from etils import epath

from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json, write_json

logger = logging.getLogger(__name__)
FOLDER = "checksums"
COMPLETE = "commit_success.txt"  # Orbax's last file of a checkpoint
POLL_S, PATIENCE_S = 0.1, 2.0  # how often it is looked for, and how long in a folder that is there


def file_of(workdir: epath.PathLike, step: int) -> epath.Path:
  """Where the digests of a checkpoint are."""
  return epath.Path(workdir) / FOLDER / f"{step}.json"


def is_local(workdir: epath.PathLike) -> bool:
  """Whether the digests of this workdir's checkpoints are kept."""
  return "://" not in str(workdir)


def digests(folder: Path) -> dict[str, str]:
  """Path below the folder -> SHA-256, of every file."""
  result = {}
  for path in sorted(folder.rglob("*")):
    if path.is_file():
      with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
      result[path.relative_to(folder).as_posix()] = digest
  return result


def damage(workdir: epath.PathLike, checkpoints: str, step: int) -> str | None:
  """What is wrong with a checkpoint's files; None where they are as they were written.

  Args:
    workdir: the folder of the run.
    checkpoints: the name of the folder with its checkpoints.
    step: which.
  """
  path = file_of(workdir, step)
  if not is_local(workdir) or not path.exists():
    return None
  try:
    expected = read_json(path).get("files")
  except UserError as error:
    return str(error)
  if not isinstance(expected, dict):
    return f"{path} holds no digests"
  actual = digests(Path(str(workdir)) / checkpoints / str(step))
  for name, digest in expected.items():
    if actual.get(name) != digest:
      what = "has other bytes than were written" if name in actual else "is gone"
      return f"its file {name} {what}"
  return None


class Writer:
  """Writes the digests of a checkpoint on a thread of its own, once its folder is complete."""

  def __init__(self, workdir: epath.Path, checkpoints: str):
    self._workdir, self._checkpoints = workdir, workdir / checkpoints
    self._thread: threading.Thread | None = None
    self._give_up = threading.Event()

  def start(self, step: int) -> None:
    """To be called when a save has begun."""
    self._give_up.clear()
    self._thread = threading.Thread(target=self._write, args=(step,), daemon=True)
    self._thread.start()

  def finish(self, *, failed: bool = False) -> None:
    """Waits until the digests are written; `failed`: the save was, there will be no checkpoint."""
    if self._thread is not None:
      if failed:
        self._give_up.set()
      self._thread.join()
      self._thread = None

  def forget(self, step: int) -> None:
    """Removes the digests of a checkpoint that is written anew."""
    file_of(self._workdir, step).unlink(missing_ok=True)

  def _write(self, step: int) -> None:
    folder = self._checkpoints / str(step)
    waited = 0.0
    while not (folder / COMPLETE).exists() and waited < PATIENCE_S:
      if self._give_up.wait(POLL_S):
        return
      waited += POLL_S if folder.exists() else 0.0
    try:
      files = digests(Path(str(folder)))
      path = file_of(self._workdir, step)
      path.parent.mkdir(exist_ok=True)
      write_json(path, {"files": files})
      for other in path.parent.glob("*.json"):  # of checkpoints that are no longer kept
        if not (self._checkpoints / other.stem).exists():
          other.unlink(missing_ok=True)
    except OSError as error:  # a disk that is full is told by the save itself
      logger.warning("no checksums of checkpoint %d: %s", step, error)
