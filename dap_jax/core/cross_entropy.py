"""Cross-entropy over a large vocabulary, without ever holding the logits of all tokens.

B rows, D width, V ids. The logits of a batch are the largest array of a masked LM by far (of 1,024
rows x 32 tokens x 250,002 ids 33 GB in float32), and on a CPU most of the time goes into allocating
them. Here they live for a few tokens of each device at a time, however many rows it has.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dap_jax.distributed import sharding

CHUNK_TOKENS = 256  # unless the config says otherwise


class FactoredLogits(NamedTuple):
  """Logits [..., V] = states @ kernel + bias, not multiplied out.

  Attributes:
    states: [..., D], in the compute dtype.
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
  """The sum over all tokens of weights * -log softmax(logits)[labels], a scalar.

  The sum is linear in the losses, so the gradient of each chunk is made where its logits are, in
  the forward pass: logits are multiplied out once, and chunk x V of them are alive on a device.

  Args:
    logits: of the labels' tokens, in their order; differentiated.
    labels: int32 [B, ...], each in [0, V).
    weights: shaped like the labels, of any dtype; constants.
    chunk: tokens of a device at a time, at most.

  Examples:
    >>> states = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]))
    >>> logits = FactoredLogits(states, kernel=jnp.eye(3), bias=jnp.zeros(3))
    >>> labels, weights = jnp.array([1, 2]), jnp.array([1.0, 0.0])
    >>> print(f"{summed_cross_entropy(logits, labels, weights, chunk=256):.4f}")  # log 4
    1.3863
  """
  return _summed(logits, labels, weights.astype(jnp.float32), chunk)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _summed(logits, labels, weights, chunk):
  def add(total, part):
    states, labels, weights = part
    return total + _chunk(logits._replace(states=states), labels, weights)[0].sum(1), None

  logits, parts = logits.ready(), _cut(logits.states, labels, weights, chunk)
  return jax.lax.scan(add, _zeros(parts, ()), parts)[0].sum()


def _forward(logits, labels, weights, chunk):
  dtype, given = jnp.promote_types(logits.states.dtype, jnp.float32), logits
  logits, parts = logits.ready(), _cut(logits.states, labels, weights, chunk)

  def add(sums, part):
    total, of_kernel, of_bias = sums
    states, labels, weights = part
    losses, slope = _chunk(logits._replace(states=states), labels, weights)
    of_bias += slope.sum(1)
    slope = slope.astype(states.dtype)
    of_kernel += jnp.einsum("std,stv->sdv", states, slope, preferred_element_type=dtype)
    of_states = jnp.einsum("stv,dv->std", slope, logits.kernel)
    return (total + losses.sum(1), of_kernel, of_bias), of_states

  zeros = [_zeros(parts, shape) for shape in ((), logits.kernel.shape, logits.bias.shape)]
  (total, *sums), of_states = jax.lax.scan(add, tuple(zeros), parts)
  # [chunks, shards, chunk, D] -> the states' shape, without what fills the last chunk
  chunks, shards, size, width = of_states.shape
  of_states = of_states.swapaxes(0, 1).reshape(shards, chunks * size, width)
  of_states = of_states[:, : labels.size // shards].reshape(given.states.shape)
  of_kernel, of_bias = (grad.sum(0).astype(given.kernel.dtype) for grad in sums)
  return total.sum(), FactoredLogits(of_states, of_kernel, of_bias)


def _backward(chunk, gradient, slope):
  del chunk
  return jax.tree.map(lambda array: array * slope.astype(array.dtype), gradient), None, None


_summed.defvjp(_forward, _backward)


def _zeros(parts, shape):
  """[shards, *shape], where the sums over the chunks begin."""
  states = parts[0]
  return jnp.zeros((states.shape[1], *shape), jnp.promote_types(states.dtype, jnp.float32))


def _cut(states, labels, weights, chunk: int):
  """Each -> [chunks, shards, tokens, ...], as even chunks as can be; what fills up has weight 0.

  A device sums the gradient of its own shard of the rows over all chunks, and the shards meet once,
  after the loop; without that axis they would meet in every turn of it.
  """
  shards = sharding.batch_shards(len(labels))
  tokens = labels.size // shards
  chunks = -(-tokens // chunk)
  size = -(-tokens // chunks)

  def cut(array, *width):
    array = array.reshape(shards, tokens, *width)
    array = jnp.pad(array, [(0, 0), (0, chunks * size - tokens), *[(0, 0) for _ in width]])
    return array.reshape(shards, chunks, size, *width).swapaxes(0, 1)

  return cut(states, states.shape[-1]), cut(labels), cut(weights)


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
