"""Translation ranking (TR): each sentence must find its translation among all of the global batch.

    s_ij = cos(z_i, z_j') / t  -  m [i = j]        L = -mean_i log softmax_j(s)_ii

DAP (arXiv 2305.09148) equation 1, the additive margin m of LaBSE (arXiv 2007.01852). With several
translations k = 1..K-1 of a pivot, L is the mean over k of the loss of the pairs (k, pivot).

Hard negatives v_jl, texts in the pivot's language that are no translation of example j, join the
candidates of every anchor on the way to the pivot, where h_ijl says that v_jl is not i's own pivot:

    L = -mean_i [ s_ii - log( sum_j exp(s_ij) + sum_jl h_ijl exp(cos(z_i, v_jl) / t) ) ]

Not on the way from it: there candidates are translations, and a text in the anchor's own language
would be no competitor of theirs, but another task. `split_softmax.py` has them in a softmax of
their own instead.
Shapes: B examples of the GLOBAL batch, K views, n hard negatives, D width. No gather is
written: the arrays are global.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context
from dap_jax.core.unit_vectors import unit
from dap_jax.utils.errors import UserError

SENTENCE_LEVEL = True
DIRECTIONS = ("to_pivot", "from_pivot", "both")


def cosines(z_source: jax.Array, z_target: jax.Array) -> jax.Array:
  """cos(z_source_i, z_target_j): [B, D], [C, D] -> float32 [B, C]. A zero vector has cosine 0.

  Examples:
    >>> print(cosines(jnp.array([[3.0, 4.0], [0.0, 1.0]]), jnp.array([[1.0, 0.0], [0.0, 2.0]])))
    [[0.6 0.8]
     [0.  1. ]]
  """
  return jnp.einsum("id,jd->ij", unit(z_source), unit(z_target))


def false_negatives(source_hash: jax.Array, target_hash: jax.Array) -> jax.Array:
  """Which candidates are no negatives: bool [B, B], never the diagonal.

  Candidate j is another true answer for anchor i where both have the same source text or the same
  target text; most often the same English sentence met with two languages in one batch.
  """
  same_source = source_hash[:, None] == source_hash[None, :]
  same_target = target_hash[:, None] == target_hash[None, :]
  return (same_source | same_target) & ~jnp.eye(source_hash.shape[0], dtype=bool)


def diagonal(matrix: jax.Array) -> jax.Array:
  """[B, B] -> [B]. A gather, as of jnp.diagonal, would move rows between devices."""
  return jnp.where(jnp.eye(matrix.shape[0], dtype=bool), matrix, 0).sum(1)


def scale_gradient(x: jax.Array, factor: float) -> jax.Array:
  """x itself, with its gradient multiplied by `factor`."""
  return factor * x + (1 - factor) * jax.lax.stop_gradient(x)


def hard_logits(context: Context, *, temperature: float, wanted: bool) -> jax.Array:
  """Of every translation with every hard negative: [K - 1, B, B*n], n = 0 where there are none.

  None are there where they are not `wanted` as candidates.

  What is no negative of an anchor has the smallest number: one that its example lacks, and one that
  is the anchor's own pivot.
  """
  examples, views, width = context.z.shape
  if not wanted or context.negatives is None or not context.negatives.shape[1]:
    return jnp.zeros((views - 1, examples, 0), context.z.dtype)
  negatives = context.negatives.reshape(-1, width)
  texts = context.batch["negative_hash"].reshape(1, -1)
  usable = context.batch["has_negative"].reshape(1, -1)
  usable = usable & (texts != context.batch["text_hash"][:, :1])
  cosine = jnp.stack([cosines(context.z[:, k], negatives) for k in range(1, views)])
  return jnp.where(usable[None], cosine / temperature, jnp.finfo(cosine.dtype).min)


def pair_loss(
  z: jax.Array,
  text_hash: jax.Array,
  hard: jax.Array,
  *,
  temperature: float,
  margin: float,
  direction: str,
) -> tuple[jax.Array, jax.Array]:
  """TR of pairs (pivot, translation).

  Args:
    z: [B, 2, D].
    text_hash: int32 [B, 2].
    hard: [B, C], logits of further candidates of the translation.
    temperature, margin, direction: see `objective`.

  Returns:
    The loss of each pair, and how many duplicates were no negatives of it, both [B].
  """
  cosine = cosines(z[:, 1], z[:, 0])
  identity = jnp.eye(cosine.shape[0], dtype=cosine.dtype)
  duplicate = false_negatives(text_hash[:, 1], text_hash[:, 0])  # symmetric
  logits = cosine / temperature - margin * identity
  logits = jnp.where(duplicate, jnp.finfo(logits.dtype).min, logits)
  of_pairs, candidates = diagonal(logits), jnp.concatenate([logits, hard], axis=1)
  to_pivot = jax.nn.logsumexp(candidates, axis=1) - of_pairs
  from_pivot = jax.nn.logsumexp(logits, axis=0) - of_pairs
  losses = {
    "to_pivot": to_pivot,
    "from_pivot": from_pivot,
    "both": (to_pivot + from_pivot) / 2,
  }
  return losses[direction], duplicate.sum(1)


def objective(
  context: Context,
  *,
  temperature: float,
  margin: float,
  direction: str,
  hard_negatives: bool,
  legacy_world_size: int,
) -> tuple[Mean, dict[str, Mean]]:
  """TR over the global batch: of every translation with its pivot (K >= 2).

  Args:
    context: see `Context`; reads z, the text hashes and the hard negatives, if there are any.
    temperature: t, the divisor of the cosines (1 / scale).
    margin: m, subtracted from the diagonal after the division, in units of the logits.
    direction: "to_pivot" (other language -> English candidates, the released runs), "from_pivot",
      or "both" (the mean of the two).
    hard_negatives: whether the batch's hard negatives, if there are any, join the candidates.
    legacy_world_size: 1 for the true gradient. N for that of the released program on N workers: it
      gathers sentence vectors without their remote gradients and then averages over the workers,
      so the gradient of TR (not its value) is 1/N of the true one.

  Returns:
    The loss over the B (K - 1) pairs; and `masked_duplicates`, how many false negatives of an
    anchor were masked out.

  Examples:
    >>> z = jnp.array([[[1.0, 0.0], [3.0, 4.0]], [[0.0, 2.0], [0.0, 1.0]]])  # [B, K, D]
    >>> context = Context({"text_hash": jnp.array([[1, 2], [3, 4]])}, None, z, None, None)
    >>> settings = {"temperature": 1.0, "margin": 0.0, "direction": "to_pivot"}
    >>> loss, _ = objective(context, hard_negatives=True, legacy_world_size=1, **settings)
    >>> print(f"{loss.compute():.4f}")  # cosines [[.6, .8], [0, 1]]: log(1 + e^.2), log(1 + e^-1)
    0.5557
  """
  if direction not in DIRECTIONS:
    raise UserError(f"direction {direction!r} is none of {', '.join(DIRECTIONS)}")
  assert context.z.shape[1] >= 2, "translation ranking reads a pivot and translations: K >= 2"
  of_pair = functools.partial(
    pair_loss, temperature=temperature, margin=margin, direction=direction
  )
  hard = hard_logits(context, temperature=temperature, wanted=hard_negatives)
  losses, duplicates = [], []
  for k, further in enumerate(hard, 1):
    pair = slice(0, k + 1, k)  # views 0 and k
    loss, masked = of_pair(context.z[:, pair], context.batch["text_hash"][:, pair], further)
    losses.append(loss)
    duplicates.append(masked)
  mean = Mean.of(scale_gradient(jnp.stack(losses), 1 / legacy_world_size))
  return mean, {"masked_duplicates": Mean.of(jnp.stack(duplicates))}
