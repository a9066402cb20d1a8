"""What a trained model gives for texts, as pure functions of arrays; N texts, L tokens, D width."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from dap_jax.core.unit_vectors import unit
from dap_jax.model.dual_alignment import DualAlignment, pool


def embed_step(
  params: optax.Params, ids: jax.Array, mask: jax.Array, *, model: DualAlignment
) -> jax.Array:
  """Sentence vectors as evaluation and export see them (pooled, never projected).

  ids int32 [N, L], mask bool [N, L] -> float32 [N, D], of unit length if the model normalizes.
  """
  pooled = model.apply(
    {"params": params}, ids[:, None], mask[:, None], deterministic=True, method="encode"
  ).pooled[:, 0]
  return unit(pooled) if model.normalize else pooled


def classify_step(
  params: optax.Params, ids: jax.Array, mask: jax.Array, *, model: DualAlignment
) -> jax.Array:
  """ids int32 [N, L], mask bool [N, L] -> logits of the classes, float32 [N, classes]."""
  variables = {"params": params}
  encodings = model.apply(
    variables, ids[:, None], mask[:, None], deterministic=True, method="encode"
  )
  return model.apply(variables, encodings.pooled[:, 0], deterministic=True, method="classify")


def layer_states_step(
  params: optax.Params, ids: jax.Array, mask: jax.Array, *, model: DualAlignment
) -> jax.Array:
  """ids int32 [N, L], mask bool [N, L] -> float32 [N, layers + 1, L, D], the embeddings first."""
  hidden = model.apply({"params": params}, ids, mask, method="hidden")
  return jnp.stack(hidden, axis=1).astype(jnp.float32)


def layer_means_step(
  params: optax.Params, ids: jax.Array, mask: jax.Array, *, model: DualAlignment
) -> jax.Array:
  """The mean of the real tokens' states in each layer: as above -> float32 [N, layers + 1, D]."""
  hidden = model.apply({"params": params}, ids, mask, method="hidden")
  means = [pool([states], mask, pooling="mean") for states in hidden]
  return jnp.stack(means, axis=1).astype(jnp.float32)
