"""Nested dicts of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def overlay(base: Any, top: Any) -> Any:
  """`base` with the leaves of the nested dict `top` in their places."""
  if not isinstance(top, Mapping):
    return top
  return {key: overlay(base[key], top[key]) if key in top else base[key] for key in base}


def select(tree: Any, like: Any) -> Any:
  """The part of a nested dict that `like` has."""
  if not isinstance(like, Mapping):
    return tree
  return {key: select(tree[key], like[key]) for key in like}
