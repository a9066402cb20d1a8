"""Trackers of experiments beside metrics.jsonl and TensorBoard: Weights & Biases, trackio.

Both are optional packages with the same interface. A run that goes on after a stop is the same run
of the tracker: WORKDIR/tracker.json has its id. Offline, or on a server of one's own, they work as
their environment variables say (WANDB_MODE, TRACKIO_DIR, ...).
"""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from etils import epath

from dap_jax.utils.errors import UserError, reading, writing
from dap_jax.utils.json_files import read_json, write_json

TRACKERS = ("wandb", "trackio")
RECORD = "tracker.json"


class Tracker:
  """A run of a tracker; `open_tracker` makes it.

  Args:
    run: what the package's `init` gave.
  """

  def __init__(self, run: Any):
    self._run = run

  def log(self, step: int, metrics: Mapping[str, float]) -> None:
    """Takes the metrics of a step; of those that it has already it takes none again."""
    self._run.log(dict(metrics), step=step)

  def finish(self) -> None:
    """Sends what is left."""
    self._run.finish()


def open_tracker(flag: str, workdir: epath.PathLike, config: Mapping[str, Any]) -> Tracker:
  """Starts a run of a tracker, or goes on with that of the workdir.

  Args:
    flag: `wandb` or `trackio`, and `:PROJECT`; without it the project is dap_jax.
    workdir: of the run, whose last part is its name.
    config: of the run.

  Raises:
    UserError: there is no such tracker, it is not installed, or it cannot start.
  """
  name, _, project = flag.partition(":")
  package, project = load_package(name), project or "dap_jax"
  folder = epath.Path(workdir)
  key = id_of_run(folder, name=name)
  settings: dict[str, Any] = {"project": project, "config": dict(config), "resume": "allow"}
  if name == "wandb":
    settings |= {"id": key, "name": folder.name}
    if "://" not in str(folder):
      settings["dir"] = str(folder)
  else:  # its runs are known by their names
    settings["name"] = f"{folder.name}-{key}"
  with reading(f"--tracker={flag}: it cannot start"):
    return Tracker(package.init(**settings))


def load_package(name: str) -> ModuleType:
  """The package of a tracker. Raises UserError where it is unknown or not installed."""
  if name not in TRACKERS:
    raise UserError(f"--tracker={name}: expected {' or '.join(TRACKERS)}, and :PROJECT perhaps")
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise UserError(f"--tracker={name}: {error}; pip install {name}") from error


def id_of_run(folder: epath.Path, *, name: str) -> str:
  """The id of a workdir in a tracker: one for all its starts."""
  path = folder / RECORD
  ids = read_json(path) if path.exists() else {}
  if name not in ids:
    ids = {**ids, name: secrets.token_hex(4)}
    with writing(folder):
      write_json(path, ids)
  return str(ids[name])
