"""Progress of long work: a bar on a terminal, elsewhere a line of the log every few seconds."""

from __future__ import annotations

import logging
import sys
import time

from tqdm import tqdm

logger = logging.getLogger(__name__)

LINE_SECONDS = 10.0  # between two lines of the log


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
    self._bar = tqdm(
      desc=what,
      total=total,
      initial=done,
      unit=unit,
      unit_scale=True,
      # None: only on a terminal. Of several processes, only the one that logs shows a bar.
      disable=None if logger.isEnabledFor(logging.WARNING) else True,
      file=sys.stderr,
      dynamic_ncols=True,
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
