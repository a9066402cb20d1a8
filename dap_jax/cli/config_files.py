"""Config files: the shipped ones by name, yours by path, and what all of them may import.

`from configs import base` works in every config file, wherever it lies and wherever the command is
started: the package `configs` is the folder of the shipped configs, followed by ./configs.
"""

from __future__ import annotations

import difflib
import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_flags.config_flags import ConfigFileFlagParser

from dap_jax.utils.errors import UserError
from dap_jax.utils.old_configs import with_current_keys

PACKAGE = "configs"  # the name under which config files import each other


def shipped_folder() -> Path:
  """The folder `configs/` of a checkout; in an installed dap_jax it is `dap_jax/configs`."""
  package = Path(__file__).parents[1]
  installed = package / PACKAGE
  return installed if installed.is_dir() else package.parent / PACKAGE


def make_importable() -> list[str]:
  """Makes `configs` a package of the shipped configs and, after them, those in ./configs.

  Returns:
    Its folders, in the order in which a name is looked up.
  """
  folders = [str(shipped_folder())]
  here = os.path.abspath(PACKAGE)
  if os.path.isdir(here) and not os.path.samefile(here, folders[0]):
    folders.append(here)
  module = sys.modules.get(PACKAGE)
  if module is None:
    spec = importlib.machinery.ModuleSpec(PACKAGE, None, is_package=True)
    module = sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
  module.__path__ = folders
  return folders


def find(value: str, *, flag: str = "--config", folder: str = "") -> str:
  """A flag's `PATH[:ARG]` or `NAME[:ARG]` -> `FILE[:ARG]`.

  A file at that path comes first, except that a bare name (`demo`) always is a name. A path that
  leads nowhere is read as a name too: `configs/demo.py` works where there is no such folder.

  Args:
    value: what the user wrote.
    flag: the flag's name, for the message.
    folder: of `configs/`, in which a name is looked for as well.

  Raises:
    UserError: there is no such file, and no config of that name.
  """
  folders = make_importable()  # the file is about to be run
  path, colon, argument = value.partition(":")
  is_name = os.sep not in path and not path.endswith(".py")
  if not is_name and os.path.isfile(path):
    return value
  name = os.path.normpath(path).removesuffix(".py").removeprefix(f"{PACKAGE}{os.sep}")
  for parent in folders:
    for file in (os.path.join(parent, f"{name}.py"), os.path.join(parent, folder, f"{name}.py")):
      if os.path.isfile(file):
        return f"{file}{colon}{argument}"
  if os.path.isfile(path):
    return value
  names = sorted(
    {file.stem for parent in folders for file in Path(parent, folder).glob("[a-z]*.py")}
  )
  close = difflib.get_close_matches(os.path.basename(name), names, n=1)
  hint = f"; did you mean {close[0]}?" if close else f"; the names: {', '.join(names)}"
  raise UserError(f"{flag}={path} is no file in {os.getcwd()}, nor the name of a config{hint}")


class NamedConfigParser(ConfigFileFlagParser):
  """Loads the config file that a path or a name stands for."""

  def parse(self, path: str) -> Any:
    """`PATH[:ARG]` or `NAME[:ARG]` -> what the file's `get_config` returns."""
    sys.modules.pop("config_config", None)  # the file before would lend this one its names
    config = super().parse(find(path))
    # An OSError in the file gives an object that raises it when it is read: here, not later.
    getattr(config, "steps", None)
    return config


def define_flag(
  *, flag_values: flags.FlagValues = flags.FLAGS, arguments: list[str] | None = None
) -> flags.FlagHolder[Any]:
  """Defines `--config`, with an override `--config.KEY=VALUE` for each key of the config.

  Args:
    flag_values: where the flag is defined.
    arguments: the command line to look for overrides in, program first; `sys.argv` by default.
  """
  holder = config_flags.DEFINE_config_file(
    "config",
    None,
    "The config, FILE[:ARG], or the name of a shipped one, e.g. demo.",
    flag_values=flag_values,
    sys_argv=arguments,
  )
  flag_values["config"].parser = NamedConfigParser("config")
  return holder


def settings_of(config: Any) -> dict[str, Any]:
  """What a config file's get_config() returned, as nested dicts with the keys of today.

  Raises:
    UserError: it is no ConfigDict.
  """
  if not isinstance(config, ConfigDict):
    path = flags.FLAGS["config"].config_filename  # type: ignore[attr-defined]  # of a config flag
    raise UserError(
      f"--config={path}: its get_config() must return an ml_collections.ConfigDict, it returned"
      f" {type(config).__name__}"
    )
  return with_current_keys(config.to_dict())
