"""Dropout (Srivastava et al. 2014) that compiles quickly for TPUs."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dropout(nn.Module):
  """nn.Dropout, bit for bit, in a program that the TPU compiler finishes in half the time.

  The random bits of a mask take a hundred operations a word. XLA would try many ways to fuse them
  into whatever reads the mask; behind a barrier they are a small program of their own.

  Attributes:
    rate: the share of elements that become 0; the others are divided by 1 - rate.
  """

  rate: float

  @nn.compact
  def __call__(self, x: jax.Array, *, deterministic: bool) -> jax.Array:
    """[...] -> the same shape and dtype; draws from the rng "dropout" unless deterministic."""
    if deterministic or not self.rate:
      return x
    mask = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, x.shape)
    return jnp.where(jax.lax.optimization_barrier(mask), x / (1 - self.rate), 0)
