"""Reads workdirs for the report: their configs, their records and the curves in them."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json
from dap_jax.utils.trees import flatten
from dap_jax.workdir import layout, records

MOST_POINTS = 400  # of a curve: as many as a screen can show


@dataclasses.dataclass(frozen=True)
class LoadedRun:
  """What the report reads of a workdir.

  Attributes:
    name: what the page calls it.
    folder: where it lies.
    config: the whole resolved config.
    versions: of Python, the packages and the source tree.
    records: the lines of metrics.jsonl.
  """

  name: str
  folder: epath.Path
  config: dict[str, Any]
  versions: dict[str, str]
  records: list[dict[str, float]]

  @property
  def pivot(self) -> str:
    """The pivot's language code."""
    return self.config["data"]["pivot"]

  @property
  def settings(self) -> dict[str, Any]:
    """The config as one level of dotted keys."""
    return flatten(self.config, separator=".")

  @property
  def objectives(self) -> list[str]:
    """The names of the objectives that are on."""
    entries = self.config["objectives"].items()
    return [name for name, settings in entries if settings and settings.get("weight")]

  def curve(self, key: str) -> list[tuple[float, float]]:
    """(step, value) of every record that has the key, see `curve_of`."""
    return curve_of(self.records, key)

  def last(self, key: str) -> float | None:
    """The key's newest value, None where no line has it."""
    return next((line[key] for line in reversed(self.records) if key in line), None)

  def before(self, key: str) -> float | None:
    """The key's value before the first update, None where the run was not evaluated then."""
    return next((line[key] for line in self.records if line["step"] == 0 and key in line), None)

  def median(self, key: str) -> float | None:
    """The key's median over the records, None where no line has it."""
    values = [line[key] for line in self.records if key in line]
    return float(np.median(values)) if values else None


def curve_of(lines: Sequence[Mapping[str, float]], key: str) -> list[tuple[float, float]]:
  """(step, value) of every record that has a key.

  The records of a long run are averaged in equal stretches, which leaves `MOST_POINTS`.
  """
  points = np.array([(line["step"], line[key]) for line in lines if key in line], float)
  if len(points) > MOST_POINTS:
    points = np.stack([part.mean(0) for part in np.array_split(points, MOST_POINTS)])
  return [(float(step), float(value)) for step, value in points]


def read_runs(folders: Sequence[str]) -> list[LoadedRun]:
  """Workdirs -> runs, named by their folders' last parts, in full where two would be alike.

  Raises:
    UserError: a folder is no workdir, a file in it is damaged, or it is given twice.
  """
  names = names_of(folders)
  return [read_run(folder, name=name) for folder, name in zip(folders, names, strict=True)]


def names_of(folders: Sequence[str]) -> list[str]:
  """What the page calls folders. Raises UserError where one is given twice."""
  paths = [epath.Path(folder).resolve() for folder in folders]
  for folder, times in Counter(map(str, paths)).items():
    if times > 1:
      raise UserError(f"--workdir={folder} is given {times} times: give each run once")
  short = [path.name for path in paths]
  return list(folders) if len(set(short)) < len(short) else short


def read_run(folder: str, *, name: str) -> LoadedRun:
  """Reads one workdir; raises as `read_runs`."""
  path = epath.Path(folder)
  if not layout.is_workdir(path):
    raise UserError(f"--workdir={folder} is no workdir (no config.json and versions.json in it)")
  config, versions = layout.read_config(path), read_json(path / "versions.json")
  absent = {"data", "model", "objectives", "steps", "batch_size"} - set(config)
  if absent:
    raise UserError(f"{path}/config.json lacks {', '.join(sorted(absent))}: it is no run of train")
  return LoadedRun(name, path, config, versions, records.read_records(path))


def config_differences(runs: Sequence[LoadedRun]) -> dict[str, list[str]]:
  """The keys in which the configs differ -> each run's value as JSON, "" where it lacks the key."""
  settings = [run.settings for run in runs]
  differing = {}
  for key in dict.fromkeys(key for one in settings for key in one):
    values = [json.dumps(one[key]) if key in one else "" for one in settings]
    if len(set(values)) > 1:
      differing[key] = values
  return differing
