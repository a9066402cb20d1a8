"""SIGTERM -> a checkpoint and exit status 0, on every host at the same step."""

from __future__ import annotations

import signal

import jax
from jax.experimental import multihost_utils


class Preemption:
  """Notices that the job is to be stopped; a context manager around the training loop.

  A single process listens to SIGTERM itself. With several, JAX's preemption service agrees on a
  step that all of them can still reach, and `requested` is true at that step on each.
  """

  def __init__(self):
    self._received = False
    self._single = jax.process_count() == 1

  def __enter__(self) -> Preemption:
    if self._single:  # with several processes, JAX's own handler is installed
      self._previous = signal.signal(signal.SIGTERM, self._receive)
    return self

  def __exit__(self, *_) -> None:
    if self._single:
      signal.signal(signal.SIGTERM, self._previous)

  def _receive(self, *_) -> None:
    self._received = True

  def requested(self, step: int) -> bool:
    """Whether to save and leave at this step; the same answer on every process."""
    if self._single:
      return self._received
    return multihost_utils.reached_preemption_sync_point(step)
