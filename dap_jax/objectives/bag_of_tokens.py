"""Bag of tokens (XTR): a sentence vector must tell which tokens its translation has, and how often.

    p_v = count of v in y / n           q = softmax(head([z_x ; e_l]))
    L = mean over the pairs of  KL(p || q) = sum_v p_v log(p_v / q_v)

z_x: the sentence vector that training contrasts; l the language of y, e_l its embedding; n the
number of y's tokens. EMS (arXiv 2205.15744), which trains this beside a contrast of sentences, in
both directions. That q is one softmax over the vocabulary, of the pooled vector and a target
language's embedding, that p is the tokens' relative frequencies and that the loss is their KL
divergence is public. The rest is OURS: [CLS], [SEP] and [MASK] do not count, [UNK] does; the head
is a masked-LM head over [z ; e], its projection tied to the encoder's word embeddings.

Shapes: B examples, K views, L tokens, D width, V ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dap_jax.core.cross_entropy import summed_cross_entropy
from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context
from dap_jax.objectives.representation_translation import ROUTES, sides
from dap_jax.utils.errors import UserError


def needs(settings: Mapping[str, Any]) -> set[str]:
  """The bag-of-tokens head, whatever the settings."""
  del settings
  return {"bag_of_tokens"}


def shares(counted: jax.Array) -> jax.Array:
  """1 / n for each of the n tokens of a sentence that count, else 0: bool [N, L] -> [N, L]."""
  return counted / jnp.maximum(counted.sum(-1, keepdims=True), 1)


def entropy(ids: jax.Array, share: jax.Array) -> jax.Array:
  """-sum_v p_v log p_v: int32 [N, L] and the shares [N, L] -> [N].

  Examples:
    >>> share = jnp.array([[0.0, 0.25, 0.25, 0.25, 0.25]])
    >>> print(entropy(jnp.array([[2, 7, 8, 7, 8]]), share) / jnp.log(2.0))  # two ids, a half each
    [1.]
  """
  same = ids[:, :, None] == ids[:, None, :]
  p = jnp.where(same, share[:, None, :], 0).sum(-1)  # of each token's id
  return -(share * jnp.log(jnp.where(share > 0, p, 1))).sum(-1)


def prediction(context: Context, *, to_pivot: bool) -> Mean:
  """The loss of one route: the mean over the pairs whose target has a token that counts."""
  z, _ = sides(context.z, to_pivot=to_pivot)
  (_, ids), (_, counted), (_, language) = (
    sides(context.batch[name], to_pivot=to_pivot) for name in ("ids", "mask", "language")
  )
  for special in context.vocabulary.special_ids:
    counted = counted & (ids != special)
  share = shares(counted)
  logits = context.model.predict_bag(z, language=language)
  total = summed_cross_entropy(logits, ids, share, chunk=context.chunk_tokens)
  return Mean(total - entropy(ids, share).sum(), counted.any(-1).sum(dtype=jnp.float32))


def objective(context: Context, *, direction: str) -> tuple[Mean, dict[str, Mean]]:
  """Bag of tokens over the global batch: of every translation with its pivot (K >= 2).

  Args:
    context: see `Context`; reads z, ids, masks and languages, and calls the bag-of-tokens head.
    direction: "to_pivot" (the tokens of the pivot, from its translations), "from_pivot" (those of
      the translations, from the pivot), or "both" (one mean over the pairs of the two).

  Returns:
    The mean over the pairs, 0 or more, and no extra metrics.

  Raises:
    UserError: an unknown direction.

  Examples:
    >>> def predict_bag(z, language):  # a head that knows nothing: all 50 logits are 0
    ...   return FactoredLogits(z, kernel=jnp.zeros((1, 50)), bias=jnp.zeros(50))
    >>> ids = jnp.array([[[2, 7, 8, 7, 8, 3], [2, 9, 3, 0, 0, 0]]])  # [B, K, L]
    >>> batch = {"ids": ids, "mask": ids > 0, "language": jnp.array([[0, 1]])}
    >>> model = types.SimpleNamespace(predict_bag=predict_bag)
    >>> vocabulary = Vocabulary(50, 0, 2, 3, 4, None)
    >>> context = Context(batch, None, jnp.zeros((1, 2, 1)), vocabulary, None, model=model)
    >>> loss, _ = objective(context, direction="to_pivot")
    >>> print(f"{loss.compute():.4f}")  # log(.5 * 50)
    3.2189
  """
  if direction not in ROUTES:
    raise UserError(f"direction {direction!r} is none of {', '.join(ROUTES)}")
  assert context.z.shape[1] >= 2, "a bag of tokens is a translation's: K >= 2"
  loss = Mean(jnp.float32(0), jnp.float32(0))
  for to_pivot in ROUTES[direction]:
    loss = loss.merge(prediction(context, to_pivot=to_pivot))
  return loss, {}
