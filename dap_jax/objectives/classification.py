"""Classification: cross-entropy of the classes that the head gives a sentence vector.

    L = -mean_i log softmax(head(z_i))_{y_i}

BERT (arXiv 1810.04805), section 4.1; z is the model's own sentence vector, which for `cls` pooling
is the first token's state. Shapes: B examples, C classes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """-log softmax(logits)_label: [B, C], int32 [B] in 0..C-1 -> [B]."""
  logits_of_labels = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
  return jax.nn.logsumexp(logits, axis=1) - logits_of_labels


def objective(context: Context) -> tuple[Mean, dict[str, Mean]]:
  """Cross-entropy over the labelled examples of the global batch (K = 1).

  Args:
    context: see `Context`; reads z and `label` int32 [B], -1 in rows that only fill the batch, and
      calls the head.

  Returns:
    The loss over the labelled examples, and their `accuracy`, in [0, 1].

  Examples:
    >>> model = types.SimpleNamespace(classify=lambda vectors: vectors)  # the logits are z itself
    >>> z = jnp.log(jnp.array([[[0.75, 0.25]], [[0.9, 0.1]]]))
    >>> batch = {"label": jnp.array([0, -1])}
    >>> loss, extras = objective(Context(batch, None, z, None, None, model=model))
    >>> print(f"{loss.compute():.4f} {extras['accuracy'].compute():.1f}")  # -log .75
    0.2877 1.0
  """
  assert context.z.shape[1] == 1, "classification reads single sequences: K = 1"
  labels = context.batch["label"]
  logits = context.model.classify(context.z[:, 0])
  labelled = labels >= 0
  losses = cross_entropy(logits, jnp.maximum(labels, 0))
  return Mean.of(losses, labelled), {"accuracy": Mean.of(logits.argmax(1) == labels, labelled)}
