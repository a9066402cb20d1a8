"""What Orbax and TensorStore raise and log when a save fails, as one line."""

from __future__ import annotations

import logging
import sys

from etils import epath

from dap_jax.distributed import shutdown


class OrbaxLog(logging.Filter):
  """Drops the log records of Orbax: it raises its errors, and each thread logs a page before that.

  With several processes, one whose write fails raises nothing until the others are at a barrier,
  where they wait for its write for ever. Its log record is the only sign, so it ends all of them.
  """

  def filter(self, record: logging.LogRecord) -> bool:
    """Whether the record is not from Orbax."""
    error = record.exc_info[1] if record.exc_info else None
    if error and shutdown.group and record.pathname.endswith("/async_checkpointer.py"):
      cause = deepest(error)
      if isinstance(cause, OSError | ValueError):  # else another process failed, and reports it
        shutdown.fail(not_written(cause, "the workdir"), status=1)
    return "/orbax/" not in record.pathname


logging.getLogger("absl").addFilter(OrbaxLog())
print_unraisable = sys.unraisablehook


def pass_over_closed_loop(unraisable: sys.UnraisableHookArgs) -> None:
  """A `sys.unraisablehook` without what TensorStore's threads print for each file of a failed save.

  They report to an event loop that Orbax has closed by then, after it raised the error.
  """
  if str(unraisable.exc_value) != "Event loop is closed":
    print_unraisable(unraisable)


sys.unraisablehook = pass_over_closed_loop


def not_written(error: BaseException, folder: epath.Path | str) -> str:
  """The message of a save that fails."""
  return (
    f"no checkpoint can be written to {folder}: {root_cause(error)};"
    " the same command resumes from the newest one, once it can be"
  )


def root_cause(error: BaseException) -> str:
  """The first line of the innermost cause; of a long line its end, where the cause stands."""
  error = deepest(error)
  line = (str(error).strip().splitlines() or [type(error).__name__])[0]
  line = line.partition(" [os_error_code=")[0]  # TensorStore's; the words for it stand before
  return line if len(line) <= 200 else f"... {line[-200:]}"


def deepest(error: BaseException) -> BaseException:
  """The innermost cause of an exception, or the exception itself."""
  while error.__cause__ is not None:
    error = error.__cause__
  return error
