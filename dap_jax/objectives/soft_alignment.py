"""Soft contrastive alignment: translations follow the similarities that a frozen teacher sees.

    w_ij = softmax_j(t_ij / tau)        p_ij = softmax_j((s_ij - m [t_ij > 0.95]) / tau)
    l(s, t) = -(1/B) sum_ij w_ij log p_ij        L = l(s, t) + l(s^T, t^T)

s_ij = cos(z_i, z_j'), z of a translation and z' of the pivot; t_ij = cos(T(a_i), T(a_j)), T the
teacher and a one side of the pairs. With several translations of an example, L is the mean over
them. arXiv 2405.16155. The paper's batches hold pairs of two languages; where a batch mixes more
and the teacher reads several of them, t compares across languages too.

Where the paper is not specific, our choice: `identity` has w = I, and takes other true answers out
of the candidates, as translation ranking does; `matrix_mse` has neither tau nor m.
Shapes: B examples of the GLOBAL batch, K views, D width.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context
from dap_jax.core.unit_vectors import cosines
from dap_jax.objectives.translation_ranking import false_negatives
from dap_jax.utils.errors import UserError

SENTENCE_LEVEL = True
PIVOT = 0
STRATEGIES = ("priority", "average", "identity")
SAME_MEANING = 0.95  # teacher's cosine from which on the margin counts


class Target(NamedTuple):
  """What the similarities of one translation with the pivot are to follow.

  Attributes:
    t: [B, B], the teacher's cosines, or the identity.
    candidate: bool [B, B], which j are candidates of i; symmetric.
    counted: bool [B], the pairs that the teacher has vectors of.
    hard: whether t is the identity, no teacher's.
  """

  t: jax.Array
  candidate: jax.Array
  counted: jax.Array
  hard: bool


def needs(settings: Mapping[str, Any]) -> set[str]:
  """A teacher, but for hard labels."""
  return {"teacher"} if settings.get("strategy") in ("priority", "average") else set()


def taught(context: Context, view: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The teacher's cosines [B, B] of one view of each example, and which have a vector [B]."""
  vectors = context.teacher(view)
  return cosines(vectors, vectors), vectors.any(-1)


def target_of(context: Context, k: int, *, strategy: str) -> Target:
  """The target of translation k >= 1."""
  examples = context.z.shape[0]
  if strategy == "identity":
    text_hash = context.batch["text_hash"]
    duplicate = false_negatives(text_hash[:, k], text_hash[:, PIVOT])
    t = jnp.eye(examples, dtype=context.z.dtype)
    return Target(t, ~duplicate, jnp.ones(examples, bool), hard=True)
  pivot = jnp.full(examples, PIVOT)
  several = "teacher_side" in context.batch  # else the teacher reads the pivot's language alone
  if strategy == "average":
    if not several:
      raise UserError(
        "strategy='average' asks the teacher about translations too: name the languages that it"
        " reads in teacher.languages"
      )
    of_pivots, has_pivot = taught(context, pivot)
    of_translations, has_translation = taught(context, pivot + k)
    t, counted = (of_pivots + of_translations) / 2, has_pivot & has_translation
  else:
    side = context.batch["teacher_side"][:, k - 1, 0] if several else 0
    t, counted = taught(context, pivot + k * side)
  return Target(t, counted[:, None] & counted[None, :], counted, hard=False)


def soft_cross_entropy(
  s: jax.Array, target: Target, *, temperature: float, margin: float
) -> jax.Array:
  """-sum_j w_ij log p_ij: [B, B] -> [B]."""
  lowest = jnp.finfo(s.dtype).min
  logits = (s - margin * (target.t > SAME_MEANING)) / temperature
  log_p = jax.nn.log_softmax(jnp.where(target.candidate, logits, lowest), axis=1)
  if target.hard:
    return jnp.negative(jnp.diagonal(log_p))
  labels = jnp.where(target.candidate, target.t / temperature, lowest)
  weights = jax.nn.softmax(labels, axis=1)
  return jnp.negative(jnp.where(target.candidate, weights * log_p, 0).sum(1))


def squared_difference(s: jax.Array, target: Target) -> jax.Array:
  """The mean of (s_ij - t_ij)^2 over the candidates of i: [B, B] -> [B]."""
  squares = jnp.where(target.candidate, (s - target.t) ** 2, 0)
  return squares.sum(1) / jnp.maximum(target.candidate.sum(1), 1)


def correlation(s: jax.Array, target: Target) -> jax.Array:
  """Pearson's, of s and t over the candidates off the diagonal; 0 where one of them is constant.

  Constant is a standard deviation below 1e-6: rounding leaves some 1e-7.
  """
  others = target.candidate & ~jnp.eye(len(s), dtype=bool)
  count = jnp.maximum(others.sum(), 1)

  def centred(x: jax.Array) -> jax.Array:
    return jnp.where(others, x - jnp.where(others, x, 0).sum() / count, 0)

  a, b = centred(s), centred(target.t)
  variances = jnp.stack([(a * a).sum(), (b * b).sum()]) / count
  defined = (variances > 1e-12).all()
  scale = jnp.where(defined, jnp.sqrt(variances.prod()), 1)
  return jnp.where(defined, (a * b).sum() / count / scale, 0)


def check_settings(*, strategy: str, margin: float, matrix_mse: bool) -> None:
  """Raises UserError for an unknown strategy, or a setting without meaning beside another."""
  if strategy not in STRATEGIES:
    raise UserError(f"strategy {strategy!r} is none of {', '.join(STRATEGIES)}")
  if matrix_mse and margin:
    raise UserError(f"margin={margin} has no meaning with matrix_mse: set one of them to 0")


def objective(
  context: Context,
  *,
  strategy: str,
  temperature: float,
  margin: float,
  monolingual_weight: float,
  matrix_mse: bool,
) -> tuple[Mean, dict[str, Mean]]:
  """Soft alignment over the global batch.

  Args:
    context: see `Context`; reads z, and asks the teacher or reads the text hashes.
    strategy: whose similarities: "priority", the side whose language comes first in
      `teacher.languages` (the pivot where there is no such list); "average", the mean of both
      sides' matrices; "identity", no teacher: each sentence is like its translation alone.
    temperature: tau, the divisor of the student's and the teacher's cosines.
    margin: m, off the cosine of what the teacher calls the same.
    monolingual_weight: of the same two terms on the similarities among the translations, and of
      those among the pivots; 1 in the paper's option, 0 = none.
    matrix_mse: the mean squared difference of s and t in place of the cross-entropy.

  Returns:
    The loss over the pairs that the teacher has vectors of; and, with a teacher,
    `teacher_correlation`, Pearson's, of s and t off the diagonal.

  Examples:
    >>> z = jnp.array([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])  # [B, K, D]
    >>> context = Context({"text_hash": jnp.array([[1, 2], [3, 4]])}, None, z, None, None)
    >>> settings = {"temperature": 1.0, "margin": 0.0, "monolingual_weight": 0.0}
    >>> loss, _ = objective(context, strategy="identity", matrix_mse=False, **settings)
    >>> print(f"{loss.compute():.4f}")  # log(1 + 1 / e) in each of the two directions
    0.6265
  """
  check_settings(strategy=strategy, margin=margin, matrix_mse=matrix_mse)

  def both_ways(s: jax.Array, target: Target) -> jax.Array:
    if matrix_mse:
      return squared_difference(s, target) + squared_difference(s.T, target)
    cross_entropy = functools.partial(soft_cross_entropy, temperature=temperature, margin=margin)
    return cross_entropy(s, target) + cross_entropy(s.T, target)

  assert context.z.shape[1] > 1, "soft alignment reads translations: K >= 2"
  loss = followed = Mean(jnp.float32(0), jnp.float32(0))
  for k in range(1, context.z.shape[1]):
    target = target_of(context, k, strategy=strategy)  # t is symmetric: t^T = t
    x, y = context.z[:, k], context.z[:, PIVOT]
    s = cosines(x, y)
    losses = both_ways(s, target)
    if monolingual_weight:
      among = both_ways(cosines(x, x), target) + both_ways(cosines(y, y), target)
      losses += monolingual_weight * among
    loss = loss.merge(Mean.of(losses, target.counted))
    followed = followed.merge(Mean.of(correlation(s, target)))
  return loss, {} if strategy == "identity" else {"teacher_correlation": followed}
