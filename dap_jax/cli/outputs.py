"""The file that `--output` names: could it be written? Asked before anything is computed.

All commands have one rule: a file that is there is replaced, whole and at the end, and a line at
the start says so; a folder with something in it, which `export` would write, is refused. What a run
needs is never replaced.
"""

from __future__ import annotations

import logging
from pathlib import Path

from etils import epath

from dap_jax.utils.errors import UserError
from dap_jax.workdir import layout

logger = logging.getLogger(__name__)


def check_file(value: str | None, *sources: str | None) -> None:
  """Raises UserError where `--output=VALUE` could not be a file, or is an input; None is right.

  It says so where a file is going to be replaced.

  Args:
    value: of the flag.
    *sources: the inputs; None and "" are none.
  """
  if value is None:
    return
  path = epath.Path(value)
  if path.is_dir() or not path.parent.is_dir():
    raise UserError(f"--output={value} cannot be written: name a file in an existing folder")
  layout.refuse_own_file(value)
  if not path.exists():
    return
  for source in filter(None, sources):
    if Path(source).exists() and Path(value).samefile(source):
      raise UserError(f"--output={value} is an input, {source}: name another file for the result")
  logger.info("--output=%s is there: it is replaced at the end", value)
