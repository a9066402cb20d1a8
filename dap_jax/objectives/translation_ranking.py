"""Translation ranking (TR): each sentence must find its translation among all of the global batch.

    s_ij = cos(z_i, z_j') / t  -  m [i = j]        L = -mean_i log softmax_j(s)_ii

DAP (arXiv 2305.09148) equation 1, the additive margin m of LaBSE (arXiv 2007.01852).
Shapes: B pairs of the GLOBAL batch, D width. No gather is written: the arrays are global.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dap_jax.errors import UserError
from dap_jax.geometry import unit
from dap_jax.metrics import Mean
from dap_jax.objectives import Context

SENTENCE_LEVEL = True
DIRECTIONS = ("to_pivot", "from_pivot", "both")


def cosines(z_source: jax.Array, z_target: jax.Array) -> jax.Array:
  """cos(z_source_i, z_target_j): [B, D], [B, D] -> float32 [B, B]. A zero vector has cosine 0."""
  return jnp.einsum("id,jd->ij", unit(z_source), unit(z_target))


def false_negatives(source_hash: jax.Array, target_hash: jax.Array) -> jax.Array:
  """Which candidates are no negatives: bool [B, B], never the diagonal.

  Candidate j is another true answer for anchor i where both have the same source text or the same
  target text; most often the same English sentence met with two languages in one batch.
  """
  same_source = source_hash[:, None] == source_hash[None, :]
  same_target = target_hash[:, None] == target_hash[None, :]
  return (same_source | same_target) & ~jnp.eye(source_hash.shape[0], dtype=bool)


def ranking_loss(logits: jax.Array) -> jax.Array:
  """-log softmax of the diagonal over each row: [B, B] -> [B]."""
  return jax.nn.logsumexp(logits, axis=1) - jnp.diagonal(logits)


def scale_gradient(x: jax.Array, factor: float) -> jax.Array:
  """x itself, with its gradient multiplied by `factor`."""
  return factor * x + (1 - factor) * jax.lax.stop_gradient(x)


def objective(
  context: Context, *, temperature: float, margin: float, direction: str, legacy_world_size: int
) -> tuple[Mean, dict[str, Mean]]:
  """TR over the global batch of pairs (K = 2).

  Args:
    context: see `Context`; reads z and the text hashes.
    temperature: t, the divisor of the cosines (1 / scale).
    margin: m, subtracted from the diagonal after the division, in units of the logits.
    direction: "to_pivot" (other language -> English candidates, the released runs), "from_pivot",
      or "both" (the mean of the two).
    legacy_world_size: 1 for the true gradient. N for that of the released program on N workers: it
      gathers sentence vectors without their remote gradients and then averages over the workers,
      so the gradient of TR (not its value) is 1/N of the true one.

  Returns:
    The loss over the B anchors; and per anchor `masked_duplicates` (how many false negatives were
    masked out), per pair `positive_cosine` and `negative_cosine` (both near 1 = collapse).
  """
  if direction not in DIRECTIONS:
    raise UserError(f"direction {direction!r} is none of {', '.join(DIRECTIONS)}")
  assert context.z.shape[1] == 2, "translation ranking reads pairs: K = 2"
  text_hash = context.batch["text_hash"]
  cosine = cosines(context.z[:, 1], context.z[:, 0])
  identity = jnp.eye(cosine.shape[0], dtype=cosine.dtype)
  duplicate = false_negatives(text_hash[:, 1], text_hash[:, 0])  # symmetric
  logits = cosine / temperature - margin * identity
  logits = jnp.where(duplicate, jnp.finfo(logits.dtype).min, logits)
  forward = ranking_loss(logits) if direction != "from_pivot" else 0.0
  backward = ranking_loss(logits.T) if direction != "to_pivot" else 0.0
  loss = (forward + backward) / (2 if direction == "both" else 1)
  return Mean.of(scale_gradient(loss, 1 / legacy_world_size)), {
    "masked_duplicates": Mean.of(duplicate.sum(1)),
    "positive_cosine": Mean.of(jnp.diagonal(cosine)),
    "negative_cosine": Mean.of(cosine, ~duplicate & (identity == 0)),
  }
