"""Files that appear whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeVar

from etils import epath

PathT = TypeVar("PathT", bound=epath.Path)


@contextlib.contextmanager
def replacing(path: PathT) -> Iterator[PathT]:
  """Gives a path to write to; at the end of the block that file takes the place of `path`.

  Where the block raises, or the process is killed, `path` is what it was before, or absent. One
  process writes a path at a time: all of them would use the same name beside it.

  Args:
    path: a file, local or remote (`epath.Path`), or a `pathlib.Path`.

  Yields:
    The path to write to, in the same folder and with the same last suffix (numpy adds its own to a
    name without one).

  Raises:
    OSError: the file cannot be renamed; the block's own errors pass through.
  """
  temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
  try:
    yield temporary
    temporary.replace(path)
  except BaseException:
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)
    raise
