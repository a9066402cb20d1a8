"""Where arrays lie: the mesh, one table from parameter path to PartitionSpec, batches onto devices.

The mesh has three axes. `data` and `fsdp` share the rows of the batch; `fsdp` shares the parameters
and the optimizer's moments too, which a device then gathers where it needs them; `model` shares the
columns of wide matrices and the rows of embeddings, which no device ever gathers. Every loss is
written for global arrays; XLA inserts the collectives.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

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
LARGE = 2**20  # elements from which on a parameter that cannot be sharded is worth a warning
# The axes that share the rows of a batch.
ROWS = ("data", "fsdp")


def make_mesh(
  *, data: int = -1, fsdp: int = 1, model: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """A `data` x `fsdp` x `model` mesh over all devices; `data` -1 means as many as are left.

  Args:
    data, fsdp, model: the sizes of the axes.
    devices: to use; None = all of them, `jax.devices()`.

  Raises:
    UserError: the sizes do not cover the devices.
  """
  count = jax.device_count() if devices is None else len(devices)
  others = fsdp * model
  if min(fsdp, model) < 1 or count % others or (data != -1 and data * others != count):
    raise UserError(
      f"mesh.data={data} x mesh.fsdp={fsdp} x mesh.model={model} does not cover the {count}"
      " devices: choose factors whose product is their number (mesh.data=-1 takes the rest)"
    )
  # Auto axes: with the default Explicit ones nn.Embed and the contrastive einsum fail.
  return jax.make_mesh(
    (count // others, fsdp, model),
    (*ROWS, "model"),
    axis_types=(AxisType.Auto,) * 3,
    devices=devices,
  )


def row_shards(mesh: Mesh | AbstractMesh) -> int:
  """Into how many parts a mesh cuts the rows of a batch."""
  return math.prod(mesh.shape.get(axis, 1) for axis in ROWS)


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


def dividing(shape: tuple[int, ...], axes: Sequence[str | None], mesh: Mesh | AbstractMesh) -> P:
  """The axes as a PartitionSpec, without those that do not divide their dimension."""
  pairs = zip(shape, axes, strict=False)
  return P(*(axis if axis and dim % mesh.shape[axis] == 0 else None for dim, axis in pairs))


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
  raise ValueError(f"no sharding rule matches parameter {path!r}: add one to sharding.RULES")


def with_shardings(tree: Any, mesh: Mesh, user_rules: Rules = ()) -> Any:
  """A tree of ShapeDtypeStruct or arrays -> ShapeDtypeStructs that carry their NamedSharding.

  Logs a warning for each of the user's rules that matches no parameter.
  """
  rules, paths = user_rules + RULES, []

  def place(path: tuple[Any, ...], leaf: Any) -> jax.ShapeDtypeStruct:
    paths.append(path_name(path))
    sharding = NamedSharding(mesh, spec_of(paths[-1], leaf.shape, mesh, rules))
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

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


def by_rows(array: jax.Array) -> jax.Array:
  """Constrains states [N, ...] to be sharded as the rows of the batch are; under a mesh.

  Every layer does so: otherwise the compiler may shard states as `fsdp` shards the parameters, and
  communicate states, which grow with the batch, instead of parameters.
  """
  if batch_shards(array.shape[0]) == 1:
    return array
  return jax.lax.with_sharding_constraint(array, P(ROWS))


def gathered(parameter: jax.Array, *axes: str | None) -> jax.Array:
  """A matrix, collected from all shards of `fsdp` for use; under a mesh.

  It stays cut by `axes`, one for each dimension or None, where they divide.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.shape.get("fsdp", 1) == 1:
    return parameter
  return jax.lax.with_sharding_constraint(parameter, dividing(parameter.shape, axes, mesh))


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """The sharding of a batch: rows over `data` and `fsdp`, everything else whole."""
  return NamedSharding(mesh, P(ROWS))


def batch_shards(rows: int) -> int:
  """How many devices share `rows` of the batch, while a program for a mesh is traced; else 1."""
  shards = row_shards(jax.sharding.get_abstract_mesh())
  return shards if rows % shards == 0 else 1


def check_batch(mesh: Mesh, batch_size: int) -> None:
  """Raises UserError where the devices cannot share the rows."""
  if batch_size % row_shards(mesh):
    raise UserError(
      f"batch_size={batch_size} is not divisible by the {row_shards(mesh)} parts into which the"
      " mesh cuts a batch: change batch_size, mesh.data or mesh.fsdp"
    )


def local_rows(mesh: Mesh, batch_size: int) -> slice:
  """The contiguous rows of the global batch that this process's devices hold."""
  check_batch(mesh, batch_size)
  indices = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
  rows = [index[0].indices(batch_size)[:2] for index in indices if index is not None]
  return slice(min(start for start, _ in rows), max(stop for _, stop in rows))


def abstract_batch(
  element: Mapping[str, np.ndarray], mesh: Mesh, *, batch_size: int
) -> dict[str, jax.ShapeDtypeStruct]:
  """The shapes, dtypes and shardings that `put_batch` gives a batch of such elements [...]."""
  return {
    name: jax.ShapeDtypeStruct(
      (batch_size, *array.shape), array.dtype, sharding=batch_sharding(mesh)
    )
    for name, array in element.items()
  }


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh, *, batch_size: int) -> dict[str, jax.Array]:
  """This process's rows [b, ...] -> global arrays [batch_size, ...] sharded by rows."""
  sharding = batch_sharding(mesh)
  return {
    name: jax.make_array_from_process_local_data(sharding, rows, (batch_size, *rows.shape[1:]))
    for name, rows in batch.items()
  }


def put_whole_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
  """All rows of a batch, which every process has -> the arrays that `put_batch` makes of shares."""
  return {
    name: jax.make_array_from_callback(rows.shape, batch_sharding(mesh), rows.__getitem__)
    for name, rows in batch.items()
  }
