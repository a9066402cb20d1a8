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

CHUNK_TOKENS = 256  # the default of the config's program.chunk_tokens
AT_ONCE = 8  # labels of a state that are compared with all ids in one pass
SLOPES = 2**28  # bytes of derivatives by logits that a device keeps until it multiplies them


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
  """The sum over all labels of weight * -log softmax(logits)[label], a scalar.

  The sum is linear in the losses, so the gradient of each chunk is made where its logits are, in
  the forward pass: logits are multiplied out once, and chunk x V of them are alive on a device. The
  kernel's gradient is as large as the kernel, so it is not added to in each chunk: the derivatives
  of several chunks are kept, in the compute dtype, and multiplied at once.

  Args:
    logits: of the labels' tokens, in their order; differentiated.
    labels: int32 [B, ...], each in [0, V): one for each state, or T for each, [B, ..., T].
    weights: shaped like the labels, 0 or more, of any dtype; constants.
    chunk: states of a device at a time, at most.

  Examples:
    >>> states = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]))
    >>> logits = FactoredLogits(states, kernel=jnp.eye(3), bias=jnp.zeros(3))
    >>> labels, weights = jnp.array([1, 2]), jnp.array([1.0, 0.0])
    >>> print(f"{summed_cross_entropy(logits, labels, weights, chunk=256):.4f}")  # log 4
    1.3863
  """
  dtype = jnp.promote_types(weights.dtype, jnp.float32)
  return _summed(logits, labels, weights.astype(dtype), chunk)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _summed(logits: FactoredLogits, labels: jax.Array, weights: jax.Array, chunk: int) -> jax.Array:
  """The sum, where no gradient is asked for."""

  def add(total: jax.Array, tokens: Tokens) -> tuple[jax.Array, None]:
    losses, _ = _losses_of_chunk(logits, tokens)
    return total + losses.sum(1), None

  logits, groups = logits.ready(), _cut(logits, labels, weights, chunk)
  chunks = jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), groups)
  return jax.lax.scan(add, _zeros(chunks.states, ()), chunks)[0].sum()


def _forward(
  logits: FactoredLogits, labels: jax.Array, weights: jax.Array, chunk: int
) -> tuple[jax.Array, FactoredLogits]:
  """The sum, and its derivative by states, kernel and bias: what the backward pass multiplies."""
  dtype, states, kernel = jnp.promote_types(logits.states.dtype, jnp.float32), *logits[:2]
  groups = _cut(logits, labels, weights, chunk)
  logits = logits.ready()

  def add(sums: Sums, tokens: Tokens) -> tuple[Sums, tuple[jax.Array, jax.Array]]:
    total, of_bias = sums
    losses, slope = _losses_of_chunk(logits, tokens)
    of_bias += slope.sum(1)
    slope = slope.astype(tokens.states.dtype)
    of_states = jnp.einsum("stv,dv->std", slope, logits.kernel)
    return (total + losses.sum(1), of_bias), (of_states, slope)

  def add_group(
    sums: tuple[Sums, jax.Array], tokens: Tokens
  ) -> tuple[tuple[Sums, jax.Array], jax.Array]:
    rest, of_kernel = sums
    rest, (of_states, slopes) = jax.lax.scan(add, rest, tokens)
    of_kernel += jnp.einsum("cstd,cstv->sdv", tokens.states, slopes, preferred_element_type=dtype)
    return (rest, of_kernel), of_states

  total, of_bias, of_kernel = (
    _zeros(groups.states, shape) for shape in ((), logits.bias.shape, logits.kernel.shape)
  )
  ((total, of_bias), of_kernel), of_states = jax.lax.scan(
    add_group, ((total, of_bias), of_kernel), groups
  )
  gradient = FactoredLogits(
    _join(of_states, like=states),
    of_kernel.sum(0).astype(kernel.dtype),
    of_bias.sum(0).astype(kernel.dtype),
  )
  return total.sum(), gradient


def _backward(
  chunk: int, gradient: FactoredLogits, slope: jax.Array
) -> tuple[FactoredLogits, None, None]:
  """The chain rule; labels and weights have no gradient."""
  del chunk
  return jax.tree.map(lambda array: array * slope.astype(array.dtype), gradient), None, None


_summed.defvjp(_forward, _backward)


class Tokens(NamedTuple):
  """Tokens that are cut into groups of chunks: each array [groups, chunks, shards, tokens, ...].

  Or one group of them, or one chunk. states: [..., D]; labels: int32 [..., T]; weights: [..., T], 0
  for what fills up the last chunk.
  """

  states: jax.Array
  labels: jax.Array
  weights: jax.Array


Sums = tuple[jax.Array, jax.Array]  # of the losses, [shards]; of the bias's gradient, [shards, V]


def _zeros(states: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """[shards, *shape], where the sums over the chunks begin; states: [..., shards, tokens, D]."""
  return jnp.zeros((states.shape[-3], *shape), jnp.promote_types(states.dtype, jnp.float32))


def _cut(logits: FactoredLogits, labels: jax.Array, weights: jax.Array, chunk: int) -> Tokens:
  """Cuts the tokens of each shard into groups of chunks as even as can be, of at most `chunk`.

  A device sums the gradient of its own shard of the rows over all chunks, and the shards meet once,
  after the loop; without that axis they would meet in every turn of it.
  """
  states = logits.states
  shards = sharding.batch_shards(len(labels))
  tokens = states.size // states.shape[-1] // shards
  kept = SLOPES // (logits.bias.size * states.dtype.itemsize)  # tokens of a group, at most
  groups = -(-tokens // max(chunk, kept // chunk * chunk))
  chunks = -(-tokens // (groups * chunk))
  size = -(-tokens // (groups * chunks))

  def cut(array: jax.Array) -> jax.Array:
    array = array.reshape(shards, tokens, -1)
    array = jnp.pad(array, [(0, 0), (0, groups * chunks * size - tokens), (0, 0)])
    return jnp.moveaxis(array.reshape(shards, groups, chunks, size, -1), 0, 2)

  return Tokens(cut(states), cut(labels), cut(weights))


def _join(groups: jax.Array, *, like: jax.Array) -> jax.Array:
  """The reverse of `_cut` for states -> the shape of `like`."""
  width, shards = groups.shape[-1], groups.shape[2]
  joined = jnp.moveaxis(groups, 2, 0).reshape(shards, -1, width)
  return joined[:, : like.size // width // shards].reshape(like.shape)


def _losses_of_chunk(logits: FactoredLogits, tokens: Tokens) -> tuple[jax.Array, jax.Array]:
  """The weighted losses of one chunk, and their derivative by its logits."""
  full = logits._replace(states=tokens.states).multiply()
  weights = tokens.weights.astype(full.dtype)
  normaliser = jax.nn.logsumexp(full, axis=-1)
  target, weight = _target(full, tokens.labels, weights), weights.sum(-1)
  # Only where there is a label: of a plain product XLA's CPU compiler makes a slow matrix product.
  picked = jnp.where(target > 0, target * full, 0).sum(-1)
  slope = jnp.exp(full - normaliser[..., None]) * weight[..., None] - target
  return normaliser * weight - picked, slope


def _target(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
  """The weight of each id: of logits [..., V], labels and weights [..., T] -> [..., V].

  By comparisons, not by a scatter: they stay local where the vocabulary is spread over devices.
  `AT_ONCE` labels pass over the ids together.
  """
  ids = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)

  def of(labels: jax.Array, weights: jax.Array) -> jax.Array:
    columns = (jnp.split(array, array.shape[-1], axis=-1) for array in (labels, weights))
    parts = [jnp.where(ids == label, weight, 0) for label, weight in zip(*columns, strict=True)]
    return sum(parts[1:], parts[0])

  def add(sums: jax.Array, columns: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
    labels, weights = columns
    return sums + of(labels, weights), None

  count = labels.shape[-1]
  if count <= AT_ONCE:
    return of(labels, weights)
  more = [(0, 0)] * (labels.ndim - 1) + [(0, -count % AT_ONCE)]  # of weight 0
  columns = (
    jnp.moveaxis(jnp.pad(array, more).reshape(*array.shape[:-1], -1, AT_ONCE), -2, 0)
    for array in (labels, weights)
  )
  return jax.lax.scan(add, jnp.zeros_like(logits), tuple(columns))[0]
