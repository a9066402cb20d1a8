"""Nested dicts, of parameters or of settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def overlay(base: Any, top: Any) -> Any:
  """`base` with those of its leaves replaced that the nested dict `top` has too."""
  if not isinstance(top, Mapping):
    return top
  return {key: overlay(base[key], top[key]) if key in top else base[key] for key in base}


def select(tree: Any, like: Any) -> Any:
  """The part of a nested dict that has the keys of `like`."""
  if not isinstance(like, Mapping):
    return tree
  return {key: select(tree[key], like[key]) for key in like}


def flatten(tree: Mapping[str, Any], *, separator: str = "/", prefix: str = "") -> dict[str, Any]:
  """{"a": {"b": x}} -> {"a/b": x}; an empty dict counts as a leaf."""
  flat: dict[str, Any] = {}
  for key, value in tree.items():
    path = f"{prefix}{key}"
    if isinstance(value, Mapping) and value:
      flat |= flatten(value, separator=separator, prefix=f"{path}{separator}")
    else:
      flat[path] = value
  return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
  """{"a/b": x} -> {"a": {"b": x}}: the inverse of `flatten`."""
  tree: dict[str, Any] = {}
  for path, leaf in flat.items():
    *parents, last = path.split("/")
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[last] = leaf
  return tree
