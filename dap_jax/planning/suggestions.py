"""What to change where a step does not fit: settings first, then a larger topology."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dap_jax.planning.chips import Topology
from dap_jax.planning.predict import Report
from dap_jax.utils.errors import UserError

logger = logging.getLogger(__name__)
Config = Mapping[str, Any]


def suggestions(config: Config, topology: Topology) -> Iterator[tuple[str, Config]]:
  """Settings that save memory, the cheapest first: as flags of train, and the changed config."""
  mesh = config["mesh"]
  shards = topology.chips // mesh["model"]
  rows = config["batch_size"] // shards
  programs: list[dict[str, Any]] = [{"remat": "layers"}]
  chunks = config["program"]["microbatches"]
  while rows % (chunks * 2) == 0:
    chunks *= 2
    programs.append({"remat": "layers", "microbatches": chunks})
  changes: list[dict[str, dict[str, Any]]] = [{"program": program} for program in programs]
  within = next(size for size in (8, 4, 2, 1) if shards % size == 0)
  for fsdp in sorted({within, shards}):
    if fsdp > mesh["fsdp"]:
      shared = {"data": shards // fsdp, "fsdp": fsdp}
      changes.append({"program": programs[-1], "mesh": shared})
  for change in changes:
    changed = copy.deepcopy({**config})
    for section, keys in change.items():
      changed[section] = {**changed[section], **keys}
    flags = " ".join(
      f"--config.{section}.{key}={value}"
      for section, keys in change.items()
      for key, value in keys.items()
    )
    yield flags, changed


def larger(
  config: Config, topology: Topology, *, times: int
) -> Iterator[tuple[str, Config, Topology]]:
  """Topologies of twice the chips, and so on, each with the strongest of its `suggestions`."""
  for _ in range(times):
    doubled = topology.doubled()
    if doubled is None or config["batch_size"] % (doubled.chips // config["mesh"]["model"]):
      return
    topology = doubled
    *_, (flags, changed) = suggestions(config, topology)
    yield f"--topology={topology.name} {flags}", changed, topology


def first_that_fits(
  config: Config,
  topology: Topology,
  *,
  tries: int,
  attempt: Callable[[Config, Topology], Report],
) -> tuple[str, Report] | None:
  """The first of `suggestions` that fits, or else the first of `larger`.

  Args:
    config, topology: for which the step does not fit.
    tries: how many settings to try, and how many larger topologies.
    attempt: the report of `predict` for a config on a topology.

  Returns:
    Flags of `plan` and the report with them; None where nothing that was tried fits.
  """
  candidates = list(suggestions(config, topology))
  if len(candidates) > tries:  # the mildest, the harshest and some between
    picked = {round(i * (len(candidates) - 1) / max(1, tries - 1)) for i in range(tries)}
    candidates = [candidates[i] for i in sorted(picked)]
  here = ((flags, changed, topology) for flags, changed in candidates)
  attempts = [*here, *larger(config, topology, times=tries)]
  for number, (flags, changed, place) in enumerate(attempts, start=1):
    logger.info("it does not fit; trying %s (%d of at most %d)", flags, number, len(attempts))
    try:
      report = attempt(changed, place)
    except UserError as error:  # a topology that the compiler does not know
      logger.info("%s", error)
      continue
    if report["fits"]:
      return flags, report
  return None
