"""The config's `objectives` section -> functions, and what these need of model and data."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from dap_jax.core import matryoshka
from dap_jax.core.objective import NEEDS, Objective
from dap_jax.utils.binding import bind
from dap_jax.utils.errors import UserError

Section = Mapping[str, Mapping[str, Any] | None]  # name -> weight and settings, or None


class Selected(NamedTuple):
  """An objective that is on. module: its file; weight and settings: its entry in the config."""

  module: ModuleType
  weight: Any
  settings: dict[str, Any]


def make_objectives(
  section: Section, *, matryoshka_dimensions: Sequence[int] = ()
) -> dict[str, Objective]:
  """The objectives of the config's section `objectives` that are on, their settings bound.

  An entry that is None or has weight 0 is off.

  Args:
    section: name -> weight and settings. The name is that of a file in `objectives`.
    matryoshka_dimensions: see `matryoshka.nested`, which wraps every sentence-level objective.

  Raises:
    UserError: an objective, a setting or a weight is unknown, missing or out of range; or none of
      the objectives is on, or none that the dimensions apply to.
  """
  objectives, nested = {}, False
  for name, (module, weight, settings) in select(section).items():
    function = bind(module.objective, settings, where=f"objectives.{name}")
    if matryoshka_dimensions and getattr(module, "SENTENCE_LEVEL", False):
      function, nested = matryoshka.nested(function, dimensions=matryoshka_dimensions), True
    objectives[name] = Objective(weight, function)
  if matryoshka_dimensions and not nested:
    raise UserError("matryoshka_dimensions: no objective that is on reads sentence vectors alone")
  return objectives


def needs(section: Section) -> set[str]:
  """Which of `core.objective.NEEDS` the objectives that are on use."""
  needed: set[str] = set()
  for module, _, settings in select(section).values():
    if hasattr(module, "needs"):
      needed |= module.needs(settings)
  assert needed <= set(NEEDS), f"unknown needs: {sorted(needed - set(NEEDS))}"
  return needed


def select(section: Section) -> dict[str, Selected]:
  """The objectives of a section that are on, by name.

  Raises:
    UserError: there is no such objective, a weight is wrong or missing, or none is above 0.
  """
  selected = {}
  for name, entry in section.items():
    if not entry:
      continue
    if "weight" not in entry:
      raise UserError(f"config key objectives.{name}.weight is missing")
    if not is_on(entry["weight"], name=name):
      continue
    settings = {key: value for key, value in entry.items() if key != "weight"}
    selected[name] = Selected(load(name), entry["weight"], settings)
  if not selected:
    raise UserError("no objective has a weight above 0: set one in the config's objectives")
  return selected


def load(name: str) -> ModuleType:
  """The module of an objective. Raises UserError where no file has this name and an `objective`."""
  path = f"dap_jax.objectives.{name}"
  module: ModuleType | None = None
  try:
    module = importlib.import_module(path)
  except ModuleNotFoundError as error:
    if not f"{path}.".startswith(f"{error.name}."):
      raise  # the file is there, and what it imports is not
  if module is None or not hasattr(module, "objective"):
    raise UserError(
      f"unknown objective {name!r} in the config: there is no dap_jax/objectives/{name}.py with a"
      " function `objective`"
    )
  return module


def is_on(weight: Any, *, name: str) -> bool:
  """Whether a weight, a number or a schedule, is ever above 0. Raises UserError for any other."""
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
  if not all(type(v) in (int, float) and math.isfinite(v) and v >= 0 for v in values):
    raise UserError(f"objectives.{name}.weight={weight!r}: expected a number of 0 or more")
  return any(values)
