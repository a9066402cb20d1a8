"""Configs of older versions, in users' files and in workdirs: they keep working.

A key that was renamed is still read under its old name, and a line of the log says the new one. A
key that came later has the value with which runs trained before there was one.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

RENAMED = {"data.renderings": "data.views"}  # old name -> new name, in the same section
ADDED = {  # key -> the value that means what was done without it
  "decoder.start": "source",
  # Old runs had none and all texts; their data is prepared, so these are not read again.
  "data.guard": ["eval_suites"],
  "data.max_line_bytes": 1 << 20,
  "data.near_duplicates": 0.0,
  "data.rules_for": {},
  "tokenizer.sample_texts": 200_000,
  "objectives.translation_ranking.hard_negatives": True,
  "objectives.translation_ranking.same_tower_negatives": False,
  "objectives.translation_ranking.false_negatives": "text",
  "objectives.translation_ranking.false_negative_margin": 0.1,  # not read
  "objectives.translation_ranking.hardness": 0.0,
  "tokenizer.prune": 0,
  "eval_at_start": False,
  "prompts": {
    "texts": {"query": "", "document": ""},
    "pivot": "",
    "translation": "",
    "default": "",
  },
}


def with_current_keys(config: Mapping[str, Any], *, announce: bool = True) -> dict[str, Any]:
  """A copy of a config, nested dicts, that has the keys of today.

  If a key is there under both names, the old one's value counts: a user's old config sets it on top
  of a base that has the new one. A section that is absent or empty stays so, unless it came later.

  Args:
    config: the whole config.
    announce: whether to log a line with the new name of a renamed key.
  """
  current = copy.deepcopy(dict(config))
  for old, new in RENAMED.items():
    section, key = holder(current, old)
    if key in section:
      section[new.split(".")[-1]] = section.pop(key)
      if announce:
        logger.warning("%s", renamed(old, new))
  for added, value in ADDED.items():
    section, key = holder(current, added)
    if section:
      section.setdefault(key, copy.deepcopy(value))
  return current


def holder(config: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
  """The section that a dotted key stands in, {} where there is none; and its last part."""
  *path, key = name.split(".")
  section: Any = config
  for part in path:
    section = section.get(part) if isinstance(section, Mapping) else None
  return section if isinstance(section, dict) else {}, key


def renamed(old: str, new: str) -> str:
  """The line about a renamed key."""
  return f"config key {old} is called {new} now; the old name still works"


def flag_with_new_name(flag: str) -> str:
  """`--config.OLD=VALUE` -> `--config.NEW=VALUE`; any other flag unchanged."""
  name, equals, value = flag.partition("=")
  for old, new in RENAMED.items():
    if name in (f"--config.{old}", f"-config.{old}"):
      logger.warning("%s", renamed(old, new))
      return f"--config.{new}{equals}{value}"
  return flag
