"""A file that grows: it is called OUTPUT.partial until it is whole, and a killed command continues.

OUTPUT.partial.json beside it says what it is made of, so that nothing else is added to it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any

from etils import epath

from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json, write_json


def partial_of(output: str) -> Path:
  """The file that becomes `output`."""
  return Path(f"{output}.partial")


def description_of(partial: Path) -> Path:
  """The file that says what a partial file is made of."""
  return partial.with_name(f"{partial.name}.json")


def continues(partial: Path, identity: dict[str, Any]) -> bool:
  """Whether the partial file is there; if not, an empty one is made.

  Args:
    partial: the file.
    identity: what it is made of, JSON values.

  Raises:
    UserError: it is there and is made of something else.
  """
  description = description_of(partial)
  if not (partial.exists() and description.exists()):
    partial.touch()
    write_json(epath.Path(description), identity)
    return False
  if read_json(epath.Path(description)) != identity:
    raise UserError(
      f"{partial} was begun with another text, model or setting: remove it, or choose another"
      " output"
    )
  return True


def append(file: IO[bytes], content: bytes) -> None:
  """Adds to an open partial file, and sees to it that it is on the disk."""
  file.write(content)
  file.flush()
  os.fsync(file.fileno())


def finish(partial: Path, output: str) -> None:
  """Gives the whole file its name."""
  partial.replace(output)
  description_of(partial).unlink()
