"""Several processes of one run: they agree at the start, wait for each other, share results."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from dap_jax.utils.errors import UserError


def check_same_run(config: Mapping[str, Any], *, workdir: str) -> None:
  """Raises UserError, on all processes, where one has another config, workdir or code.

  They would otherwise wait for each other in collectives that do not fit, or train on nonsense.
  """
  check_same_start(
    {
      "config": json.dumps(config, sort_keys=True, default=list).encode(),
      "--workdir": str(workdir).encode(),
    }
  )


def check_same_start(contents: Mapping[str, bytes]) -> None:
  """`check_same` of what a process starts with, and of the package's code."""
  cure = "start all with the same command, from the same tree"
  check_same({**contents, "code": package_sources()}, cure=cure)


def check_same(contents: Mapping[str, bytes], *, cure: str) -> None:
  """Raises UserError, on all processes, where one has another content than process 0.

  Args:
    contents: what it is called -> its bytes; the same names on all processes.
    cure: what to do about it.
  """
  if jax.process_count() == 1:
    return
  digests = [
    np.frombuffer(hashlib.sha256(content).digest(), np.uint8) for content in contents.values()
  ]
  everyones = multihost_utils.process_allgather(np.stack(digests))
  differ = (everyones != everyones[0]).any(2)
  for what, others in zip(contents, differ.T, strict=True):
    if others.any():
      raise UserError(
        f"process {np.flatnonzero(others)[0]} has another {what} than process 0 ({others.sum()} of"
        f" {len(others)} differ): {cure}"
      )


def is_first() -> bool:
  """Whether this is process 0, which alone prints and writes."""
  return jax.process_index() == 0


def wait(event: str) -> None:
  """Waits until all processes are here; `event` names the place, the same on all of them."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(event)


def from_first(compute: Callable[[], int]) -> int:
  """The integer that process 0 computes, less than 2^31, on all processes; the others wait."""
  value = compute() if is_first() else 0
  return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def package_sources() -> bytes:
  """All Python files of the package with their names, one after the other."""
  root = Path(__file__).parents[1]
  files = sorted(root.rglob("*.py"))
  return b"".join(str(file.relative_to(root)).encode() + file.read_bytes() for file in files)


@contextlib.contextmanager
def reporting_dead_peers() -> Iterator[None]:
  """Around what all processes do together; also a decorator.

  Gloo, which does the collectives on CPUs, is the first to notice that a process has died, and
  raises an error of its own.

  Raises:
    UserError: another process died meanwhile.
  """
  try:
    yield
  except (ValueError, jax.errors.JaxRuntimeError) as error:
    if "Gloo" not in str(error):
      raise
    reason = str(error).splitlines()[0]
    raise UserError(f"another process died: {reason}; the same command resumes") from error
