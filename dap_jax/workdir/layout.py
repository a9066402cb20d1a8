"""What lies in a workdir, and which config may resume it.

config.json     the whole resolved config          metrics.jsonl   one JSON object a line
versions.json   of the packages that started it    checkpoints/    see `checkpointing`
tokenizer/      the vocabulary                     data/           see `data.store`
events.out.*    TensorBoard                        protocols/      what the scores of suites mean
checksums/      of the checkpoints' files          .lock           held by the process that trains
tracker.json    its ids in --tracker's projects
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from etils import epath

from dap_jax.utils.claim import claim_folder, refuse_difference
from dap_jax.utils.errors import UserError, writing
from dap_jax.utils.json_files import read_json, write_json
from dap_jax.utils.old_configs import with_current_keys
from dap_jax.utils.trees import flatten
from dap_jax.workdir import ranges

# Sections and keys that may change when a run resumes: they never change what is computed.
FREE = (
  "skip_not_finite",
  "log_steps",
  "eval_steps",
  "eval_at_start",
  "eval_suites",
  "program",
  "mesh",
  "sharding_rules",
  "checkpoint",
  "data.cache",
)
# Sections and keys that the files in data/ and tokenizer/ depend on.
PREPARED = ("init_from", "max_tokens", "prompts", "data", "tokenizer", "teacher")
# Of these, the keys that only the batches depend on.
UNPREPARED = ("data.views", "data.hard_negatives", "data.bucket_tokens")
# What the commands read of a run again; the rest of its folder is free for reports and scores.
OWN_FILES = ("config.json", "versions.json", "metrics.jsonl")
OWN_FOLDERS = ("checkpoints", "data", "initial", "protocols", "tokenizer")
PACKAGES = ("dap_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def is_workdir(folder: epath.PathLike) -> bool:
  """Whether train wrote this folder: a model's folder has a config.json too, but no versions."""
  folder = epath.Path(folder)
  return (folder / "config.json").exists() and (folder / "versions.json").exists()


def refuse_own_file(output: str) -> None:
  """Raises UserError where `--output=OUTPUT` would take the place of what a run needs."""
  # epath's own `resolve` follows no links
  path = epath.Path(output if "://" in output else os.path.realpath(output))
  for folder in path.parents:
    first = path.relative_to(folder).parts[0]
    is_own = first in OWN_FOLDERS or path.parent == folder and first in OWN_FILES
    if is_own and is_workdir(folder):
      raise UserError(f"--output={output} is part of the run in {folder}: name another file")


def has_checkpoints(workdir: epath.PathLike) -> bool:
  """Whether a run has begun here: config.json and a complete checkpoint."""
  folder = epath.Path(workdir) / "checkpoints"
  steps = folder.iterdir() if folder.exists() else ()
  return is_workdir(workdir) and any(step.name.isdigit() for step in steps)


def read_config(workdir: epath.PathLike) -> dict[str, Any]:
  """The resolved config of a workdir. Raises UserError where there is none."""
  path = epath.Path(workdir) / "config.json"
  if not path.exists():
    raise UserError(f"{workdir} is no workdir (it has no config.json): give one that train wrote")
  return read_config_file(path)


def read_config_file(path: epath.Path) -> dict[str, Any]:
  """A config.json, keys that were renamed since under their new names.

  Raises:
    UserError: it cannot be read, lacks a section, or holds a number that no run can have.
  """
  config = with_current_keys(read_json(path), announce=False)
  for section in ("data", "model", "max_tokens"):
    if section not in config:
      raise UserError(f"{path} has no {section}: it is damaged, or no run of train wrote it")
  try:
    ranges.check(config)
  except UserError as error:
    raise UserError(f"{path}: {error}; it is damaged, put it back") from error
  return config


def claim(workdir: epath.PathLike, config: Mapping[str, Any]) -> None:
  """Makes the workdir this config's: writes config.json and versions.json, or checks them.

  Raises:
    UserError: the folder cannot be written, or holds a run of another config (`FREE` keys aside).
  """
  workdir = epath.Path(workdir)

  def check(_: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    refuse_other(workdir, config)

  with writing(f"--workdir={workdir}"):
    claim_folder(workdir, config, file="config.json", check=check, read=read_config_file)
    write_json(workdir / "versions.json", installed_versions())


def refuse_other(workdir: epath.Path, config: Mapping[str, Any]) -> None:
  """Raises UserError where the workdir holds a run of another config; `config` as JSON has it."""
  recorded, binds = read_config(workdir), binding_keys(workdir)
  refuse_difference(
    flatten(recorded, separator="."),
    flatten(config, separator="."),
    holds=f"--workdir={workdir} holds a run",
    this="this config",
    cure="use another --workdir, or the same value to resume",
    binds=lambda key: key != "steps" and binds(key),
  )
  before, now = recorded.get("steps"), config.get("steps")
  is_constant = config.get("optimizer", {}).get("schedule_name") == "constant"
  if before != now and binds("steps") and not is_constant:
    raise UserError(
      f"--workdir={workdir} holds a run with steps={before}, this config has {now}: its learning"
      f" rate is planned for {before} steps. To train on, use another --workdir with"
      f" --config.init_from={workdir}; with optimizer.schedule_name=constant, steps may change"
    )


def binding_keys(workdir: epath.Path) -> Callable[[str], bool]:
  """Key of a config -> whether it must be as it was when the workdir was started.

  A run that never took a step may be mended: only what its prepared data depends on must agree.
  """
  begun = has_checkpoints(workdir)
  prepared = (workdir / "data" / "info.json").exists()

  def binds(key: str) -> bool:
    section = key.split(".")[0]
    shaped_the_data = section in PREPARED and key not in UNPREPARED
    is_free = section in FREE or key in FREE
    return not is_free and (begun or prepared and shaped_the_data)

  return binds


def installed_versions() -> dict[str, str]:
  """Python, packages, and the commit of this source tree with a mark if it was changed."""
  versions = {"python": platform.python_version()}
  for package in PACKAGES:
    try:
      versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      versions[package] = "not installed"
  try:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    tree = Path(__file__).parents[2]
    git = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=True, timeout=10)
    versions["commit"] = git.stdout.strip()
  except (OSError, subprocess.SubprocessError):
    versions["commit"] = "unknown"
  return versions
