"""Progress of long work: a bar on a terminal, elsewhere a line of the log every few seconds."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

logger = logging.getLogger(__name__)

LINE_SECONDS = 10.0  # between two lines of the log
STILL_SECONDS = 30.0  # between two lines on what cannot tell how far it is
RATE_SECONDS = 300.0  # over which a speed is measured that a time left is computed from


def make_bar(**settings: Any) -> tqdm:
  """A bar on standard error, as wide as the terminal; elsewhere one that is disabled.

  Args:
    **settings: of tqdm.
  """
  try:
    has_width = os.get_terminal_size(sys.stderr.fileno()).columns > 0
  except (OSError, ValueError):  # no terminal, or no file at all
    has_width = True
  # A terminal inside `script` has 0 columns, and a bar as wide would not be seen.
  width = {"dynamic_ncols": True} if has_width else {"ncols": 80}
  settings = {"disable": None, "smoothing": 0.05, **width, **settings}  # None: only on a terminal
  return tqdm(file=sys.stderr, **settings)


@contextlib.contextmanager
def still_working(what: str, *, say: Callable[[str], None] = logger.info) -> Iterator[None]:
  """Says what is being done, and again every `STILL_SECONDS` until it is, and for how long so far.

  Args:
    what: the work, for one that cannot tell how far it is.
    say: takes each line.
  """
  started, is_done = time.monotonic(), threading.Event()

  def repeat() -> None:
    while not is_done.wait(STILL_SECONDS):
      say(f"{what}: {tqdm.format_interval(time.monotonic() - started)} so far")

  say(what)
  thread = threading.Thread(target=repeat, daemon=True)
  thread.start()
  try:
    yield
  finally:
    is_done.set()
    thread.join()


class RecentRate:
  """How fast work goes of late: one slow interval does not double the time that is left."""

  def __init__(self) -> None:
    self._points: collections.deque[tuple[float, int]] = collections.deque()
    self._newest = (0.0, 0)

  def add(self, done: int) -> None:
    """Takes note of how much is done by now."""
    self._newest = now, _ = time.monotonic(), done
    if not self._points or now - self._points[-1][0] >= 1.0:  # a run may do thousands a second
      self._points.append(self._newest)
    while len(self._points) > 1 and self._points[1][0] <= now - RATE_SECONDS:
      self._points.popleft()

  def seconds_for(self, number: int) -> float | None:
    """How long `number` units will take; None where nothing has been done yet."""
    (started, before), (now, done) = self._points[0] if self._points else self._newest, self._newest
    return number * (now - started) / (done - before) if done > before else None


class Progress:
  """A context manager that shows progress; `advance(n)` counts.

  Args:
    what: the name of the work, before the figures.
    total: how many units there are to do; None = that is not known.
    done: how many of them an earlier start has done.
    unit: the unit's name, in the singular.
  """

  def __init__(self, what: str, *, total: int | None, done: int = 0, unit: str):
    self._what, self._unit, self._total = what, unit, total
    self._first, self._done = done, done
    self._started = self._last_line = time.monotonic()
    self._bar = make_bar(
      desc=what,
      total=total,
      initial=done,
      unit=unit,
      unit_scale=True,
      # Of several processes, only the one that logs shows a bar.
      disable=None if logger.isEnabledFor(logging.WARNING) else True,
    )

  def advance(self, number: int) -> None:
    """Counts `number` more units as done."""
    self._done += number
    self._bar.update(number)
    now = time.monotonic()
    if not self._bar.disable or now - self._last_line < LINE_SECONDS:
      return
    self._last_line = now
    speed = (self._done - self._first) / (now - self._started)
    of_all, left = "", ""
    if self._total is not None:
      of_all = f" of {self._total}"
      left = tqdm.format_interval((self._total - self._done) / speed) if speed else "?"
      left = f", {left} left"
    logger.info(
      "%s: %d%s %ss, %.3g a second%s", self._what, self._done, of_all, self._unit, speed, left
    )

  def __enter__(self) -> Progress:
    return self

  def __exit__(self, *_) -> None:
    self._bar.close()
