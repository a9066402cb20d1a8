"""Where arrays lie: the mesh, states and batches; parameters: `parameters.py`.

The mesh has three axes. `data` and `fsdp` share the rows of the batch and the optimizer's work;
`fsdp` shares the parameters too, which a device then gathers where it needs them; `model` shares
the columns of wide matrices and the rows of embeddings, which no device ever gathers. Every loss is
written for global arrays; XLA inserts the collectives.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dap_jax.utils.errors import UserError

logger = logging.getLogger(__name__)

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


def dividing(shape: tuple[int, ...], axes: Sequence[str | None], mesh: Mesh | AbstractMesh) -> P:
  """The axes as a PartitionSpec, without those that do not divide their dimension."""
  pairs = zip(shape, axes, strict=False)
  return P(*(axis if axis and dim % mesh.shape[axis] == 0 else None for dim, axis in pairs))


def by_rows(array: jax.Array) -> jax.Array:
  """Constrains states [N, ...] to be sharded as the rows of the batch are; under a mesh.

  Every layer does so: otherwise the compiler may shard states as `fsdp` shards the parameters, and
  communicate states, which grow with the batch, instead of parameters.
  """
  if batch_shards(array.shape[0]) == 1:
    return array
  return jax.lax.with_sharding_constraint(array, P(ROWS))


def by_columns(array: jax.Array) -> jax.Array:
  """Constrains slopes [..., D] so that the devices of the rows share their width, if they can."""
  mesh = jax.sharding.get_abstract_mesh()
  if row_shards(mesh) == 1 or array.shape[-1] % row_shards(mesh):
    return array
  return jax.lax.with_sharding_constraint(array, P(*[None] * (array.ndim - 1), ("fsdp", "data")))


def gathered(parameter: jax.Array, *axes: str | None) -> jax.Array:
  """A matrix, collected from all devices that share it but those of `axes`; under a mesh.

  It stays cut by `axes`, one for each dimension or None, where they divide.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if row_shards(mesh) == 1:
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
