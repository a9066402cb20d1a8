"""The one exception for mistakes a user can cure; the commands print it as a single line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from etils import epath


class UserError(ValueError):
  """A mistake in what the user gave: its message names the value, what was expected, the cure.

  Commands catch it, print `error: MESSAGE` and exit with status 1, without a traceback. Any other
  exception is a bug of ours and keeps its traceback.
  """


class NotFiniteError(UserError):
  """A model gives vectors with NaN or infinity in them, of which any score would be a wrong one."""


@contextlib.contextmanager
def writing(path: epath.PathLike) -> Iterator[None]:
  """Around what writes to a file or folder: a full disk, say, becomes one clear line.

  Raises:
    UserError: it cannot be written.
  """
  try:
    yield
  except OSError as error:
    raise UserError(
      f"{path} cannot be written: {error}; the same command resumes, once it can be"
    ) from error
