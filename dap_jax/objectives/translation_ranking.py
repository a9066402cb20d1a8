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

Options, all off by default, change the sum over the candidates:

    same-tower negatives (SamToNe, arXiv 2306.02516)  + sum_{j /= i} exp(cos(z_i, z_j) / t), of the
        anchor's own side, where (i, j) are no duplicates
    false negatives by a margin (Qwen3 Embedding, arXiv 2506.05176)  no candidate c of i, but its
        positive, with cos(z_i, c) > cos(z_i, z_i') + f; with a guide model (GISTEmbed, arXiv
        2402.16829) its cosines are compared, not the model's
    hardness (LLaVE, arXiv 2503.04812)  the summand of every candidate c of i but its positive has
        the weight exp(a cos(z_i, c)), a constant for the gradient

Shapes: B examples of the GLOBAL batch, K views, n hard negatives, D width. No gather is
written: the arrays are global.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context
from dap_jax.core.unit_vectors import Similarities, cosines, similarities
from dap_jax.utils.errors import UserError

SENTENCE_LEVEL = True
# Along which axis of cos(x_i, y_j) the candidates lie: of anchors x on the way to the pivots y, or
# of anchors y on the way back.
AXES = {"to_pivot": (1,), "from_pivot": (0,), "both": (1, 0)}
JUDGES = ("text", "model", "guide")  # what tells false negatives


class Options(NamedTuple):
  """How pairs are contrasted: the settings of `objective` with these names."""

  temperature: float
  margin: float
  direction: str
  same_tower_negatives: bool
  false_negatives: str
  false_negative_margin: float
  hardness: float


def needs(settings: Mapping[str, Any]) -> set[str]:
  """A teacher, where a guide model tells false negatives."""
  return {"teacher"} if settings.get("false_negatives") == "guide" else set()


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


def weighted(logits: jax.Array, cosine: jax.Array, hardness: float) -> jax.Array:
  """Logits of candidates, with weights that rise with their cosines; 0 changes nothing."""
  return logits + hardness * jax.lax.stop_gradient(cosine) if hardness else logits


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


def guided(context: Context, k: int) -> Similarities:
  """The guide's cosines of translation k >= 1 and the pivot; -inf where it lacks one of the two.

  A guide that reads the pivot's language alone takes the pivot for its translation.
  """
  y = context.teacher(jnp.full(len(context.z), 0))
  x = context.teacher(jnp.full(len(y), k)) if "teacher_side" in context.batch else y
  has_x, has_y = x.any(-1), y.any(-1)
  known = ((has_x, has_y), (has_x, has_x), (has_y, has_y))
  pairs = zip(similarities(x, y), known, strict=True)
  return Similarities(
    *(jnp.where(a[:, None] & b[None], cosine, -jnp.inf) for cosine, (a, b) in pairs)
  )


def normaliser(
  logits: jax.Array,
  own: Similarities,
  hard: jax.Array,
  duplicate: jax.Array,
  guide: Similarities | None,
  *,
  axis: int,
  options: Options,
) -> tuple[jax.Array, jax.Array]:
  """The log of the sum over the candidates of anchors x (axis 1) or y (axis 0).

  Args:
    logits: [B, B], of x with y, the smallest number for false negatives by their text.
    own: the model's cosines.
    hard: [B, C], logits of further candidates of x.
    duplicate: bool [B, B], false negatives by their text; symmetric.
    guide: the cosines that tell further false negatives, or None.
    axis, options: see there.

  Returns:
    It, of each anchor, and how many candidates the guide took from it, both [B].
  """
  t, lowest = options.temperature, jnp.finfo(logits.dtype).min
  itself, taken = jnp.eye(len(logits), dtype=bool), jnp.zeros_like(duplicate)
  weigh = functools.partial(weighted, hardness=options.hardness)
  candidates = [weigh(logits, jnp.where(itself, 0, own.across))]
  if options.same_tower_negatives:
    within = weigh(own.within(axis) / t, own.within(axis))
    candidates.append(jnp.where(duplicate | itself, lowest, within))
  if guide is not None:
    f, positive = options.false_negative_margin, diagonal(guide.across)
    most = jnp.expand_dims(jnp.where(jnp.isfinite(positive), positive + f, jnp.inf), axis)
    taken = (guide.across > most) & ~itself & ~duplicate
    false = [taken, guide.within(axis) > most][: len(candidates)]
    candidates = [jnp.where(no, lowest, c) for no, c in zip(false, candidates, strict=True)]
    if guide is own:  # another guide has no vectors of hard negatives
      hard = jnp.where(hard > (diagonal(own.across) + f)[:, None] / t, lowest, hard)
  if axis == 1:
    candidates.append(weigh(hard, jnp.maximum(hard * t, -1)))  # the smallest number stays
  return jax.nn.logsumexp(jnp.concatenate(candidates, axis=axis), axis=axis), taken.sum(axis)


def pair_loss(
  z: jax.Array,
  text_hash: jax.Array,
  hard: jax.Array,
  guide: Similarities | None,
  *,
  options: Options,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """TR of pairs (pivot, translation).

  Args:
    z: [B, 2, D].
    text_hash: int32 [B, 2].
    hard: [B, C], logits of further candidates of the translation.
    guide: of a guide model, or None.
    options: see there.

  Returns:
    [B] each: the loss of a pair, how many duplicates were no negatives of it, and how many
    candidates of other texts, over its ways.
  """
  own = similarities(z[:, 1], z[:, 0])
  duplicate = false_negatives(text_hash[:, 1], text_hash[:, 0])  # symmetric
  identity = jnp.eye(len(duplicate), dtype=own.across.dtype)
  logits = own.across / options.temperature - options.margin * identity
  logits = jnp.where(duplicate, jnp.finfo(logits.dtype).min, logits)
  of_pairs, losses, taken = diagonal(logits), [], []
  judge = own if options.false_negatives == "model" else guide
  for axis in AXES[options.direction]:
    found = normaliser(logits, own, hard, duplicate, judge, axis=axis, options=options)
    losses.append(found[0] - of_pairs)
    taken.append(found[1])
  loss, by_margin = (sum(ways[1:], ways[0]) / len(ways) for ways in (losses, taken))
  return loss, duplicate.sum(1), by_margin


def contrasts(context: Context, hard: jax.Array, options: Options) -> list[jax.Array]:
  """What `pair_loss` gives of each translation with its pivot, [K - 1, B] each.

  hard: of `hard_logits`. Raises UserError for an option that there is not.
  """
  if options.direction not in AXES:
    raise UserError(f"direction {options.direction!r} is none of {', '.join(AXES)}")
  if options.false_negatives not in JUDGES:
    raise UserError(f"false_negatives {options.false_negatives!r} is none of {', '.join(JUDGES)}")
  assert context.z.shape[1] >= 2, "translation ranking reads a pivot and translations: K >= 2"
  found = []
  for k, further in enumerate(hard, 1):
    pair = slice(0, k + 1, k)  # views 0 and k
    guide = guided(context, k) if options.false_negatives == "guide" else None
    z, text_hash = context.z[:, pair], context.batch["text_hash"][:, pair]
    found.append(pair_loss(z, text_hash, further, guide, options=options))
  return [jnp.stack(arrays) for arrays in zip(*found, strict=True)]


def objective(
  context: Context,
  *,
  temperature: float,
  margin: float,
  direction: str,
  hard_negatives: bool,
  same_tower_negatives: bool,
  false_negatives: str,
  false_negative_margin: float,
  hardness: float,
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
    same_tower_negatives: whether the others of the anchor's own side join them.
    false_negatives: "text", equal texts alone are no negatives; "model" and "guide", nor are those
      whose cosine by the model, or by the teacher, is above the positive's by more than
    false_negative_margin: f; 0.1 in Qwen3 Embedding, 0 in GISTEmbed.
    hardness: a, of the weights of negatives; 0 = all are equal.
    legacy_world_size: 1 for the true gradient. N for that of the released program on N workers: it
      gathers sentence vectors without their remote gradients and then averages over the workers,
      so the gradient of TR (not its value) is 1/N of the true one.

  Returns:
    The loss over the B (K - 1) pairs; `masked_duplicates`, how many false negatives of an anchor
    were masked out for their text, and, unless that is all, `masked_by_margin`, how many others.

  Examples:
    >>> z = jnp.array([[[1.0, 0.0], [3.0, 4.0]], [[0.0, 2.0], [0.0, 1.0]]])  # [B, K, D]
    >>> context = Context({"text_hash": jnp.array([[1, 2], [3, 4]])}, None, z, None, None)
    >>> settings = {"temperature": 1.0, "margin": 0.0, "direction": "to_pivot"}
    >>> settings |= {"hard_negatives": True, "same_tower_negatives": False}
    >>> settings |= {"false_negatives": "text", "false_negative_margin": 0.1, "hardness": 0.0}
    >>> loss, _ = objective(context, **settings, legacy_world_size=1)
    >>> print(f"{loss.compute():.4f}")  # cosines [[.6, .8], [0, 1]]: log(1 + e^.2), log(1 + e^-1)
    0.5557
  """
  options = Options(
    temperature,
    margin,
    direction,
    same_tower_negatives,
    false_negatives,
    false_negative_margin,
    hardness,
  )
  hard = hard_logits(context, temperature=temperature, wanted=hard_negatives)
  losses, duplicates, taken = contrasts(context, hard, options)
  extras = {"masked_duplicates": Mean.of(duplicates)}
  if false_negatives != "text":
    extras["masked_by_margin"] = Mean.of(taken)
  return Mean.of(scale_gradient(losses, 1 / legacy_world_size)), extras
