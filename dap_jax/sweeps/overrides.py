"""A config file and changed keys of it -> flags of `train`, and what they amount to."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from dap_jax.cli import config_files, data_arguments
from dap_jax.utils.errors import UserError
from dap_jax.utils.old_configs import with_current_keys
from dap_jax.workdir import ranges

NEEDED = ("seed", "steps", "max_tokens", "data", "model", "init_from")  # keys of a config


def resolve(config: str, overrides: Mapping[str, Any], *, name: str) -> dict[str, Any]:
  """The config as `train` sees it, by the same parsing of the same flags.

  Raises:
    UserError: the file cannot be read, its get_config fails, a key is unknown, a value does not
      come through as it is.
  """
  try:
    config_files.find(config)
  except UserError as error:
    raise UserError(f"{name}: {error}") from error
  try:
    unchanged = parse(config, {})
  except Exception as error:  # the config is a user's program: it may raise anything
    raise UserError(f"{name}: {config}: {reason(error)}") from error
  if not isinstance(unchanged, ConfigDict) or set(NEEDED) - set(unchanged):
    raise UserError(
      f"{name}: {config}: its get_config() must return a ConfigDict as configs/base.py does, with"
      f" {', '.join(NEEDED)}"
    )
  for key, value in overrides.items():
    try:
      parts = key.split(".")
      if parts[:2] != ["data", "arguments"]:  # a format may take more than the config gives it
        functools.reduce(lambda node, part: node[part], parts, unchanged)
      became = functools.reduce(lambda node, part: node[part], parts, parse(config, {key: value}))
    except (KeyError, TypeError) as error:
      raise UserError(f"{name}: unknown config key {key}: {config} has none") from error
    except Exception as error:
      raise UserError(f"{name}: {key}={value!r}: {reason(error)}") from error
    if not same(became, value):
      raise UserError(
        f"{name}: {key}={value!r} cannot be set by a flag, it becomes {became!r}: set it in a"
        " config file, which may take an argument"
      )
  settings = with_current_keys(parse(config, overrides).to_dict())
  try:
    ranges.check(settings)
  except UserError as error:
    raise UserError(f"{name}: {error}") from error
  return settings


def parse(config: str, overrides: Mapping[str, Any]) -> Any:
  """The config that `train` gets from these flags; raises whatever its parsing raises."""
  values = flags.FlagValues()
  arguments = data_arguments.joined(["sweep", *config_flags_of(config, overrides)])
  config_files.define_flag(flag_values=values, arguments=arguments)
  values(arguments)
  return values.config


def reason(error: Exception) -> str:
  """The line of an exception that says what is wrong; of a traceback in it the last."""
  cause = error.__cause__ or error
  lines = [line for line in str(cause).strip().split("\n") if line.strip()] or [""]
  if any("Traceback" in line for line in lines):
    return lines[-1]
  return f"{type(cause).__name__}: {lines[0]}"


def same(became: Any, value: Any) -> bool:
  """Whether a flag sets the value itself: lists may become tuples, and integers floats."""
  became = became.to_dict() if isinstance(became, ConfigDict) else became
  if isinstance(became, float) and type(value) is int:
    return became == value
  return json.dumps(became, sort_keys=True) == json.dumps(value, sort_keys=True, default=repr)


def config_flags_of(config: str, overrides: Mapping[str, Any]) -> list[str]:
  """The flags of `train` that say which config, with what changed."""
  return [f"--config={config}", *(f"--config.{key}={value}" for key, value in overrides.items())]
