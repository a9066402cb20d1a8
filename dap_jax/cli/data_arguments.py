"""`--config.data.arguments.KEY=VALUE` beside `--config.data.format=FORMAT`: the format's arguments.

ml_collections lets a flag change a key that the config has; the arguments of another format are
others. So where the command line names a format, its arguments are all that the command line has.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

FORMAT = re.compile(r"--?config\.data\.format=")
ARGUMENT = re.compile(r"--?config\.data\.arguments\.([^=.]+)=(.*)", re.DOTALL)


def joined(argv: Sequence[str]) -> list[str]:
  """The command line, with the arguments of a format that it names as one flag, a dict."""
  if not any(FORMAT.match(word) for word in argv):
    return list(argv)
  found = {word: match for word in argv if (match := ARGUMENT.fullmatch(word))}
  if not found:
    return list(argv)
  arguments = {match[1]: value_of(match[2]) for match in found.values()}
  first = next(iter(found))  # not earlier: --config comes before its keys
  kept = [word for word in argv if word == first or word not in found]
  return [f"--config.data.arguments={arguments!r}" if word == first else word for word in kept]


def value_of(text: str) -> Any:
  """A Python literal, or else the text itself: a path, say."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    return text
