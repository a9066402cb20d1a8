"""Inference, as pure functions of arrays: sentence vectors, classes and states of every layer.

N texts, L tokens, D width. Training has its own way through the model, `train_step.loss_fn`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from dap_jax.core.bound_model import BoundModel
from dap_jax.core.unit_vectors import unit
from dap_jax.model.dual_alignment import DualAlignment
from dap_jax.model.pooling import pool


def embed_step(
  params: optax.Params, ids: jax.Array, mask: jax.Array, *, model: DualAlignment
) -> jax.Array:
  """Sentence vectors as evaluation and export see them (pooled, never projected).

  ids int32 [N, L], mask bool [N, L] -> float32 [N, D], of unit length if the model normalizes.
  """
  pooled = BoundModel(model, params).encode(ids[:, None], mask[:, None]).pooled[:, 0]
  return unit(pooled) if model.normalize else pooled


def classify_step(
  params: optax.Params,
  ids: jax.Array,
  mask: jax.Array,
  types: jax.Array | None = None,
  *,
  model: DualAlignment,
) -> jax.Array:
  """The logits of the head of fine-tuning, see `TaskHead.__call__`.

  ids int32 [N, L], mask bool [N, L], types int32 [N, L] or None -> float32 [N, ..., classes].
  """
  network = BoundModel(model, params)
  types = None if types is None else types[:, None]
  encodings = network.encode(ids[:, None], mask[:, None], types=types)
  return network.classify(encodings.h[:, 0], encodings.pooled[:, 0])


def layer_states_step(
  params: optax.Params, ids: jax.Array, mask: jax.Array, *, model: DualAlignment
) -> jax.Array:
  """ids int32 [N, L], mask bool [N, L] -> float32 [N, layers + 1, L, D], the embeddings first."""
  hidden = BoundModel(model, params).hidden(ids, mask)
  return jnp.stack(hidden, axis=1).astype(jnp.float32)


@functools.cache
def layer_vector_step(layer: int, pooling: str) -> Callable[..., jax.Array]:
  """The step that gives one layer's states, pooled; the same object each time, compiled once.

  Layer 0 is the embeddings, pooling as in `model.pooling.pool`; later layers are not computed.

  Returns:
    ids int32 [N, L], mask bool [N, L] -> float32 [N, D].
  """

  def step(
    params: optax.Params, ids: jax.Array, mask: jax.Array, *, model: DualAlignment
  ) -> jax.Array:
    hidden = BoundModel(model, params).hidden(ids, mask)
    return pool(hidden[: layer + 1], mask, pooling=pooling).astype(jnp.float32)

  return step


def layer_means_step(
  params: optax.Params, ids: jax.Array, mask: jax.Array, *, model: DualAlignment
) -> jax.Array:
  """The mean of the real tokens' states in each layer: as above -> float32 [N, layers + 1, D]."""
  hidden = BoundModel(model, params).hidden(ids, mask)
  means = [pool([states], mask, pooling="mean") for states in hidden]
  return jnp.stack(means, axis=1).astype(jnp.float32)
