"""Where parameters and moments lie: one table from path to PartitionSpec.

Of a train state the devices of `data` share the moments and the word embeddings as well. Each
updates its part of the parameters: gradients are summed by a reduce-scatter, and the new parameters
gathered (ZeRO stage 1, arXiv 1910.02054, section 5.1). Word embeddings, most of the parameters of a
multilingual encoder, stay shared until they are read, and are then gathered in the compute dtype;
the gradients of their rows are exchanged, not those of the whole table.
"""

from __future__ import annotations

import functools
import logging
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dap_jax.distributed.sharding import ROWS, dividing
from dap_jax.utils.errors import UserError

logger = logging.getLogger(__name__)

# First match wins; a parameter that matches none is an error. Optimizer moments follow their
# parameter, since their paths end alike.
RULES = (
  (r"word/embedding$", P("model", "fsdp")),
  (r"(position|token_type|language)/embedding$", P()),
  (r"(query|key|value|mlp_in)/kernel$", P("fsdp", "model")),
  (r"(qkv|gated_in)/kernel$", P("fsdp", None, "model")),
  (r"(query|key|value|mlp_in)/bias$", P("model")),
  (r"(output|mlp_out)/kernel$", P("model", "fsdp")),
  (r"(output|mlp_out)/bias$", P()),
  (r"head/vocabulary/kernel$", P("fsdp", "model")),
  (r"(dense|projection|logits)/kernel$", P("fsdp")),
  (r"(dense|projection|logits)/bias$", P()),
  (r"head/vocabulary/bias$", P("model")),
  (r"norm/(scale|bias)$", P()),
  (r"(^|/)(step|count|[0-9]+)$", P()),
)
Rules = tuple[tuple[str, P], ...]
TABLES = r"word/embedding$"
SPREAD_PATHS = rf"^opt_state/|^params/.*{TABLES}"  # what devices of `data` share too
LARGE = 2**20  # elements from which on a parameter that cannot be sharded is worth a warning


def path_name(path: tuple[Any, ...]) -> str:
  """The one way to write a tree path: `encoder/layers_0/mlp_in/kernel`."""
  return jax.tree_util.keystr(path, simple=True, separator="/")


def parse_rules(entries: Sequence[tuple[str, Sequence[str | None]]]) -> Rules:
  """A config's `sharding_rules` -> rules like `RULES`, which they precede.

  Args:
    entries: (pattern of paths, for each dimension the axis that cuts it or None).

  Raises:
    UserError: an entry has no valid pattern, or an axis that the mesh lacks.
  """
  rules = []
  for entry in entries:
    try:
      pattern, axes = entry
      re.compile(pattern)
      if isinstance(axes, str) or not set(axes) <= {*ROWS, "model", None}:
        raise ValueError(axes)
    except (ValueError, TypeError, re.error) as error:
      raise UserError(
        f"sharding_rules: {entry!r}: expected (PATTERN, AXES), e.g. ('word/embedding$', ('model',"
        " None)): a regular expression, and an axis of the mesh or None for each dimension"
      ) from error
    rules.append((pattern, P(*axes)))
  return tuple(rules)


def spec_of(
  path: str, shape: tuple[int, ...], mesh: Mesh | AbstractMesh, rules: Rules = RULES
) -> P:
  """The PartitionSpec of one leaf, by the first rule that matches its path.

  An axis that does not divide its dimension is left out: the leaf is whole along it.

  Raises:
    ValueError: no rule matches.

  Examples:
    >>> mesh = AbstractMesh((2, 2, 4), ("data", "fsdp", "model"))
    >>> tuple(spec_of("encoder/layers_0/mlp_in/kernel", (384, 1536), mesh))
    ('fsdp', 'model')
    >>> tuple(spec_of("encoder/layers_0/mlp_in/kernel", (384, 1535), mesh))
    ('fsdp', None)
  """
  for pattern, spec in rules:
    if re.search(pattern, path):
      dividing_spec = dividing(shape, tuple(spec), mesh)
      lost = {axis for axis in spec if axis and mesh.shape[axis] > 1} - set(dividing_spec)
      if lost and path.startswith("params/") and math.prod(shape) >= LARGE:
        logger.warning("%s %s is whole along %s: not divisible", path, [*shape], ", ".join(lost))
      return dividing_spec
  raise ValueError(f"no sharding rule matches parameter {path!r}: add one to parameters.RULES")


def spread_over_data(spec: P, shape: tuple[int, ...], mesh: Mesh | AbstractMesh, *, path: str) -> P:
  """The PartitionSpec of a leaf -> that of one which the devices of `data` share as well.

  `data` cuts the first dimension that it divides, of word embeddings the width. Vectors and small
  tables stay as they are.

  Examples:
    >>> mesh = AbstractMesh((4, 1, 2), ("data", "fsdp", "model"))
    >>> spread_over_data(P("fsdp", "model"), (768, 3072), mesh, path="mlp_in/kernel")[0]
    ('fsdp', 'data')
    >>> tuple(spread_over_data(P(), (768,), mesh, path="norm/scale"))
    ()
  """
  count = mesh.shape["data"]
  is_table = re.search(TABLES, path)
  if count == 1 or len(shape) < 2 or (path.endswith("/embedding") and not is_table):
    return spec
  cuts = [(axis,) if isinstance(axis, str) else axis or () for axis in spec]
  if any("data" in cut for cut in cuts):  # it does already: words of a state, a rule of the user's
    return spec
  cuts += [()] * (len(shape) - len(cuts))
  for place in (1,) if is_table else range(len(shape)):
    others = math.prod(mesh.shape[axis] for axis in cuts[place])
    if shape[place] % (others * count) == 0:
      cuts[place] += ("data",)
      return P(*(cut or None for cut in cuts))
  return spec


def moment_shardings(params: Any) -> Any:
  """Parameters (ShapeDtypeStructs with their NamedSharding) -> the shardings of their moments."""

  def place(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> NamedSharding:
    mesh, spec = leaf.sharding.mesh, leaf.sharding.spec
    spec = spread_over_data(spec, leaf.shape, mesh, path=path_name(path))
    return NamedSharding(mesh, spec)

  return jax.tree_util.tree_map_with_path(place, params)


def own_part(params: Any) -> Callable[[Any], Any]:
  """Parameters (see `moment_shardings`) -> a function of such trees: constrains them to the part.

  The part of a device is that whose moments it has.
  """
  return functools.partial(jax.lax.with_sharding_constraint, shardings=moment_shardings(params))


def with_shardings(tree: Any, mesh: Mesh, user_rules: Rules = ()) -> Any:
  """A tree of ShapeDtypeStruct or arrays -> ShapeDtypeStructs that carry their NamedSharding.

  Logs a warning for each of the user's rules that matches no parameter.
  """
  rules, paths = user_rules + RULES, []

  def place(path: tuple[Any, ...], leaf: Any) -> jax.ShapeDtypeStruct:
    paths.append(path_name(path))
    spec = spec_of(paths[-1], leaf.shape, mesh, rules)
    if re.search(SPREAD_PATHS, paths[-1]):
      spec = spread_over_data(spec, leaf.shape, mesh, path=paths[-1])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec))

  placed = jax.tree_util.tree_map_with_path(place, tree)
  for pattern, _ in user_rules:
    if paths and not any(re.search(pattern, path) for path in paths):
      logger.warning("sharding_rules: %r matches no parameter", pattern)
  return placed


def place(tree: Any, abstract: Any) -> Any:
  """Parameters that are still in their files -> arrays on their devices, the largest first.

  At most one parameter is in host memory at a time; each device gets only its shard of it.

  Args:
    tree: a nested dict; its leaves have `read(shape)` -> numpy array.
    abstract: ShapeDtypeStructs with shardings; a nested dict that holds the same paths.

  Returns:
    The tree, of arrays.
  """
  leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda node: hasattr(node, "read"))
  targets = dict(jax.tree_util.tree_leaves_with_path(abstract))
  placed = {}
  for path, leaf in sorted(leaves, key=lambda item: -targets[item[0]].size):
    like = targets[path]
    array = np.asarray(leaf.read(like.shape))
    pieces = [
      # No alias: the file may change or go away while the run lives.
      jax.device_put(array[index].astype(like.dtype, copy=False), device, may_alias=False)
      for device, index in like.sharding.addressable_devices_indices_map(like.shape).items()
    ]
    jax.block_until_ready(pieces)
    placed[path] = jax.make_array_from_single_device_arrays(like.shape, like.sharding, pieces)
  return jax.tree_util.tree_map_with_path(
    lambda path, _: placed[path], tree, is_leaf=lambda node: hasattr(node, "read")
  )
