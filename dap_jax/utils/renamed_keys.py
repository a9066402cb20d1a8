"""Config keys that were renamed: the old name is still read, and a line of the log says the new."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

RENAMED = {"data.renderings": "data.views"}  # old name -> new name, in the same section


def with_new_names(config: Mapping[str, Any], *, announce: bool = True) -> dict[str, Any]:
  """A copy of a config, nested dicts, in which every renamed key has its new name.

  If a key is there under both names, the old one's value counts: a user's old config sets it on top
  of a base that has the new one.

  Args:
    config: the whole config.
    announce: whether to log a line with the new name.
  """
  renamed = copy.deepcopy(dict(config))
  for old, new in RENAMED.items():
    *path, old_key = old.split(".")
    section: Any = renamed
    for key in path:
      section = section.get(key, {}) if isinstance(section, Mapping) else {}
    if isinstance(section, dict) and old_key in section:
      section[new.split(".")[-1]] = section.pop(old_key)
      if announce:
        logger.warning("config key %s is called %s now; the old name still works", old, new)
  return renamed


def flag_with_new_name(flag: str) -> str:
  """`--config.OLD=VALUE` -> `--config.NEW=VALUE`; any other flag unchanged."""
  name, equals, value = flag.partition("=")
  for old, new in RENAMED.items():
    if name in (f"--config.{old}", f"-config.{old}"):
      logger.warning("config key %s is called %s now; the old name still works", old, new)
      return f"--config.{new}{equals}{value}"
  return flag
