"""Extractive question answering: cross-entropy of an answer's first and last token.

    L = -mean_i 1/2 (log softmax(s_i)_{start_i} + log softmax(e_i)_{end_i})

BERT (arXiv 1810.04805), section 4.2; s and e are the head's two logits of each token. The softmax
is over the real tokens of the sequence, padding has no share. Shapes: B examples, L tokens.
"""

from __future__ import annotations

import jax.numpy as jnp

from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context
from dap_jax.objectives.classification import cross_entropy


def objective(context: Context) -> tuple[Mean, dict[str, Mean]]:
  """Cross-entropy over both ends of the answers of the global batch (K = 1).

  Args:
    context: see `Context`; reads h, z, `mask` and `label` int32 [B, 2], -1 in rows that only fill
      the batch, and calls the head, whose logits are [B, L, 2].

  Returns:
    The loss over the ends, and `accuracy`, the share of the answers whose ends both have the
    largest logits, in [0, 1].

  Examples:
    >>> model = types.SimpleNamespace(classify=lambda h, z: h)  # the logits are h itself
    >>> h = jnp.log(jnp.array([[[[0.5, 0.25], [0.5, 0.75], [9.0, 9.0]]]]))
    >>> batch = {"label": jnp.array([[0, 1]]), "mask": jnp.array([[[True, True, False]]])}
    >>> loss, extras = objective(Context(batch, h, h[:, :, 0], None, None, model=model))
    >>> print(f"{loss.compute():.4f} {extras['accuracy'].compute():.1f}")  # (-log .5 -log .75) / 2
    0.4904 1.0
  """
  assert context.z.shape[1] == 1, "question answering reads single sequences: K = 1"
  labels, mask = context.batch["label"], context.batch["mask"][:, 0]
  logits = context.model.classify(context.h[:, 0], context.z[:, 0]).swapaxes(1, 2)  # [B, 2, L]
  logits = jnp.where(mask[:, None], logits, jnp.finfo(logits.dtype).min)
  labelled = labels >= 0
  losses = cross_entropy(logits, jnp.maximum(labels, 0))
  hits = (logits.argmax(-1) == labels).all(1)
  return Mean.of(losses, labelled), {"accuracy": Mean.of(hits, labelled.all(1))}
