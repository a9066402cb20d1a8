"""Several processes of one command end together: all succeed, or all fail with the error of one.

A process that exits with an error waits five minutes for the others in JAX's own shutdown, while
they wait for it in a collective. So it first reports the error in the key-value store of JAX's
coordination service, which each of them polls. Process 0 prints the error as one line, and all exit
at once, without that shutdown. A killed process cannot report an error: JAX notices that it is gone
and ends the others after 100 s.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import jax
from jax._src import distributed  # JAX has no public way to its key-value store

POLL_S = 1.0  # between two looks at the key-value store
GRACE_S = 3.0  # for a process to end by itself, so that it cleans up
EXIT_S = 10.0  # for process 0 to print the error, and then for the others to exit
FOR_EVER_MS = 1 << 40
HANDLERS: list[object] = []  # of signals, in C: they must live as long as the process

# Keys of the store: the error of a process; process 0 has printed it; exited processes, below it;
# the barrier at the end of a command that succeeds.
FAILED, PRINTED, EXITED, DONE = (
  f"dap_jax/{word}" for word in ("failed", "printed", "exited", "done")
)


class ProcessGroup:
  """The processes of this command, seen from one of them, after `jax.distributed.initialize`.

  Attributes:
    index: the number of this process.
  """

  def __init__(self):
    state = distributed.global_state
    self.index = state.process_id
    self._client, self._count = state.client, state.num_processes
    self._ending, self._exiting = threading.Event(), threading.Lock()
    self._watcher = threading.Thread(target=self._watch, daemon=True)
    self._watcher.start()

  def fail(self, line: str, *, status: int) -> None:
    """Ends all processes with this exit status; process 0 prints the line. Never returns."""
    self._ending.set()
    self._set(FAILED, f"{self.index} {status} {line}")
    self._exit(line, status=status)

  def follow(self) -> None:
    """Ends this process if another one has failed: an error of its own is a mere consequence."""
    if (failure := self._get(FAILED)) is not None:
      index, status, line = failure.split(" ", 2)
      self._exit(f"error: process {index}: {line.removeprefix('error: ')}", status=int(status))

  def finish(self) -> None:
    """Waits until all have succeeded, however slow; JAX's own shutdown would give up on one."""
    self._client.wait_at_barrier(DONE, FOR_EVER_MS)
    self._ending.set()
    self._watcher.join()

  def _watch(self) -> None:
    while not self._ending.wait(POLL_S):
      if self._get(FAILED) is not None and not self._ending.wait(GRACE_S):
        self.follow()

  def _exit(self, line: str, *, status: int) -> None:
    """Ends this process; process 0 goes last, since the coordination service goes with it."""
    with self._exiting:  # the main thread and the watcher may both come; the first ends both
      exit_on_abort(status)
      if self.index == 0:
        print(line, file=sys.stderr, flush=True)
        self._set(PRINTED, "")
        wait_until(lambda: len(self._client.key_value_dir_get(EXITED)) == self._count - 1)
      else:
        if not wait_until(lambda: self._get(PRINTED) is not None):
          print(line, file=sys.stderr, flush=True)  # process 0 has gone, or hangs
        self._set(f"{EXITED}/{self.index}", "")
      sys.stdout.flush()
      os._exit(status)

  def _get(self, key: str) -> str | None:
    try:
      return self._client.key_value_try_get(key)
    except jax.errors.JaxRuntimeError:  # there is none yet
      return None

  def _set(self, key: str, value: str) -> None:
    try:
      self._client.key_value_set(key, value)
    except jax.errors.JaxRuntimeError:
      return  # another process was first, or the service has gone


def exit_on_abort(status: int) -> None:
  """From now on an abort of this process, SIGABRT, ends it with `status`.

  While a process waits for the others to exit, its main thread may still be in a collective. Where
  one of Gloo's threads then finds that a peer has gone, it aborts the process.
  """

  @ctypes.CFUNCTYPE(None, ctypes.c_int)
  def exit_at_once(_signal: int) -> None:
    os._exit(status)

  # A handler of Python's own would run after abort() has ended the process.
  HANDLERS.append(exit_at_once)
  ctypes.CDLL(None).signal(signal.SIGABRT, exit_at_once)


def wait_until(condition: Callable[[], bool]) -> bool:
  """Whether the condition becomes true within `EXIT_S`; waits for it."""
  deadline = time.monotonic() + EXIT_S
  while not (is_true := condition()) and time.monotonic() < deadline:
    time.sleep(0.05)
  return is_true
