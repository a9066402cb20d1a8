"""Config sections as keyword arguments: a key of the config is an argument of what reads it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from dap_jax.utils.errors import UserError

T = TypeVar("T")


def bind(
  function: Callable[..., T], section: Mapping[str, Any], *, where: str, **constants: Any
) -> Callable[..., T]:
  """`partial(function, **section, **constants)`, after a check of the section's keys.

  Args:
    function: what reads the section; its keyword-only parameters are the known keys.
    section: one section of the config.
    where: the section's name, for the message.
    **constants: keyword arguments that do not come from the section.

  Raises:
    UserError: the section has a key that nothing reads, or lacks one.
  """
  (bound,) = bind_each([functools.partial(function, **constants)], section, where=where)
  return bound


def bind_each(
  functions: Sequence[Callable[..., Any]], section: Mapping[str, Any], *, where: str
) -> list[Callable[..., Any]]:
  """As `bind`, for a section that several functions read: each is bound to the keys it knows.

  Args:
    functions: functions, or partials of them, whose keywords do not come from the section.
    section: one section of the config.
    where: the section's name, for the message.

  Raises:
    UserError: the section has a key that none of them reads, or lacks one.
  """
  keys_of_each = [keys_of(function) for function in functions]
  known = set().union(*keys_of_each)
  for key in section:
    if key not in known:
      raise UserError(f"unknown config key {where}.{key}: known are {', '.join(sorted(known))}")
  for key in sorted(known - set(section)):
    raise UserError(f"config key {where}.{key} is missing")
  return [
    functools.partial(function, **{key: section[key] for key in keys})
    for function, keys in zip(functions, keys_of_each, strict=True)
  ]


def keys_of(function: Callable[..., Any]) -> set[str]:
  """The keyword-only parameters of a function, without those that a partial has filled."""
  filled: set[str] = set()
  if isinstance(function, functools.partial):
    filled = set(function.keywords)
    function = function.func
  parameters = inspect.signature(function).parameters.values()
  return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - filled
