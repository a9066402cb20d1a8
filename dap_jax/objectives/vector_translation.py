"""Translation through the sentence vector: a decoder that sees only it must write the translation.

    L = - mean over the tokens y_p, p >= 1, of  log softmax(decoder(z_x, l, y_1..y_(p-1)))[y_p]
        + a * mean of (z_x - z_y)^2

z_x: the sentence vector that training contrasts; l the language of y. SONAR (arXiv 2308.11466), and
the decoder loss of OmniSONAR (arXiv 2603.16606). That the decoder reads the vector and a tag of the
target language alone, teacher-forced cross-entropy, and SONAR's a = 0.1 are public. The rest is
OURS: a few causal layers whose first state is the vector, on the encoder's word embeddings, where
SONAR has the decoder of a translation model; the squared difference is a mean over the entries.

Shapes: B examples, K views, L tokens, D width.
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
  """The decoder of sentence vectors, whatever the settings."""
  del settings
  return {"vector_decoder"}


def next_of(x: jax.Array) -> jax.Array:
  """[N, L] -> the entry after each, 0 (False) after the last.

  Examples:
    >>> print(next_of(jnp.array([[2, 7, 8, 3]])))
    [[7 8 3 0]]
  """
  return jnp.pad(x[:, 1:], [(0, 0), (0, 1)])


def translation(context: Context, *, to_pivot: bool) -> Mean:
  """The mean over the target's tokens of one route."""
  z, _ = sides(context.z, to_pivot=to_pivot)
  (_, ids), (_, mask), (_, language) = (
    sides(context.batch[name], to_pivot=to_pivot) for name in ("ids", "mask", "language")
  )
  logits = context.model.translate(z, ids=ids, mask=mask, language=language)
  counted = next_of(mask)
  total = summed_cross_entropy(logits, next_of(ids), counted, chunk=context.chunk_tokens)
  return Mean(total, counted.sum(dtype=jnp.float32))


def objective(
  context: Context, *, direction: str, mse_weight: float
) -> tuple[Mean, dict[str, Mean]]:
  """Translation through the vector, over the global batch: every translation and its pivot.

  Args:
    context: see `Context`; reads z, ids, masks and languages, and calls the vector decoder.
    direction: "to_pivot" (the pivot is written, from its translations), "from_pivot", or "both"
      (one mean over the tokens of the two).
    mse_weight: a, of the squared difference of translations' vectors (not normalised).

  Returns:
    The loss; and its parts without the weight, `translated_tokens`, the cross-entropy, and
    `translation_mse`.

  Raises:
    UserError: an unknown direction.

  Examples:
    >>> def translate(z, ids, mask, language):  # a decoder that knows nothing: all 50 logits are 0
    ...   states = jnp.zeros((*ids.shape, 1))
    ...   return FactoredLogits(states, kernel=jnp.zeros((1, 50)), bias=jnp.zeros(50))
    >>> ids = jnp.array([[[2, 7, 8, 3], [2, 9, 3, 0]]])  # [B, K, L]: pivot and translation
    >>> batch = {"ids": ids, "mask": ids > 0, "language": jnp.array([[0, 1]])}
    >>> z, model = jnp.array([[[0.0], [2.0]]]), types.SimpleNamespace(translate=translate)
    >>> context = Context(batch, None, z, None, None, model=model)
    >>> loss, parts = objective(context, direction="to_pivot", mse_weight=0.5)
    >>> tokens, mse = parts.values()  # log 50, of three tokens; 2^2
    >>> print(f"{loss.compute():.4f} {tokens.compute():.4f} {tokens.count:.0f} {mse.compute():.0f}")
    5.9120 3.9120 3 4
  """
  if direction not in ROUTES:
    raise UserError(f"direction {direction!r} is none of {', '.join(ROUTES)}")
  assert context.z.shape[1] >= 2, "a translation is written: K >= 2"
  tokens = Mean(jnp.float32(0), jnp.float32(0))
  for to_pivot in ROUTES[direction]:
    tokens = tokens.merge(translation(context, to_pivot=to_pivot))
  mse = Mean.of((context.z[:, :1] - context.z[:, 1:]) ** 2)
  loss = Mean.of(tokens.compute() + mse_weight * mse.compute())
  return loss, {"translated_tokens": tokens, "translation_mse": mse}
