"""The file that `--output` names: could it be written? Asked before anything is computed."""

from __future__ import annotations

from pathlib import Path

from etils import epath

from dap_jax.utils.errors import UserError
from dap_jax.workdir import layout


def check_file(value: str | None, *, source: str | None = None) -> None:
  """Raises UserError where `--output=VALUE` could not be a file, or is `source`; None is right."""
  if value is None:
    return
  path = epath.Path(value)
  if path.is_dir() or not path.parent.is_dir():
    raise UserError(f"--output={value} cannot be written: name a file in an existing folder")
  layout.refuse_own_file(value)
  if source and path.exists() and Path(source).exists() and Path(value).samefile(source):
    raise UserError(f"--output={value} is an input, {source}: name another file for the result")
