"""A vocabulary with more rows than a checkpoint has: to divide by the devices that share it.

XLM-R's 250,002 rows divide by 2 and no higher power of it. Rows of no id change nothing: their word
vectors are 0 and never read, their bias lets them have no share of any softmax.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from dap_jax.distributed.sharding import path_name

NEVER = -1e4  # e to this power is 0, in bfloat16 too


def narrowed(abstract: Mapping[str, Any], *, rows: int, wanted: int) -> Any:
  """Abstract parameters whose arrays of `wanted` rows have `rows`, whole on every device."""

  def narrow(path, leaf):
    if rows == wanted or not has_rows(path, leaf, wanted):
      return leaf
    whole = NamedSharding(leaf.sharding.mesh, PartitionSpec())
    return jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype, sharding=whole)

  return jax.tree_util.tree_map_with_path(narrow, abstract)


def has_rows(path: tuple, leaf: jax.ShapeDtypeStruct, wanted: int) -> bool:
  """Whether a parameter has a row for each id: words, and the biases of tied heads."""
  name = path_name(path)
  return leaf.shape[0] == wanted and name.endswith(("word/embedding", "head/vocabulary/bias"))


def widened(params: Any, abstract: Mapping[str, Any]) -> Any:
  """Parameters, each with the rows that `abstract` has, and where it says that they lie."""
  wanted = dict(jax.tree_util.tree_leaves_with_path(abstract))

  def widen(path, leaf):
    like = wanted[path]
    if leaf.shape == like.shape:
      return leaf
    fill = 0 if path_name(path).endswith("embedding") else NEVER
    more = [(0, to - own) for to, own in zip(like.shape, leaf.shape, strict=True)]
    pad = jax.jit(lambda own: jnp.pad(own, more, constant_values=fill), out_shardings=like.sharding)
    return pad(leaf)

  return jax.tree_util.tree_map_with_path(widen, params)
