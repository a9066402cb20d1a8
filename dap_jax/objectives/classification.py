"""Classification: cross-entropy of the classes that the head gives a text, or each of its tokens.

    L = -mean_i log softmax(logits_i)_{y_i}

BERT (arXiv 1810.04805), section 4.1 and, for tokens, 5.3; `model.task_heads` has the heads. The
mean is over all labels of the global batch. Shapes: B examples, L tokens, C classes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """-log softmax(logits)_label: [..., C], int32 [...] in 0..C-1 -> [...]."""
  logits_of_labels = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
  return jax.nn.logsumexp(logits, axis=-1) - logits_of_labels


def objective(context: Context) -> tuple[Mean, dict[str, Mean]]:
  """Cross-entropy over the labels of the global batch (K = 1).

  Args:
    context: see `Context`; reads h, z and `label`, int32 [B] or [B, L], -1 where there is none, and
      calls the head.

  Returns:
    The loss over the labels, and their `accuracy`, in [0, 1].

  Examples:
    >>> model = types.SimpleNamespace(classify=lambda h, z: z)  # the logits are z itself
    >>> z = jnp.log(jnp.array([[[0.75, 0.25]], [[0.9, 0.1]]]))
    >>> batch = {"label": jnp.array([0, -1])}
    >>> loss, extras = objective(Context(batch, z[:, :, None], z, None, None, model=model))
    >>> print(f"{loss.compute():.4f} {extras['accuracy'].compute():.1f}")  # -log .75
    0.2877 1.0
  """
  assert context.z.shape[1] == 1, "classification reads single sequences: K = 1"
  labels = context.batch["label"]
  logits = context.model.classify(context.h[:, 0], context.z[:, 0])
  labelled = labels >= 0
  losses = cross_entropy(logits, jnp.maximum(labels, 0))
  return Mean.of(losses, labelled), {"accuracy": Mean.of(logits.argmax(-1) == labels, labelled)}
