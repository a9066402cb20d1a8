"""Cross-entropy over a large vocabulary, without ever holding the logits of all positions.

B rows, L positions, D width, V ids. The logits of a batch are the largest array of a masked LM by
far (1024 x 32 x 250,002 float32 are 33 GB), and on a CPU most of the time goes into allocating
them. Here they live for a few positions at a time.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dap_jax import sharding


class FactoredLogits(NamedTuple):
  """Logits [B, L, V] = states @ kernel + bias, not multiplied out.

  Attributes:
    states: [B, L, D], in the compute dtype.
    kernel: [D, V], as the parameters.
    bias: [V], as the parameters.
  """

  states: jax.Array
  kernel: jax.Array
  bias: jax.Array

  def ready(self) -> FactoredLogits:
    """The kernel as it is multiplied: in the states' dtype, and collected, once for all loops."""
    kernel = sharding.gathered(self.kernel.astype(self.states.dtype), None, "model")
    return self._replace(kernel=kernel)

  def multiply(self) -> jax.Array:
    """The logits, float32 or wider."""
    dtype = jnp.promote_types(self.states.dtype, jnp.float32)
    kernel = self.kernel.astype(self.states.dtype)
    logits = jnp.einsum("...d,dv->...v", self.states, kernel, preferred_element_type=dtype)
    return logits + jax.lax.broadcast_to_rank(self.bias.astype(dtype), logits.ndim)


def summed_cross_entropy(
  logits: FactoredLogits, labels: jax.Array, weights: jax.Array, *, chunk: int
) -> jax.Array:
  """The sum over b and l of weights * -log softmax(logits)[labels], a scalar.

  The sum is linear in the losses, so the gradient of each chunk is made where its logits are, in
  the forward pass: logits are multiplied out once, and B x chunk x V of them are alive.

  Args:
    logits: differentiated.
    labels: int32 [B, L], each in [0, V).
    weights: [B, L], of any dtype; constants.
    chunk: positions at a time.
  """
  return _summed(logits, labels, weights.astype(jnp.float32), chunk)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _summed(logits, labels, weights, chunk):
  def add(total, part):
    states, labels, weights = part
    return total + _chunk(logits._replace(states=states), labels, weights)[0].sum((1, 2)), None

  logits, parts = logits.ready(), _cut((logits.states, labels, weights), chunk)
  return jax.lax.scan(add, _zeros(parts, ()), parts)[0].sum()


def _forward(logits, labels, weights, chunk):
  dtype, given = jnp.promote_types(logits.states.dtype, jnp.float32), logits.kernel
  logits, parts = logits.ready(), _cut((logits.states, labels, weights), chunk)

  def add(sums, part):
    total, of_kernel, of_bias = sums
    states, labels, weights = part
    losses, slope = _chunk(logits._replace(states=states), labels, weights)
    of_bias += slope.sum((1, 2))
    slope = slope.astype(states.dtype)
    of_kernel += jnp.einsum("sbld,sblv->sdv", states, slope, preferred_element_type=dtype)
    of_states = jnp.einsum("sblv,dv->sbld", slope, logits.kernel)
    return (total + losses.sum((1, 2)), of_kernel, of_bias), of_states

  zeros = [_zeros(parts, shape) for shape in ((), logits.kernel.shape, logits.bias.shape)]
  (total, *sums), of_states = jax.lax.scan(add, tuple(zeros), parts)
  # [chunks, shards, B / shards, chunk, D] -> [B, L, D]
  rows, length, width = logits.states.shape
  of_states = jnp.moveaxis(of_states, 0, 2).reshape(rows, -1, width)[:, :length]
  of_kernel, of_bias = (grad.sum(0).astype(given.dtype) for grad in sums)
  return total.sum(), FactoredLogits(of_states, of_kernel, of_bias)


def _backward(chunk, gradient, slope):
  del chunk
  return jax.tree.map(lambda array: array * slope.astype(array.dtype), gradient), None, None


_summed.defvjp(_forward, _backward)


def _zeros(parts, shape):
  """[shards, *shape], where the sums over the chunks begin."""
  states = parts[0]
  return jnp.zeros((states.shape[1], *shape), jnp.promote_types(states.dtype, jnp.float32))


def _cut(arrays, chunk: int):
  """[B, L, ...] -> [chunks, shards, B / shards, chunk, ...]; weights past L are 0.

  A device sums the gradient of its own shard of the rows over all chunks, and the shards meet once,
  after the loop; without that axis they would meet in every turn of it.
  """

  def cut(array):
    rows, length, *rest = array.shape
    shards = sharding.batch_shards(rows)
    chunks = -(-length // chunk)
    array = jnp.pad(array, [(0, 0), (0, chunks * chunk - length), *[(0, 0)] * len(rest)])
    array = array.reshape(shards, rows // shards, chunks, chunk, *rest)
    return jnp.moveaxis(array, 2, 0)

  return jax.tree.map(cut, arrays)


def _chunk(logits, labels, weights):
  """The weighted losses of one chunk, and their derivative by its logits."""
  full = logits.multiply()
  weights = weights.astype(full.dtype)
  normaliser = jax.nn.logsumexp(full, axis=-1)
  # A comparison, not a gather: it stays local where the vocabulary is spread over devices.
  hot = jax.lax.broadcasted_iota(jnp.int32, full.shape, full.ndim - 1) == labels[..., None]
  losses = normaliser - jnp.where(hot, full, 0).sum(-1)
  slope = (jnp.exp(full - normaliser[..., None]) - hot) * weights[..., None]
  return losses * weights, slope
