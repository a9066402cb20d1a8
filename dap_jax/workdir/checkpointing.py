"""Checkpoints of a run as it trains: `step, params, opt_state` and nothing else; by Orbax (v1).

    WORKDIR/checkpoints/STEP/      the newest `keep_last`, and the best by a metric
    WORKDIR/checksums/STEP.json    digests of its files, see checksums.py
    WORKDIR/corrupt/STEP/          newest ones that could not be read or were damaged, moved aside

A state is restored with the shardings of the CURRENT mesh, never those it was written with.
After training, restore.py reads the parameters alone; nothing else imports Orbax.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
from etils import epath
from orbax.checkpoint import v1 as ocp

from dap_jax.distributed import multihost
from dap_jax.distributed.parameters import path_name
from dap_jax.utils.errors import UserError, writing
from dap_jax.utils.json_files import read_json
from dap_jax.workdir import checksums
from dap_jax.workdir.save_errors import not_written, root_cause

logger = logging.getLogger(__name__)
ITEM = "state"
FOLDER = "checkpoints"
# Orbax times a save by the wall clock and gives up after 20 minutes, so a clock that is set forward
# would end the run. A save that hangs is noticed by the watchdog.
SAVE_LIMIT_S = 10 * 24 * 3600
UNFINISHED = ".orbax-checkpoint-tmp"  # in the name of a checkpoint that is being written


class DamagedError(ValueError):
  """A checkpoint's files are not as they were written; the message says which."""


class Restored(NamedTuple):
  """state: arrays with the shapes and shardings asked for; step: of their checkpoint."""

  state: Any
  step: int


def leaf_shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  """path -> shape of every leaf; tuples, lists and named tuples look alike."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {path_name(path): tuple(leaf.shape) for path, leaf in leaves if hasattr(leaf, "shape")}


class Checkpoints:
  """The checkpoints of one workdir. All processes call its methods alike.

  Args:
    workdir: a local or remote folder.
    keep_last: how many of the newest are kept.
    best_metric: the metric whose largest value is kept beside them, or with a minus sign before
      its name the smallest; "" keeps none.

  Raises:
    UserError: the folder cannot be written.
  """

  def __init__(self, workdir: epath.PathLike, *, keep_last: int, best_metric: str):
    # Orbax takes absolute paths only.
    self._workdir, self._best = epath.Path(workdir).resolve(), best_metric
    if keep_last < 1:
      raise UserError(f"checkpoint.keep_last={keep_last}: keep at least 1 to be able to resume")
    policies = ocp.training.preservation_policies
    policy = policies.LatestN(keep_last)
    if best_metric:
      best = policies.BestN(
        get_metric_fn=lambda metrics: metrics[best_metric],
        n=1,
        keep_checkpoints_without_metrics=False,
      )
      policy = policies.AnyPreservationPolicy([policy, best])
    self._checksums: checksums.Writer | None = None
    if multihost.is_first() and checksums.is_local(self._workdir):
      self._checksums = checksums.Writer(self._workdir, FOLDER)
    self._open(policy)

  @property
  def best_metric(self) -> str:
    """Its name, without a sign."""
    return self._best.removeprefix("-")

  def _open(self, policy) -> None:
    self._policy = policy
    options = ocp.options.AsyncOptions(timeout_secs=SAVE_LIMIT_S)
    with writing(f"workdir {self._workdir}"), ocp.Context(async_options=options):
      remove_unfinished(self._workdir / FOLDER)
      self._set_aside_unlisted()
      self._orbax = ocp.training.Checkpointer(
        self._workdir / FOLDER,
        preservation_policy=policy,
        save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
      )

  def steps(self) -> list[int]:
    """Steps of the complete checkpoints, rising."""
    return [checkpoint.step for checkpoint in self._orbax.checkpoints]

  def best_step(self) -> int | None:
    """The step with the largest best metric; None before there is one."""
    scored = [c for c in self._orbax.checkpoints if c.metrics and self._best in c.metrics]
    if not scored:
      return None
    return max(scored, key=lambda checkpoint: checkpoint.metrics[self._best]).step

  def save(self, step: int, state: Any, *, metrics: Mapping[str, float]) -> None:
    """Starts to save; the arrays are copied before it returns, so the state may be donated.

    Args:
      step: of the state.
      state: a tree of sharded arrays.
      metrics: of this step; only the best metric is stored.

    Raises:
      UserError: this save or the one before it failed, for instance on a full disk.
    """
    value = metrics.get(self.best_metric)
    if value is not None and self._best != self.best_metric:
      value = -value  # Orbax keeps the largest
    stored = None if value is None else {self._best: value}
    with self._writing():  # it waits for the save before it, and has that one's errors
      self._orbax.wait()
    if self._checksums:
      self._checksums.finish()
      self._checksums.forget(step)
    with self._writing():
      self._orbax.save_async(
        step, state, checkpointable_name=ITEM, force=True, overwrite=True, metrics=stored
      )
    if self._checksums:
      self._checksums.start(step)

  def wait(self) -> None:
    """Waits until the save under way is complete. Raises UserError where it failed, as `save`."""
    with self._writing():
      self._orbax.wait()
    if self._checksums:
      self._checksums.finish()

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    """Around a save: OSError is Python's and Orbax's error, ValueError is TensorStore's."""
    try:
      yield
    except (OSError, ValueError) as error:
      if self._checksums:
        self._checksums.finish(failed=True)
      if "Gloo" in str(error):  # another process died, which `multihost` reports
        raise
      raise UserError(not_written(error, self._workdir / FOLDER)) from error

  def restore(self, abstract_state: Any, *, at_most: int | None = None) -> Restored | None:
    """The newest checkpoint that can be read; None where there is none at all.

    An unreadable newer one is moved to `corrupt/`, with a warning.

    Args:
      abstract_state: ShapeDtypeStructs with the current mesh's shardings.
      at_most: the newest that is not after this step, or the oldest where all are.

    Raises:
      UserError: the checkpoint is of another model, or none can be read.
    """
    steps = self.steps()
    if at_most is not None:
      steps = [step for step in steps if step <= at_most] or steps[:1]
    for step in reversed(steps):
      try:
        self._refuse_damage(step)
        state = self._orbax.load(step, abstract_state, checkpointable_name=ITEM)
        return Restored(state, step)
      except Exception as error:  # Orbax raises many types of errors for damaged files
        if not isinstance(error, DamagedError):
          self._refuse_other_model(step, abstract_state)
        self._set_aside(step)
        self._tell_moved(step, root_cause(error))
    if steps:
      raise UserError(
        f"none of the checkpoints {steps} in {self._workdir / FOLDER} can be read;"
        " choose another --workdir to start anew"
      )
    return None

  def _refuse_damage(self, step: int) -> None:
    """Raises DamagedError, on all processes, where the first finds that a file has changed."""
    damage = checksums.damage(self._workdir, FOLDER, step) if self._checksums else None
    if multihost.from_first(lambda: int(damage is not None)):
      raise DamagedError(damage or "the first process found damage")

  def _refuse_other_model(self, step: int, abstract_state: Any) -> None:
    """Raises UserError where the checkpoint has other shapes, so that it is not just damaged."""
    try:
      stored = leaf_shapes(self._orbax.metadata(step).metadata)
    except Exception:
      stored = {}
    if not stored:  # no readable metadata: damaged
      return
    expected = leaf_shapes(abstract_state)
    for path in sorted(set(stored) | set(expected)):
      if stored.get(path) != expected.get(path):
        raise UserError(
          f"checkpoint {step} in {self._workdir} is of another model: {path} is"
          f" {stored.get(path, 'absent')} there and {expected.get(path, 'absent')} in this config;"
          " use its config or another --workdir"
        )

  def _set_aside(self, step: int) -> None:
    """Moves a damaged checkpoint out of the way of later saves."""
    self._orbax.close()
    if multihost.is_first():
      self._move(step)
    multihost.wait("a damaged checkpoint was moved")
    self._open(self._policy)

  def _corrupt(self, step: int) -> epath.Path:
    """Where a damaged checkpoint goes."""
    return self._workdir / "corrupt" / str(step)

  def _tell_moved(self, step: int, reason: str) -> None:
    logger.warning(
      "checkpoint %d cannot be read (%s): moved to %s; trying the one before",
      *(step, reason, self._corrupt(step)),
    )

  def _move(self, step: int) -> None:
    """The move itself, to `corrupt/`."""
    target = self._corrupt(step)
    if target.exists():
      target.rmtree()
    target.parent.mkdir(parents=True, exist_ok=True)
    (self._workdir / FOLDER / str(step)).rename(target)

  def _set_aside_unlisted(self) -> None:
    """Moves checkpoints whose metrics Orbax cannot read: it would list none of them."""
    if not multihost.is_first():
      return
    for path in sorted((self._workdir / FOLDER).glob("*/metrics/metrics")):
      try:
        read_json(path)
      except UserError as error:
        step = int(path.parent.parent.name)
        self._move(step)
        self._tell_moved(step, str(error))

  def close(self) -> None:
    """Waits for the save under way, then lets go of the folder; errors as of `wait`."""
    with self._writing():
      self._orbax.close()
    if self._checksums:
      self._checksums.finish()

  def __enter__(self) -> Checkpoints:
    return self

  def __exit__(self, kind: type[BaseException] | None, *_) -> None:
    if kind is not None and jax.process_count() > 1:
      return  # to close waits for the other processes, which may not know of the error yet
    try:
      self.close()
    except UserError:
      if kind is None:  # else the first error is the one to report
        raise


def remove_unfinished(folder: epath.Path) -> None:
  """Removes the files of a save that was killed.

  Orbax can do so too, but on a thread, which fails noisily where the run soon ends with an error.
  """
  if multihost.is_first() and folder.exists():
    for path in folder.iterdir():
      if UNFINISHED in path.name:
        path.rmtree()
