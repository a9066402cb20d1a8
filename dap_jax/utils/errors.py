"""The exception for mistakes that a user can correct; the commands print it as a single line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from etils import epath


class UserError(ValueError):
  """A mistake of the user: its message names the value, what was expected, and how to correct it.

  Commands catch it, print `error: MESSAGE` and exit with status 1, without a traceback. Any other
  exception is a bug and keeps its traceback.
  """


class NotFiniteError(UserError):
  """A model gives vectors with NaN or infinity, for which every score would be meaningless."""


def cause(error: Exception) -> str:
  """What an exception says, for a message that names the file already: no number, no path."""
  return (isinstance(error, OSError) and error.strerror) or str(error)


@contextlib.contextmanager
def writing(
  path: epath.PathLike, *, cure: str = "the same command resumes, once it can be"
) -> Iterator[None]:
  """A context in which a failure to write, such as a full disk, becomes a `UserError`.

  Args:
    path: the file or folder that is written, for the message.
    cure: the end of the message; "" for what no command continues.

  Raises:
    UserError: it cannot be written.
  """
  try:
    yield
  except OSError as error:
    message = f"{path} cannot be written: {error}"
    raise UserError(f"{message}; {cure}" if cure else message) from error


@contextlib.contextmanager
def reading(message: str) -> Iterator[None]:
  """A context in which whatever a library raises for a damaged file becomes a `UserError`.

  A panic of a Rust library counts, `tokenizers` for one: Python sees it as an exception that is no
  `Exception`. What a user or the system asks for, KeyboardInterrupt say, passes.

  Args:
    message: what cannot be read; the first line of the library's error follows it.

  Raises:
    UserError: something was raised.
  """
  try:
    yield
  except UserError:
    raise
  except BaseException as error:
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
      raise
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    raise UserError(f"{message}: {reason[:300]}") from error
