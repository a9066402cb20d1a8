"""Classification: cross-entropy of the classes that the head gives a text, or each of its tokens.

    L = -mean_i log softmax(logits_i)_{y_i}

BERT (arXiv 1810.04805), sections 4.1 and 5.3. For extractive question answering the classes are the
tokens of the text, and y their places, of an answer's first and last token (section 4.2): the
softmax is over the real tokens, padding has no share. `model.task_heads` has the heads. The mean is
over all labels of the global batch. Shapes: B examples, L tokens, C classes.
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


def over_tokens(logits: jax.Array, mask: jax.Array) -> jax.Array:
  """The logits of an answer's ends [B, L, 2], mask bool [B, L] -> [B, 2, L], padding impossible."""
  logits = logits.swapaxes(1, 2)
  return jnp.where(mask[:, None], logits, jnp.finfo(logits.dtype).min)


def objective(context: Context, *, answers: bool) -> tuple[Mean, dict[str, Mean]]:
  """Cross-entropy over the labels of the global batch (K = 1).

  Args:
    context: see `Context`; reads h, z, `mask` and `label`, -1 where there is none, and calls the
      head.
    answers: whether a label is the places of an answer's ends, int32 [B, 2], of logits [B, L, 2];
      else it is a class of the text, int32 [B], or one of each token, [B, L].

  Returns:
    The loss over the labels, and their `accuracy`, in [0, 1].

  Examples:
    >>> model = types.SimpleNamespace(classify=lambda h, z: z)  # the logits are z itself
    >>> z = jnp.log(jnp.array([[[0.75, 0.25]], [[0.9, 0.1]]]))
    >>> batch = {"label": jnp.array([0, -1])}
    >>> context = Context(batch, z[:, :, None], z, None, None, model=model)
    >>> loss, extras = objective(context, answers=False)
    >>> print(f"{loss.compute():.4f} {extras['accuracy'].compute():.1f}")  # -log .75
    0.2877 1.0
    >>> h = jnp.log(jnp.array([[[[0.5, 0.25], [0.5, 0.75], [9.0, 9.0]]]]))
    >>> batch = {"label": jnp.array([[0, 1]]), "mask": jnp.array([[[True, True, False]]])}
    >>> model = types.SimpleNamespace(classify=lambda h, z: h)
    >>> context = Context(batch, h, h[:, :, 0], None, None, model=model)
    >>> loss, _ = objective(context, answers=True)
    >>> print(f"{loss.compute():.4f}")  # (-log .5 - log .75) / 2
    0.4904
  """
  assert context.z.shape[1] == 1, "classification reads single sequences: K = 1"
  labels = context.batch["label"]
  logits = context.model.classify(context.h[:, 0], context.z[:, 0])
  if answers:
    logits = over_tokens(logits, context.batch["mask"][:, 0])
  labelled = labels >= 0
  losses = cross_entropy(logits, jnp.maximum(labels, 0))
  return Mean.of(losses, labelled), {"accuracy": Mean.of(logits.argmax(-1) == labels, labelled)}
