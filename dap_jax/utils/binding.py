"""Settings as keyword arguments: a leaf of the config is an argument of what uses it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dap_jax.utils.errors import UserError


def bind(function: Callable, settings: Mapping[str, Any], *, where: str, **given) -> Callable:
  """partial(function, **settings), after checking that settings are just what it takes.

  Args:
    function: what uses the settings; its keyword-only parameters are the known keys.
    settings: one section of the config.
    where: the section's name, for the message.
    **given: keyword arguments that do not come from the section.

  Raises:
    UserError: a key that nothing reads, or one that is missing.
  """
  parameters = inspect.signature(function).parameters.values()
  known = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - set(given)
  for key in settings:
    if key not in known:
      raise UserError(f"unknown config key {where}.{key}: known are {', '.join(sorted(known))}")
  for key in sorted(known - set(settings)):
    raise UserError(f"config key {where}.{key} is missing")
  return functools.partial(function, **settings, **given)
