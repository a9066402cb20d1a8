"""The config's `objectives` section -> functions, and what these need of model and data."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dap_jax.core.objective import NEEDS, Objective
from dap_jax.objectives import matryoshka
from dap_jax.utils.binding import bind
from dap_jax.utils.errors import UserError

Settings = Mapping[str, Mapping[str, Any] | None]  # name -> weight and settings, or None


def check_weight(weight: Any, *, name: str) -> bool:
  """Whether an objective is on. Raises UserError: its weight is neither >= 0 nor a schedule."""
  if isinstance(weight, Sequence) and not isinstance(weight, str):
    knots = [knot for knot in weight if isinstance(knot, Sequence) and len(knot) == 2]
    steps, values = [knot[0] for knot in knots], [knot[1] for knot in knots]
    if not knots or len(knots) != len(weight) or steps != sorted(set(steps)):
      raise UserError(
        f"objectives.{name}.weight={weight}: expected a number, or pairs (step, value) with rising"
        " steps"
      )
  else:
    values = [weight]
  if not all(isinstance(v, int | float) and math.isfinite(v) and v >= 0 for v in values):
    raise UserError(f"objectives.{name}.weight={weight!r}: expected a number of 0 or more")
  return any(values)


def chosen_objectives(
  settings: Settings,
) -> dict[str, tuple[Any, dict[str, Any]]]:
  """The objectives of the config that are on: name -> its module, and its settings and weight.

  Raises:
    UserError: there is no such file, a weight is wrong, or none is above 0.
  """
  chosen = {}
  for name, entry in settings.items():
    if not entry:
      continue
    if "weight" not in entry:
      raise UserError(f"config key objectives.{name}.weight is missing")
    if not check_weight(entry["weight"], name=name):
      continue
    try:
      module = importlib.import_module(f"dap_jax.objectives.{name}")
    except ModuleNotFoundError as error:
      if error.name != f"dap_jax.objectives.{name}":
        raise
      raise UserError(
        f"unknown objective {name!r} in the config: there is no dap_jax/objectives/{name}.py"
      ) from error
    chosen[name] = module, dict(entry)
  if not chosen:
    raise UserError("no objective has a weight above 0: set one in the config's objectives")
  return chosen


def needs(settings: Settings) -> set[str]:
  """What the objectives that are on use of `objectives.NEEDS`."""
  found = set()
  for module, entry in chosen_objectives(settings).values():
    if hasattr(module, "needs"):
      found |= module.needs(entry)
  assert found <= set(NEEDS), f"unknown needs: {sorted(found - set(NEEDS))}"
  return found


def make_objectives(
  settings: Settings, *, matryoshka_dimensions: Sequence[int] = ()
) -> dict[str, Objective]:
  """The config's `objectives` section -> functions; one that is None or has weight 0 is off.

  `matryoshka_dimensions`: those of `matryoshka.nested`, around every sentence-level objective.
  """
  objectives, nested = {}, False
  for name, (module, entry) in chosen_objectives(settings).items():
    weight = entry.pop("weight")
    function = bind(module.objective, entry, where=f"objectives.{name}")
    if matryoshka_dimensions and getattr(module, "SENTENCE_LEVEL", False):
      function, nested = matryoshka.nested(function, dimensions=matryoshka_dimensions), True
    objectives[name] = Objective(weight, function)
  if matryoshka_dimensions and not nested:
    raise UserError("matryoshka_dimensions: no objective that is on reads sentence vectors alone")
  return objectives
