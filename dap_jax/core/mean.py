"""Means that stay right when they are merged: over masks, batches and hosts."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Mean(NamedTuple):
  """A mean kept as its two sums, divided once at the end.

  Attributes:
    total: float32 (or wider) scalar, the sum of the values.
    count: float32 scalar, how many values there were (or the sum of their weights).

  Examples:
    >>> loss = Mean.of(jnp.array([1.0, 2.0, 100.0]), jnp.array([True, True, False]))
    >>> print(loss.compute())
    1.5
    >>> print(loss.merge(Mean.of(jnp.array([6.0]))).compute())  # (1 + 2 + 6) / 3
    3.0
  """

  total: jax.Array
  count: jax.Array  # type: ignore[assignment]  # hides tuple.count, which nothing here calls

  @classmethod
  def of(cls, values: jax.Array, mask: jax.Array | None = None) -> Mean:
    """The mean of `values` where `mask` (bool, same shape) is true; of all of them without one."""
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    if mask is None:
      return cls(values.sum(), jnp.float32(values.size))
    return cls(jnp.where(mask, values, 0).sum(), mask.sum(dtype=jnp.float32))

  def merge(self, other: Mean) -> Mean:
    """The mean over the values of both."""
    return Mean(self.total + other.total, self.count + other.count)

  def compute(self) -> jax.Array:
    """total / count; 0 where nothing was counted, so that an empty mask has no gradient of NaN."""
    return self.total / jnp.maximum(self.count, 1.0)
