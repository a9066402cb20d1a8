"""A folder that belongs to one set of settings, which are kept in a file of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from etils import epath

from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json, write_json

Settings = Mapping[str, Any]


def claim_folder(
  folder: epath.Path,
  settings: Settings,
  *,
  file: str,
  check: Callable[[Settings, Settings], None],
  read: Callable[[epath.Path], Settings] = read_json,
) -> None:
  """Makes a folder that of these settings, or finds that it is.

  Args:
    folder: made where it is absent, its parents too.
    settings: what JSON can hold; tuples become lists.
    file: the name of the file that keeps them.
    check: (settings in the file, these) -> raises UserError where the folder must not be used with
      these; called where there is a file, which is then replaced if they differ.
    read: path -> the settings in the file.

  Raises:
    OSError: the folder cannot be written.
    UserError: from `check`, or the file is damaged.
  """
  settings, path = json.loads(json.dumps(settings)), folder / file
  folder.mkdir(parents=True, exist_ok=True)
  if path.exists():
    check(read(path), settings)
    if read_json(path) == settings:  # not replaced: a process may hold a lock on it
      return
  write_json(path, settings)


def differences(recorded: Settings, current: Settings) -> Iterator[tuple[str, Any, Any]]:
  """(key, recorded value, current value) where they differ, by key; an absent value is None."""
  for key in sorted({*recorded, *current}):
    if recorded.get(key) != current.get(key):
      yield key, recorded.get(key), current.get(key)


def refuse_difference(
  recorded: Settings,
  current: Settings,
  *,
  holds: str,
  this: str,
  cure: str,
  binds: Callable[[str], bool] = lambda key: True,
) -> None:
  """Raises UserError for the first key that binds and has another value.

  Args:
    recorded, current: settings of one level.
    holds, this, cure: words of the message, `{holds} with {key}=..., {this} has ...: {cure}`.
    binds: whether the values of a key must agree.
  """
  for key, old, new in differences(recorded, current):
    if binds(key):
      raise UserError(f"{holds} with {key}={old!r}, {this} has {new!r}: {cure}")
