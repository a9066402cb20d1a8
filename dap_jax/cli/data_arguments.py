"""`--config.data.arguments.KEY=VALUE`: the arguments of the data's format.

ml_collections lets a flag change a key that the config has, and these are keys that it may lack:
a format takes more arguments than a config names, and another format takes others. So the command
line's arguments become one flag, with those of the config where the format stays the config's.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

FORMAT = re.compile(r"--?config\.data\.format=(.*)", re.DOTALL)
ARGUMENT = re.compile(r"--?config\.data\.arguments(?:\.([^=.]+))?=(.*)", re.DOTALL)


def joined(argv: Sequence[str]) -> list[str]:
  """The command line, with the arguments of the format as one flag, a dict."""
  found = {word: match for word in argv if (match := ARGUMENT.fullmatch(word))}
  if not found:
    return list(argv)
  arguments = arguments_of_config(argv)
  for match in found.values():
    value = value_of(match[2])
    if match[1]:
      one_of_several = isinstance(arguments.get(match[1]), tuple) and isinstance(value, str)
      arguments[match[1]] = (value,) if one_of_several else value  # as ml_collections has it
    elif isinstance(value, dict):
      arguments = value
    else:  # the parser of the flags tells what is wrong with it
      return list(argv)
  first = next(iter(found))  # not earlier: --config comes before its keys
  kept = [word for word in argv if word == first or word not in found]
  return [f"--config.data.arguments={arguments!r}" if word == first else word for word in kept]


def arguments_of_config(argv: Sequence[str]) -> dict[str, Any]:
  """Those that the config file gives to its format; none where the command line has another."""
  # These need ml_collections, which not all commands do.
  from dap_jax.cli import config_files, config_mistakes

  value = config_mistakes.config_value(argv)
  if value is None:
    return {}
  try:
    data = config_files.NamedConfigParser("config").parse(value).data
    chosen = [match[1] for word in argv if (match := FORMAT.fullmatch(word))]
    return data.arguments.to_dict() if not chosen or chosen[-1] == data.format else {}
  except Exception:  # a user's program: parsing the flags runs it again, and tells what it raised
    return {}


def value_of(text: str) -> Any:
  """A Python literal, or else the text itself: a path, say."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    return text
