"""Work on the parts of a corpus by a process for each core, with the results in order.

beam.py does the same on many machines.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
ALONE = 5  # so many parts are done by this process: to start others takes longer


class Workers(Protocol):
  """Those who do the work; a context."""

  def __enter__(self) -> Workers: ...

  def __exit__(self, kind: type[BaseException] | None, *_) -> None: ...

  def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The function's result for each item, in order; few are in memory at a time.

    Args:
      function: can be pickled.
      items: parts of the work, each worth sending to another process.
    """
    ...


class Processes:
  """A process for each core, started when there is enough to do, and ended with this context."""

  def __init__(self) -> None:
    counted = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    self._processes = counted or 1
    self._pool: ProcessPoolExecutor | None = None

  def __enter__(self) -> Processes:
    return self

  def __exit__(self, kind: type[BaseException] | None, *_) -> None:
    if self._pool is not None:
      self._pool.shutdown(cancel_futures=kind is not None)

  def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    parts = iter(items)
    for part in itertools.islice(parts, 0 if self._pool else ALONE):
      yield function(part)
    waiting: deque[Future[Result]] = deque()
    for part in parts:
      if self._pool is None:
        # Not forks: JAX and TensorFlow have threads.
        self._pool = ProcessPoolExecutor(
          self._processes, mp_context=get_context("spawn"), initializer=begin
        )
      waiting.append(self._pool.submit(function, part))
      if len(waiting) > 2 * self._processes:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()


def begin() -> None:
  """A worker begins: its libraries use one core, and it ends when the command is killed."""
  os.environ["TOKENIZERS_PARALLELISM"] = "false"
  parent = parent_process()
  assert parent is not None

  def end_with_parent() -> None:
    wait([parent.sentinel])
    os._exit(1)  # the queue that the other threads wait for has no end: it is ours too

  threading.Thread(target=end_with_parent, daemon=True).start()
