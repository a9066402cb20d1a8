"""Multi-way alignment: every view is an anchor, all the others of its row are its positives.

    s_ij = cos(z_i, z_j)      G(i) = the other views of i's row      N(i) = those of other rows
    L = mean_i [ log sum_{n in N(i)} exp(s_in / t) - 1/|G(i)| sum_{p in G(i)} w_ip s_ip / t ]
        + mu * mean_i || z_i - z_i^0 ||^2
    w_ip = |G(i)| softmax_{p in G(i)}(-hardness * s_ip), without gradient; the mean over p is 1

A form that agrees with what arXiv 2602.21543 says of its loss: the denominator holds negatives
only, low-cosine positives are weighted up, an L2 term keeps vectors near the initial model's, z^0.
Its exact equation is not public: the weights w are ours. With hardness 0 they are all 1.
Shapes: B examples of the GLOBAL batch, K views, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context
from dap_jax.core.unit_vectors import unit

SENTENCE_LEVEL = True  # and of the initial vectors the same first dimensions


def needs(settings: Mapping[str, Any]) -> set[str]:
  """The initial parameters, where vectors are kept near them."""
  return {"initial"} if settings.get("anchor") else set()


def same_example(text_hash: jax.Array) -> jax.Array:
  """Which views are no negatives of which: text_hash int32 [B, K] -> bool [B*K, B*K].

  Those of one row; those of two rows with the same pivot; and j of i where the text of one occurs
  in the row of the other, in any language: then it is a view of both examples.
  """
  examples, views = text_hash.shape
  texts = text_hash.reshape(-1)
  equal = texts[:, None] == texts[None, :]
  # The second is the first transposed, but computed where its rows lie.
  in_own_row = jnp.repeat(equal.reshape(examples, views, -1).any(1), views, axis=0)
  in_other_row = jnp.repeat(equal.reshape(-1, examples, views).any(2), views, axis=1)
  pivot = jnp.repeat(text_hash[:, 0], views)
  return in_own_row | in_other_row | (pivot[:, None] == pivot[None, :])


def positive_weights(cosine: jax.Array, *, hardness: float) -> jax.Array:
  """w_ip: cosines within rows [B, K, K] -> [B, K, K], 0 of a view with itself."""
  itself = jnp.eye(cosine.shape[-1], dtype=bool)[None]
  logits = jnp.where(itself, -jnp.inf, -hardness * jax.lax.stop_gradient(cosine))
  return (cosine.shape[-1] - 1) * jax.nn.softmax(logits, axis=-1)


def objective(
  context: Context, *, temperature: float, hardness: float, anchor: float
) -> tuple[Mean, dict[str, Mean]]:
  """Multi-way alignment over the global batch (K >= 2).

  Args:
    context: see `Context`; reads z and the text hashes, and calls `initial` where `anchor` > 0.
    temperature: t, the divisor of the cosines (1 / scale).
    hardness: how much more a positive of low cosine weighs; 0 = all alike, as of InfoNCE.
    anchor: mu. The vectors it compares are those that training contrasts, not normalised.

  Returns:
    The loss over the B*K anchors that have a negative; it may be below 0. And `multiway_` of
    anchors `masked` (how many of other rows were masked out), of pairs `positive_cosine`,
    `negative_cosine`, of anchors `worst_positive_cosine`; `initial_distance`, the squared one.

  Examples:
    >>> z = jnp.array([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])  # [B, K, D]
    >>> context = Context({"text_hash": jnp.array([[1, 2], [3, 4]])}, None, z, None, None)
    >>> loss, extras = objective(context, temperature=1.0, hardness=0.0, anchor=0.0)
    >>> print(f"{loss.compute():.4f}")  # log(e^0 + e^0) - 1
    -0.3069
  """
  examples, views, width = context.z.shape
  assert views >= 2, "a row has at least two views"
  u = unit(context.z)
  positive = jnp.einsum("bkd,bld->bkl", u, u)
  weights = positive_weights(positive, hardness=hardness)
  attraction = (weights * positive).sum(-1) / (views - 1) / temperature  # [B, K]

  flat = u.reshape(-1, width)
  cosine = jnp.einsum("id,jd->ij", flat, flat)
  negative = ~same_example(context.batch["text_hash"])
  logits = jnp.where(negative, cosine / temperature, jnp.finfo(cosine.dtype).min)
  repulsion = jax.nn.logsumexp(logits, axis=1).reshape(examples, views)
  losses, counted = repulsion - attraction, negative.any(1).reshape(examples, views)

  itself = jnp.eye(views, dtype=bool)[None]
  worst = jnp.where(itself, 1, positive).min(-1)
  extras = {
    "multiway_masked": Mean.of((~negative).sum(1) - views),
    "multiway_positive_cosine": Mean.of(positive, jnp.broadcast_to(~itself, positive.shape)),
    "multiway_worst_positive_cosine": Mean.of(worst),
    "multiway_negative_cosine": Mean.of(cosine, negative),
  }
  if anchor:
    moved = ((context.z - context.initial()[..., :width]) ** 2).sum(-1)  # [B, K]
    losses += anchor * moved
    extras["initial_distance"] = Mean.of(moved)
  return Mean.of(losses, counted), extras
