"""What a run writes as it trains: metrics.jsonl, TensorBoard, a tracker, a bar or plain lines."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from etils import epath
from tqdm import tqdm

from dap_jax.distributed import multihost
from dap_jax.training.trackers import Tracker
from dap_jax.utils.errors import writing
from dap_jax.utils.json_files import write_json
from dap_jax.utils.progress import RecentRate, make_bar
from dap_jax.workdir import records

logger = logging.getLogger(__name__)

QUIET_SECONDS = 60.0  # without a line, until one only says which step it is


def was_evaluated(workdir: epath.PathLike, step: int) -> bool:
  """Whether metrics.jsonl has the scores of a step; process 0 reads it, for all of them."""
  return bool(multihost.from_first(lambda: bool(records.scores_at(workdir, step))))


class MetricWriter:
  """Writes the metrics of a run; only process 0 does, calls on the others do nothing.

  A context manager.

  Args:
    workdir: where metrics.jsonl and the TensorBoard events go.
    steps: of the whole run.
    first_step: where this start begins: later lines, of a run that was killed after its last
      checkpoint, are dropped, since they will be written again.
    writes: whether this process is the one that writes.
    tracker: takes the same metrics; None without one.
  """

  def __init__(
    self,
    workdir: epath.PathLike,
    *,
    steps: int,
    first_step: int,
    writes: bool,
    tracker: Tracker | None = None,
  ):
    self._writes, self._steps, self._folder = writes, steps, epath.Path(workdir)
    self._tracker = tracker
    if not writes:
      return
    # The package's own switch: without this module's name it would load TensorFlow, 5 s a start.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
    from tensorboard.summary import Writer

    with writing(workdir):
      records.drop_records_after(workdir, first_step)
      self._events = Writer(str(workdir))
    self._bar = make_bar(total=steps, initial=first_step, unit="step")
    self._step, self._last_line, self._rate = first_step, time.monotonic(), RecentRate()

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    """Appends one line and the same numbers to TensorBoard."""
    if not self._writes:
      return
    with writing(self._folder):
      records.append_record(self._folder, {"step": step, **metrics})
      for name, value in metrics.items():
        self._events.add_scalar(name, value, step)
      self._events.flush()
    if self._tracker:
      self._tracker.log(step, metrics)

  def keep_protocol(self, suite: str, protocol: Mapping[str, Any]) -> None:
    """Writes WORKDIR/protocols/SUITE.json, once: what the scores eval/SUITE/... mean."""
    path = self._folder / "protocols" / f"{suite}.json"
    if self._writes and not path.exists():
      with writing(path):
        path.parent.mkdir(exist_ok=True)
        write_json(path, {key: value for key, value in protocol.items() if key != "step"})

  def keep_batch(
    self, number: int, batch_at: Callable[[int], Mapping[str, np.ndarray]]
  ) -> epath.Path:
    """Writes the batch of a step to WORKDIR/not_finite/NUMBER.npz, to look into it later."""
    path = self._folder / "not_finite" / f"{number}.npz"
    if self._writes:
      arrays: dict[str, Any] = dict(batch_at(number))
      with writing(path):
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
          np.savez(file, **arrays)
    return path

  def advance(self) -> None:
    """One more step on the bar; elsewhere a line, where there was none for `QUIET_SECONDS`."""
    if not self._writes:
      return
    self._bar.update()
    self._step += 1
    self._rate.add(self._step)
    if self._bar.disable and time.monotonic() - self._last_line >= QUIET_SECONDS:
      self.say(self._step)

  def say(self, step: int, text: str = "") -> None:
    """Shows how far the run is: beside the bar on a terminal, as a line elsewhere."""
    if not self._writes:
      return
    self._last_line = time.monotonic()
    if not self._bar.disable:
      self._bar.set_postfix_str(text)
      return
    seconds = self._rate.seconds_for(self._steps - step)
    left = "?" if seconds is None else tqdm.format_interval(seconds)
    logger.info("  ".join(filter(None, [f"step {step}/{self._steps}", text, f"{left} left"])))

  def announce(self, text: str) -> None:
    """Logs a line, which stays on the screen."""
    if self._writes:
      self._last_line = time.monotonic()
      with tqdm.external_write_mode(file=sys.stderr):
        logger.info(text)

  def __enter__(self) -> MetricWriter:
    return self

  def __exit__(self, *_) -> None:
    if self._writes:
      self._bar.close()
      # Each line was flushed; where that failed, this fails too, and the first error is reported.
      with contextlib.suppress(OSError):
        self._events.close()
      if self._tracker:
        self._tracker.finish()
