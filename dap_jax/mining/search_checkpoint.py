"""The state of an exact search in a file, so that a killed search can continue."""

from __future__ import annotations

import logging
import time
import zipfile
from pathlib import Path

import jax
import numpy as np

from dap_jax.mining.kernels.lists import HostLists, Lists
from dap_jax.utils.atomic import replacing

logger = logging.getLogger(__name__)

SAVE_SHARE = 0.05  # of the time may go into saving


class SearchCheckpoint:
  """Saves the state of one search now and then, and loads it when the search starts again.

  Args:
    path: an .npz file. The caller answers for its belonging to the same two sides and the same k.
      Each of several processes has a file of its own beside it; a search on another number of
      processes starts again.
    seconds: between two saves; more where saving takes longer than `SAVE_SHARE` of the time.
  """

  def __init__(self, path: Path, *, seconds: float):
    if (count := jax.process_count()) > 1:
      path = path.with_suffix(f".{jax.process_index() + 1}-of-{count}{path.suffix}")
    self._path, self._seconds = path, seconds
    self._saved_at, self._took = time.monotonic(), 0.0

  def due(self) -> bool:
    """Whether it is time to save."""
    waited = time.monotonic() - self._saved_at
    return waited >= max(self._seconds, self._took / SAVE_SHARE)

  def save(self, done: int, of_x: HostLists, of_y: HostLists) -> None:
    """Writes how many rows of x are done, and the lists of both sides."""
    begun = time.monotonic()
    with replacing(self._path) as temporary:
      np.savez(
        temporary,
        done=done,
        x_values=of_x.values,
        x_rows=of_x.rows,
        y_values=of_y.values,
        y_rows=of_y.rows,
      )
    self._saved_at = time.monotonic()
    self._took = self._saved_at - begun

  def load(self) -> tuple[int, HostLists, HostLists] | None:
    """What `save` wrote; None where there is no file, or one that cannot be read."""
    if not self._path.exists():
      return None
    try:
      with np.load(self._path) as file:
        done = int(file["done"])
        of_x = Lists(file["x_values"], file["x_rows"])
        of_y = Lists(file["y_values"], file["y_rows"])
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
      logger.warning("%s cannot be read (%s): the search starts again", self._path, error)
      return None
    logger.info("the search goes on: %d of %d rows were done", done, len(of_x.rows))
    return done, of_x, of_y
