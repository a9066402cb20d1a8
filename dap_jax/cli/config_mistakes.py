"""What is wrong with --config or its overrides, in one line: the file and line, or the nearest key.

Flags are parsed in one go, which runs the config file and applies `--config.KEY=VALUE`; whatever
goes wrong there arrives as one exception of any type, since the file is a user's program.
"""

from __future__ import annotations

import difflib
import os
import traceback
from collections.abc import Iterable, Sequence
from typing import Any

from ml_collections import ConfigDict

from dap_jax.cli import config_files
from dap_jax.utils.trees import flatten


def explain(error: BaseException, arguments: Sequence[str]) -> tuple[str, bool]:
  """The line about an exception that parsing the flags raised.

  Args:
    error: the exception.
    arguments: of the command line.

  Returns:
    The line, and whether the mistake is in the config file, not in a flag.
  """
  overrides = [word for word in arguments if word.startswith(("--config.", "-config."))]
  value, config = config_value(arguments), None
  if value is not None:
    try:
      config = config_files.NamedConfigParser("config").parse(value)
    except Exception as raised:
      return config_file_mistake(value, raised), True
  unknown = unknown_key(overrides, config)
  return unknown or f"{' '.join(overrides) or '--config'}: {first_line(error)}", False


def config_file_mistake(value: str, raised: BaseException) -> str:
  """`FILE:LINE: what the file raised`; value: what --config is."""
  error = raised
  while error.__context__ is not None:  # the parser packs some into others
    error = error.__context__
  where = place(error, file=config_files.find(value).partition(":")[0])
  return f"--config={value}: {where}: {type(error).__name__}: {first_line(error)}"


def place(error: BaseException, *, file: str) -> str:
  """`FILE:LINE` of an exception: of a syntax error, else the innermost line of a config file."""
  if isinstance(error, SyntaxError) and error.filename:
    return f"{error.filename}:{error.lineno}"
  folders = (os.path.dirname(os.path.abspath(file)), str(config_files.shipped_folder()))
  lines = [
    f"{frame.filename}:{frame.lineno}"
    for frame in traceback.extract_tb(error.__traceback__)
    if os.path.abspath(frame.filename).startswith(folders)
  ]
  return lines[-1] if lines else file


def unknown_key(overrides: Iterable[str], config: Any) -> str | None:
  """The line about the first override of an unknown key; None where all are known."""
  if not isinstance(config, ConfigDict):
    return None
  keys = flatten(config.to_dict(), separator=".")
  for override in overrides:
    key = override.lstrip("-").removeprefix("config.").partition("=")[0]
    if not any(known == key or known.startswith(f"{key}.") for known in keys):
      close = nearest(key, keys)
      hint = f"; did you mean {' or '.join(close)}?" if close else "; configs/base.py has them all"
      return f"{override}: the config has no key {key!r}{hint}"
  return None


def nearest(key: str, known: Iterable[str]) -> list[str]:
  """At most two keys: those whose last part is the same, else those that are spelt most alike."""
  known = list(known)
  last = key.split(".")[-1]
  same = [name for name in known if name.split(".")[-1] == last]
  if same:
    section = key.split(".")[0]
    return sorted(same, key=lambda name: name.split(".")[0] != section)[:2]
  alike = difflib.get_close_matches(key, known, n=2, cutoff=0.6)
  by_last = {name.split(".")[-1]: name for name in known}
  return alike or [by_last[name] for name in difflib.get_close_matches(last, by_last, n=2)]


def config_value(arguments: Sequence[str]) -> str | None:
  """What `--config` is set to on a command line, `--config=VALUE` or `--config VALUE`."""
  for number, word in enumerate(arguments):
    name, equals, value = word.partition("=")
    if name in ("--config", "-config"):
      following = arguments[number + 1 : number + 2]
      return value if equals else next(iter(following), None)
  return None


def first_line(error: BaseException) -> str:
  """The first line of an exception's message, without the quotes that a KeyError adds."""
  lines = str(error.args[0] if error.args else error).strip().splitlines()
  return lines[0] if lines else type(error).__name__
