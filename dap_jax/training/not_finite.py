"""What a training run does about a step whose loss or gradient is not finite."""

from __future__ import annotations

from dap_jax.training.loop import Session
from dap_jax.training.metric_accumulator import NotFinite
from dap_jax.training.run_data import RunData
from dap_jax.utils.errors import NotFiniteError


class SkipOrStop:
  """Passes over some such steps, and stops the run at one more; `loop.train_loop` calls it.

  Args:
    session: of the run.
    data: what it trains on; the batch of the step that stops it is kept for a look.
    at_most: how many steps are passed over, the config's `skip_not_finite`.
  """

  def __init__(self, session: Session, data: RunData, *, at_most: int):
    self._session, self._data, self._at_most = session, data, at_most
    self._skipped = 0

  def __call__(self, event: NotFinite) -> None:
    """Raises NotFiniteError where the step is one too many."""
    self._skipped += 1
    message = (
      f"step {event.step} is not finite: loss {event.loss:.3g}, gradient {event.grad_norm:.3g};"
      " nothing changed"
    )
    writer = self._session.writer
    if self._skipped <= self._at_most:
      writer.announce(f"{message}; skip_not_finite={self._at_most}, so it goes on")
      return
    self._session.checkpoints.wait()  # all processes are here: none leaves a save half done
    path = writer.keep_batch(event.step, self._data.batch_at)
    raise NotFiniteError(
      f"{message}. Its batch is in {path}; --replay_step={event.step} looks at it again. A lower"
      " optimizer.learning_rate may cure it, or skip_not_finite pass over such steps"
    )
