"""Flax's layers, with gradients of parameters that are summed in float32 in any compute dtype.

A parameter that every token reads, a bias or the row of [CLS], has the sum over all tokens as its
gradient. Flax casts such a parameter to the compute dtype first, so the sum runs in that dtype too:
in bfloat16, with 8 bits, a sum of 4,096 like terms ends at a quarter of its value, since what is
added is rounded away. Kernels need no care: matrix products sum in float32 by themselves.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from dap_jax.distributed import sharding


def keep_bias(
  *arrays: jax.Array | None, dtype: DTypeLike | None = None, inexact: bool = True
) -> list[jax.Array | None]:
  """nn.Dense's inputs, kernel and bias as it uses them: all in the compute dtype but the bias."""
  del inexact
  *others, bias = arrays
  return [*(x if x is None or dtype is None else x.astype(dtype) for x in others), bias]


class Dense(nn.Dense):
  """nn.Dense whose bias is added in float32."""

  promote_dtype: nn.linear.PromoteDtypeFn = keep_bias

  def __call__(self, inputs: jax.Array) -> jax.Array:
    """[..., D_in] -> [..., D_out], in the compute dtype."""
    outputs: jax.Array = super().__call__(inputs)
    return outputs if self.dtype is None else outputs.astype(self.dtype)


class Embed(nn.Embed):
  """nn.Embed for a table whose width devices share: collected before it is read.

  Otherwise each device would look up its part of the width for the tokens of all devices. That is
  how the gradient is made: slopes of tokens are fewer bytes than the gradient of the table, and
  each device needs but its part of that.
  """

  def __call__(self, ids: jax.Array) -> jax.Array:
    """ids int32 [...] -> [..., D]."""
    return rows_of(self.embedding, ids, self.dtype or self.embedding.dtype)

  def row(self, number: int) -> jax.Array:
    """One row, [D]; the table is not collected for it."""
    rows = jnp.take(self.embedding, jnp.array([number]), axis=0)
    return sharding.gathered(rows.astype(self.dtype or rows.dtype), None, None)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def rows_of(table: jax.Array, ids: jax.Array, dtype: DTypeLike) -> jax.Array:
  """The rows [..., D] of a table [V, D], in a dtype; the table travels in it too."""
  return jnp.take(sharding.gathered(table.astype(dtype), "model", None), ids, axis=0)


def _rows_forward(
  table: jax.Array, ids: jax.Array, dtype: DTypeLike
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  return rows_of(table, ids, dtype), (table, ids)


def _rows_backward(
  dtype: DTypeLike, saved: tuple[jax.Array, jax.Array], slope: jax.Array
) -> tuple[jax.Array, None]:
  del dtype
  table, ids = saved
  if slope.ndim > 2:  # of tokens; positions are few, and their table is whole on every device
    slope = sharding.by_columns(sharding.by_rows(slope))
  return jnp.zeros_like(table).at[ids].add(slope.astype(table.dtype)), None


rows_of.defvjp(_rows_forward, _rows_backward)


def spread(array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """`broadcast_to`, whose gradient is summed in float32 or wider; the same numbers otherwise."""
  wide = array.astype(jnp.promote_types(array.dtype, jnp.float32))
  return jnp.broadcast_to(wide, shape).astype(array.dtype)
