"""Token-to-token contrast (T2T) of VECO 2.0: synonyms of a sentence and its translation.

Inside one bilingual instance [x; y], words that a dictionary calls synonyms are positives, and the
words of both sentences that have no synonym in it are the negatives:

    l_ij = -log( exp(s_ij / t) / (exp(s_ij / t) + sum over unpaired k in [x; y] of exp(s_ik / t)) )
    L = mean over (i, j) in Syn(x, y), of all instances, of (l_ij + l_ji) / 2

w_i is the mean of the last-layer states of word i's pieces, s_ij = cos(w_i, w_j) or w_i . w_j.
VECO 2.0 (arXiv 2304.08205) says what is contrasted with what. The equation, t, the layer, the mean
of the two directions and the weight are not public: they are OURS.

Shapes: B examples, K views, L tokens, W = L words, P synonyms, D width. An instance is the
pivot with one translation, [B, K - 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context
from dap_jax.core.unit_vectors import unit
from dap_jax.utils.errors import UserError

SIMILARITIES = ("cosine", "dot")


def needs(settings: Mapping[str, Any]) -> set[str]:
  """Words and synonyms, whatever the settings."""
  del settings
  return {"synonyms"}


def word_means(h: jax.Array, words: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The mean of each word's pieces.

  Args:
    h: [B, K, L, D], token states.
    words: int32 [B, K, L], numbers of words, -1 outside them.

  Returns:
    float32 or wider [B, K, W, D], zeros where there is no such word; and [B, K, W], its pieces.
  """
  h = h.astype(jnp.promote_types(h.dtype, jnp.float32))
  pieces = jax.nn.one_hot(words, words.shape[-1], dtype=h.dtype)
  counts = pieces.sum(2)
  sums = jnp.einsum("bklw,bkld->bkwd", pieces, h)
  return sums / jnp.maximum(counts, 1)[..., None], counts


def contrast(positive: jax.Array, similarity: jax.Array, negative: jax.Array) -> jax.Array:
  """-log of the positive's share: logits [...], [..., N], bool [..., N] -> [...]."""
  negatives = jnp.where(negative, similarity, jnp.finfo(similarity.dtype).min)
  return jnp.logaddexp(positive, jax.nn.logsumexp(negatives, axis=-1)) - positive


def objective(
  context: Context, *, temperature: float, similarity: str
) -> tuple[Mean, dict[str, Mean]]:
  """T2T over the synonyms of the global batch.

  Args:
    context: see `Context`; reads h, `words` and `synonyms`.
    temperature: t, above 0, the divisor of the similarities.
    similarity: "cosine" or "dot".

  Returns:
    The mean over the synonyms, 0 where there are none; and `synonym_share`, the share of the words'
    tokens that have a synonym in their instance, `synonym_similarity` of the synonyms, and
    `unpaired_similarity` of their words with the unpaired ones, before the division by t.

  Examples:
    >>> h = jnp.array([[[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]]])  # [B, K, L, D]
    >>> words = jnp.array([[[0, 1], [0, 1]]])  # two words of one token on either side
    >>> synonyms = jnp.array([[[[0, 0]]]])  # the first ones: two unpaired words of cosine 0 remain
    >>> context = Context({"words": words, "synonyms": synonyms}, h, None, None, None)
    >>> loss, extras = objective(context, temperature=1.0, similarity="cosine")
    >>> print(f"{loss.compute():.4f}")  # log(1 + 2 / e)
    0.5514
  """
  if similarity not in SIMILARITIES:
    raise UserError(f"similarity {similarity!r} is none of {', '.join(SIMILARITIES)}")
  words, synonyms = context.batch["words"], context.batch["synonyms"]
  means, pieces = word_means(context.h, words)
  if similarity == "cosine":  # the length of a zero vector has no gradient: where there is no word
    means = unit(jnp.where(pieces[..., None] > 0, means, 1))

  def of_instances(x: jax.Array) -> jax.Array:  # [B, K, W, ...] -> [B, K - 1, 2 W, ...]
    return jnp.concatenate([jnp.broadcast_to(x[:, :1], x[:, 1:].shape), x[:, 1:]], axis=2)

  means, pieces = of_instances(means), of_instances(pieces)
  width = words.shape[-1]
  real = synonyms[..., 0] >= 0  # [B, K - 1, P]
  # Which word of the instance a synonym's two are; where there is no synonym, none.
  here, there = (
    jax.nn.one_hot(jnp.where(real, place, -1), 2 * width, dtype=means.dtype)
    for place in (synonyms[..., 0], synonyms[..., 1] + width)
  )  # [B, K - 1, P, 2 W]
  paired = (here + there).sum(2) > 0  # [B, K - 1, 2 W]
  unpaired = (pieces > 0) & ~paired
  x, y = (jnp.einsum("bkpw,bkwd->bkpd", place, means) for place in (here, there))
  positive = (x * y).sum(-1)
  negative = jnp.broadcast_to(unpaired[:, :, None], here.shape)
  losses, unlike = [], []
  for anchor in (x, y):
    similarities = jnp.einsum("bkpd,bkwd->bkpw", anchor, means)
    losses.append(contrast(positive / temperature, similarities / temperature, negative) / 2)
    unlike.append(Mean.of(similarities, negative & real[..., None]))
  return Mean.of(losses[0] + losses[1], real), {
    "synonym_share": Mean(jnp.where(paired, pieces, 0).sum(), pieces.sum()),
    "synonym_similarity": Mean.of(positive, real),
    "unpaired_similarity": unlike[0].merge(unlike[1]),
  }
