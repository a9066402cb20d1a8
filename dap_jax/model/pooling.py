"""Poolings: from the states of the tokens to one vector of a sentence.

Names are those of sentence-transformers, and two means over several layers that it does not have.
Names joined by + stand for several poolings, whose vectors are put one behind the other.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dap_jax.utils.errors import UserError

# As sentence-transformers orders them where a folder has a flag for each.
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
OF_LAYERS = ("mean_top2", "mean_first_last")  # of the last two; of the embeddings and the last
POOLINGS = MODES + OF_LAYERS


def parts_of(pooling: str) -> list[str]:
  """The poolings of a name. Raises UserError where one of them is none of `POOLINGS`."""
  parts = pooling.split("+")
  for part in parts:
    if part not in POOLINGS or parts.count(part) > 1:
      raise UserError(
        f"model.pooling={pooling!r} is none of {', '.join(POOLINGS)}, nor several of them, each"
        " once, as in cls+mean"
      )
  return parts


def pool(hidden: Sequence[jax.Array], mask: jax.Array, *, pooling: str) -> jax.Array:
  """One vector a sequence: `hidden` (embeddings, then each layer) [N, L, D], mask [N, L].

  All real tokens count, [CLS] and [SEP] included; sums are in float32 or wider.

  Returns:
    [N, D], or [N, k D] of k poolings.

  Examples:
    >>> states = jnp.array([[[1.0, 5.0], [3.0, 7.0], [99.0, 99.0]]])
    >>> print(pool([states], jnp.array([[True, True, False]]), pooling="mean"))
    [[2. 6.]]
    >>> print(pool([states], jnp.array([[True, True, False]]), pooling="cls+max"))
    [[1. 5. 3. 7.]]
  """
  vectors = [pool_one(hidden, mask, pooling=part) for part in parts_of(pooling)]
  return vectors[0] if len(vectors) == 1 else jnp.concatenate(vectors, axis=-1)


def pool_one(hidden: Sequence[jax.Array], mask: jax.Array, *, pooling: str) -> jax.Array:
  """As `pool`, of a name in `POOLINGS` alone: [N, D]."""
  last = hidden[-1]
  if pooling == "cls":
    return last[:, 0]
  if pooling == "lasttoken":
    return jnp.take_along_axis(last, mask.sum(1)[:, None, None] - 1, axis=1)[:, 0]
  if pooling == "max":
    return jnp.where(mask[..., None], last, -jnp.inf).max(1)
  layers = {"mean_top2": hidden[-2:], "mean_first_last": [hidden[0], last]}.get(pooling, [last])
  wide = [x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in layers]
  states = functools.reduce(jnp.add, wide)
  weights = mask[..., None].astype(states.dtype)
  if pooling == "weightedmean":  # of SGPT (arXiv 2202.08904): later tokens count more
    weights *= jnp.arange(1, mask.shape[1] + 1, dtype=states.dtype)[None, :, None]
  total = weights.sum(1)
  if pooling == "mean_sqrt_len_tokens":
    total = jnp.sqrt(total)
  return (states * weights).sum(1) / total / len(layers)
