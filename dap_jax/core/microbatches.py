"""The activations of a large batch in the memory of a small one, with the exact gradient.

A contrastive loss needs the vectors of all rows at once, but not the activations that lead to them.
So the network runs over one chunk of rows after the other and keeps nothing but the vectors, and
the backward pass computes each chunk again (jax.checkpoint). The loss sees all rows: unlike
gradients accumulated over small batches, this is the gradient of the whole batch. GradCache (arXiv
2101.06983) does the same by hand, in three passes.

Chunk j of n holds rows j, j + n, j + 2n, ...: as many of every device's, so cutting moves nothing
between devices, and which rows share a dropout key does not depend on the mesh.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from dap_jax.distributed import sharding
from dap_jax.utils.errors import UserError


def check_chunks(chunks: int, *, batch_size: int, shards: int) -> None:
  """Raises UserError where the rows of each device cannot be cut into `chunks`."""
  if chunks < 1 or batch_size % (chunks * shards):
    raise UserError(
      f"microbatches={chunks}: each of the {shards} parts of a batch of {batch_size} must be cut"
      f" into as many equal chunks, {batch_size // shards} rows: choose a divisor of that"
    )


def in_chunks(function: Callable[..., Any], chunks: int) -> Callable[..., Any]:
  """Makes a function run over one chunk of the rows at a time.

  Args:
    function: (key, *arrays, **arguments) -> arrays. The key is a PRNG key or None; the first axis
      of the results is that of the rows.
    chunks: n; 1 gives the function itself.

  Returns:
    A function of the same arguments. Arrays with as many rows as the first one are cut, and each
    chunk has a key of its own; everything else is passed on as it is.
  """
  if chunks == 1:
    return function

  def run(key: jax.Array | None, *arrays: jax.Array, **arguments: Any) -> Any:
    rows = len(arrays[0])
    leaves, tree = jax.tree.flatten((arrays, arguments))
    of_rows = [isinstance(leaf, jax.Array) and leaf.shape[:1] == (rows,) for leaf in leaves]

    @jax.checkpoint
    def one_chunk(number: jax.Array, chunk: list[jax.Array]) -> Any:
      chunk_key = None if key is None else jax.random.fold_in(key, number)
      rest = iter(chunk)
      chunk_leaves = [
        next(rest) if is_cut else leaf for leaf, is_cut in zip(leaves, of_rows, strict=True)
      ]
      arrays, arguments = jax.tree.unflatten(tree, chunk_leaves)
      return function(chunk_key, *arrays, **arguments)

    cut = [cut_rows(leaf, chunks) for leaf, is_cut in zip(leaves, of_rows, strict=True) if is_cut]
    result = jax.lax.map(lambda chunk: one_chunk(*chunk), (jnp.arange(chunks), cut))
    return jax.tree.map(join_rows, result)

  return run


def cut_rows(array: jax.Array, chunks: int) -> jax.Array:
  """[R, ...] -> [n, R / n, ...].

  Examples:
    >>> print(cut_rows(jnp.arange(6), 2))
    [[0 2 4]
     [1 3 5]]
  """
  return spread(array.reshape(-1, chunks, *array.shape[1:]).swapaxes(0, 1))


def join_rows(array: jax.Array) -> jax.Array:
  """[n, R / n, ...] -> [R, ...]."""
  return spread(array).swapaxes(0, 1).reshape(-1, *array.shape[2:])


def spread(array: jax.Array) -> jax.Array:
  """Constrains the rows of each chunk, the second axis, to be shared by all devices."""
  if sharding.batch_shards(array.shape[1]) == 1:
    return array
  constrained: jax.Array = jax.lax.with_sharding_constraint(array, P(None, sharding.ROWS))
  return constrained
