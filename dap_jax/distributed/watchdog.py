"""Ends a process that would otherwise wait for the others for ever."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator

from dap_jax.utils.errors import UserError


class Watchdog:
  """Ends this process when nothing happens for too long; a context manager.

  When a process dies or hangs, the others wait in a collective, silently and for ever.

  Args:
    limit_s: seconds; 0 waits for ever.
  """

  def __init__(self, limit_s: float):
    if limit_s < 0:
      raise UserError(f"hang_seconds={limit_s}: expected seconds, or 0 to wait for ever")
    self._limit, self._ended, self._paused = limit_s, threading.Event(), 0
    self.alive()

  def alive(self) -> None:
    """Reports that something happened: the time begins anew."""
    self._last = time.monotonic()

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Around what may take any time, such as compiling or an evaluation."""
    self._paused += 1
    try:
      yield
    finally:
      self._paused -= 1
      self.alive()

  def __enter__(self) -> Watchdog:
    if self._limit:
      threading.Thread(target=self._watch, daemon=True).start()
    return self

  def __exit__(self, *_) -> None:
    self._ended.set()

  def _watch(self) -> None:
    while not self._ended.wait(min(self._limit / 4, 10)):
      if not self._paused and time.monotonic() - self._last > self._limit:
        # Where each thread stands, then the one line; the main thread cannot be reached.
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
        print(
          f"error: no step for {self._limit:.0f} s (hang_seconds): another process died or hangs,"
          " or the data does not come; the same command resumes",
          file=sys.stderr,
          flush=True,
        )
        os._exit(1)
