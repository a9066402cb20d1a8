"""Ctrl-C ends a command, whatever swallows or delays the KeyboardInterrupt that Python raises.

Python raises it between two bytecodes of the main thread. There it is lost where that is a callback
of a library (JAX registers one with the garbage collector), and late during a long call into C
(the thread here acts meanwhile, unless that call keeps Python's lock).
"""

from __future__ import annotations

import os
import signal
import threading
import time

from dap_jax.distributed.shutdown import fail

MESSAGE = "interrupted; the same command resumes"
STATUS = 130
GRACE_S = 2.0  # for the main thread to end by itself


def end_when_interrupted() -> None:
  """From now on, SIGINT ends this process within `GRACE_S`, with one line and status 130.

  What a command writes outlives a kill, so nothing is lost. Called once, by the main thread.
  """
  reader, writer = os.pipe()
  os.set_blocking(writer, False)  # as `set_wakeup_fd` wants it
  signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
  threading.Thread(target=wait_and_end, args=(reader,), daemon=True).start()


def wait_and_end(reader: int) -> None:
  """Reads the numbers of the signals that arrive; ends the process a while after SIGINT."""
  while signal.SIGINT not in os.read(reader, 64):
    pass
  time.sleep(GRACE_S)
  try:
    fail(MESSAGE, status=STATUS)
  finally:
    os._exit(STATUS)
