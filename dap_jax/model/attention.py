"""What the families share: BERT's initialiser, and scaled dot-product attention."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

INITIALIZER = nn.initializers.normal(0.02)  # BERT's


def visible(mask: jax.Array) -> jax.Array:
  """Which columns the rows may read, for `attend`.

  mask: bool [N, L], the same columns for all rows, or [N, L, L], a row of it for each.
  """
  return mask[:, None] if mask.ndim == 3 else mask[:, None, None]


def attend(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  *,
  visible: jax.Array,
  drop: Callable[[jax.Array], jax.Array],
) -> jax.Array:
  """softmax(q k / sqrt(d)) v per head, the softmax in float32 or wider.

  Args:
    query, key, value: [N, L, A, d].
    visible: bool, broadcasts to [N, A, L, L]; which columns (last axis) a row may read.
    drop: dropout of the weights.

  Returns:
    [N, L, A * d].
  """
  # Heads first, written out: where einsum chooses the layout, a CPU is two to eight times slower.
  query, key, value = (x.swapaxes(1, 2) for x in (query, key, value))  # [N, A, L, d]
  query = query / jnp.sqrt(query.shape[-1]).astype(query.dtype)
  scores = query @ key.swapaxes(2, 3)
  scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
  scores = jnp.where(visible, scores, jnp.finfo(scores.dtype).min)
  weights = drop(jax.nn.softmax(scores, axis=-1).astype(value.dtype))
  mixed = (weights @ value).swapaxes(1, 2)
  return mixed.reshape(*mixed.shape[:2], -1)
