"""Several processes of one command end together: all done, or all with the mistake of one.

A process that leaves with an error waits five minutes for the others in JAX's own shutdown, while
they wait for it in a collective. So it tells them first, in the key-value store of JAX's
coordination service; each of them looks there. Process 0 prints the one line, and all leave at
once, without that shutdown. Who is killed tells nothing: JAX ends the others after 100 s.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

import jax
from jax._src import distributed  # JAX has no public way to its key-value store

LOOK_S = 1.0  # between two looks
GRACE_S = 3.0  # for a process to end by itself, so that it cleans up
LEAVE_S = 10.0  # for process 0 to tell, and then for the others to leave
FOR_EVER_MS = 1 << 40

FAILED, TOLD, LEFT, DONE = (f"dap_jax/{word}" for word in ("failed", "told", "left", "done"))


class ProcessGroup:
  """This process among those of its command, after `jax.distributed.initialize`.

  Attributes:
    index: its number.
  """

  def __init__(self):
    state = distributed.global_state
    self.index = state.process_id
    self._client, self._count = state.client, state.num_processes
    self._ending, self._leaving = threading.Event(), threading.Lock()
    self._watcher = threading.Thread(target=self._watch, daemon=True)
    self._watcher.start()

  def fail(self, line: str, *, status: int) -> None:
    """Ends all processes, this one with `status`; process 0 prints the line. Never returns."""
    self._ending.set()
    self._set(FAILED, f"{self.index} {status} {line}")
    self._leave(line, status=status)

  def follow(self) -> None:
    """Ends this process if another one has failed: errors that come of that need no telling."""
    if (said := self._get(FAILED)) is not None:
      index, status, line = said.split(" ", 2)
      self._leave(f"error: process {index}: {line.removeprefix('error: ')}", status=int(status))

  def finish(self) -> None:
    """Waits until all are done; in JAX's shutdown a slow one would be given up."""
    self._client.wait_at_barrier(DONE, FOR_EVER_MS)
    self._ending.set()
    self._watcher.join()

  def _watch(self) -> None:
    while not self._ending.wait(LOOK_S):
      if self._get(FAILED) is not None and not self._ending.wait(GRACE_S):
        self.follow()

  def _leave(self, line: str, *, status: int) -> None:
    """Process 0 goes last: the coordination service goes with it."""
    with self._leaving:  # the main thread and the watcher may both come; the first ends both
      if self.index == 0:
        print(line, file=sys.stderr, flush=True)
        self._set(TOLD, "")
        wait_until(lambda: len(self._client.key_value_dir_get(LEFT)) == self._count - 1)
      else:
        if not wait_until(lambda: self._get(TOLD) is not None):
          print(line, file=sys.stderr, flush=True)  # process 0 has gone, or hangs
        self._set(f"{LEFT}/{self.index}", "")
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


def wait_until(holds: Callable[[], bool]) -> bool:
  """Whether it holds within LEAVE_S."""
  deadline = time.monotonic() + LEAVE_S
  while not (held := holds()) and time.monotonic() < deadline:
    time.sleep(0.05)
  return held
