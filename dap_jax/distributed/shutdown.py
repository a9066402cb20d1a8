"""How a command ends with an error: one line, and the same exit status on all its processes.

This module stays free of JAX, so that --help and a mistake in the flags take no time.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
  from dap_jax.distributed.process_group import ProcessGroup

group: ProcessGroup | None = None  # the processes of this command, once JAX knows of several


def fail(message: str, *, status: int) -> NoReturn:
  """Prints `error: MESSAGE` as one line and ends this process, and the others of its command."""
  line = f"error: {' '.join(message.split())}"
  if group:
    group.fail(line, status=status)
  print(line, file=sys.stderr, flush=True)
  sys.exit(status)
