"""Split-softmax hard negatives: they compete with the translation in a softmax of their own.

    L = (1 - g) L_contrast + g L_hard
    L_hard = -mean_i log( exp(s_ii) / (exp(s_ii) + sum_l exp(cos(z_i, v_il) / t)) )
    s_ii = cos(z_i, z_i') / t

v_il: the hard negatives of example i alone, texts in the pivot's language that are no translation;
no margin. OmniSONAR (arXiv 2603.16606), equation 5. This file is L_hard: a config gives it the
weight g, and `translation_ranking`, with `hard_negatives=False`, is L_contrast with 1 - g. The
paper's g is not public: that of a config is OURS. It finds 1 / t = 100 best.

Where the paper is not specific, our choice: an anchor without hard negatives has the loss 0, as the
equation gives it, and counts; with several translations of a pivot, L_hard is the mean over them.
Shapes: B examples, K views, n hard negatives, D width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context
from dap_jax.core.unit_vectors import unit
from dap_jax.objectives.token_alignment import contrast
from dap_jax.utils.errors import UserError

SENTENCE_LEVEL = True


def usable(batch: dict[str, jax.Array]) -> jax.Array:
  """Which hard negatives are there, and are no text of their own pivot: bool [B, n]."""
  return batch["has_negative"] & (batch["negative_hash"] != batch["text_hash"][:, :1])


def objective(context: Context, *, temperature: float) -> tuple[Mean, dict[str, Mean]]:
  """L_hard over the global batch: of every translation with its pivot and its hard negatives.

  Args:
    context: see `Context`; reads z, the hard negatives and the text hashes.
    temperature: t, the divisor of the cosines (1 / scale); as of `translation_ranking`.

  Returns:
    The loss over the B (K - 1) pairs; and `hard_negative_accuracy`, the share of those with a hard
    negative whose translation is nearer to the pivot than to each of them.

  Raises:
    UserError: the batches have no hard negatives.

  Examples:
    >>> z = jnp.array([[[1.0, 0.0], [3.0, 4.0]]])  # [B, K, D]: the translation's cosine is .6
    >>> negatives = jnp.array([[[0.0, 2.0]]])  # that of the hard negative .8
    >>> batch = {"text_hash": jnp.array([[1, 2]]), "negative_hash": jnp.array([[3]])}
    >>> batch["has_negative"] = jnp.array([[True]])
    >>> context = Context(batch, None, z, None, None, negatives)
    >>> loss, extras = objective(context, temperature=1.0)
    >>> print(f"{loss.compute():.4f} {extras['hard_negative_accuracy'].compute()}")  # log(1 + e^.2)
    0.7981 0.0
  """
  if context.negatives is None or not context.negatives.shape[1]:
    raise UserError("split_softmax contrasts hard negatives: set data.hard_negatives to 1 or more")
  assert context.z.shape[1] >= 2, "split softmax reads a pivot and translations: K >= 2"
  pivots, anchors = unit(context.z[:, :1]), unit(context.z[:, 1:])
  positive = (anchors * pivots).sum(-1)  # [B, K - 1]
  cosine = jnp.einsum("bkd,bnd->bkn", anchors, unit(context.negatives))
  negative = jnp.broadcast_to(usable(context.batch)[:, None], cosine.shape)
  losses = contrast(positive / temperature, cosine / temperature, negative)
  nearer = positive > jnp.where(negative, cosine, -jnp.inf).max(-1)
  return Mean.of(losses), {"hard_negative_accuracy": Mean.of(nearer, negative.any(-1))}
