"""MEXMA: unmask each sentence with the help of its translation's sentence vector.

    L = mean over the two sides of CE(hidden tokens of x | masked x, z_y)
        + a * mean of (z_x - z_y)^2  +  b * KoLeo(z)

    KoLeo(z) = - mean_i log || u_i - u_n(i) ||,  u = z / ||z||,  n(i) the nearest neighbour of i

MEXMA (arXiv 2409.12737); KoLeo: arXiv 1806.03198. Masked x is encoded as any text; then the other
side's vector z_y, of the whole text y, takes the place of its first state, and a head of a few
transformer layers predicts. Nothing is detached: token states and sentence vectors both train the
encoder. Means are taken as in the authors' program (github.com/facebookresearch/mexma, commit
0da9be6; a = 1, b = 0.01): over the hidden tokens of a side and then over the two sides, over all
entries of z, over the vectors of both sides. It differs from that program in three ways: the share
of hidden tokens is exact, not a chance; BERT's masked-LM head follows the transformer layers, not a
projection alone; examples that share a text are no neighbours.

Shapes: B examples, K views, L tokens, M hidden places, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context
from dap_jax.core.unit_vectors import unit
from dap_jax.objectives.masked_lm import Draw, draw, hidden_loss
from dap_jax.utils.errors import UserError

EPSILON = 1e-8  # added to distances, in quadrature: the program's size


def needs(settings: Mapping[str, Any]) -> set[str]:
  """The unmasking head, whatever the settings."""
  del settings
  return {"unmasking"}


def sides(x: jax.Array) -> jax.Array:
  """Views [B, K, ...] -> [B, 2, K - 1, ...]: the pivot, and each translation beside it."""
  pivot = jnp.broadcast_to(x[:, :1], x[:, 1:].shape)
  return jnp.stack([pivot, x[:, 1:]], axis=1)


def unmasking(context: Context, drawn: Draw) -> Mean:
  """Predicts the hidden tokens of each side from its states and the other side's vector.

  Args:
    context: see `Context`.
    drawn: hidden tokens of each view, [B, K].

  Returns:
    The mean over the two sides of the mean over their hidden tokens.
  """
  mask = context.batch["mask"]
  h = sides(context.model.encode(drawn.ids, mask).h)  # [B, 2, K - 1, L, D]
  of_other = sides(context.z)[:, ::-1, :, None].astype(h.dtype)
  h = jnp.concatenate([of_other, h[..., 1:, :]], axis=-2)
  length, width = h.shape[-2:]
  positions = sides(drawn.positions)
  logits = context.model.unmask(
    h.reshape(-1, length, width),
    sides(mask).reshape(-1, length),
    positions.reshape(-1, positions.shape[-1]),
  )
  states = logits.states.reshape(*positions.shape, -1)
  losses = []
  for side in range(2):
    drawn_of_side = Draw(*(sides(x)[:, side] for x in drawn))
    logits_of_side = logits._replace(states=states[:, side])
    mean = hidden_loss(logits_of_side, drawn_of_side, chunk_tokens=context.chunk_tokens)
    losses.append(mean.compute())
  return Mean.of((losses[0] + losses[1]) / 2)


def koleo(z: jax.Array, text_hash: jax.Array) -> Mean:
  """-log of the distance to the nearest neighbour among the same view's unit vectors.

  Args:
    z: [B, K, D].
    text_hash: int32 [B, K]; examples that share a text are no neighbours of each other.

  Returns:
    The mean over all vectors that have a neighbour.

  Examples:
    >>> z = jnp.array([[[1.0, 0.0]], [[0.0, 5.0]]])  # unit vectors sqrt(2) apart
    >>> print(f"{koleo(z, jnp.array([[1], [2]])).compute():.4f}")
    -0.3466
  """
  u = unit(z).swapaxes(0, 1)  # [K, B, D]
  same = (text_hash[:, None] == text_hash[None, :]).any(-1)  # [B, B], the diagonal too
  cosine = jnp.where(same[None], -jnp.inf, u @ u.swapaxes(1, 2))
  nearest = u[jnp.arange(len(u))[:, None], cosine.argmax(2)]
  # From the difference, not from the cosine, which has no digits left where vectors are close.
  squared = ((u - nearest) ** 2).sum(-1)
  alone = jnp.broadcast_to(same.all(1)[None], squared.shape)
  return Mean.of(-0.5 * jnp.log(squared + EPSILON**2), ~alone)


def check_shapes(context: Context) -> None:
  """Raises UserError where a sentence vector is not as wide as the token states it stands among."""
  z_width, h_width = context.z.shape[-1], context.h.shape[-1]
  if z_width != h_width:
    raise UserError(
      f"mexma puts a sentence vector of width {z_width} among token states of width {h_width}: set"
      " model.dense.width=0, or model.projection=True"
    )
  assert context.z.shape[1] >= 2, "MEXMA reads translations: K >= 2"


def objective(
  context: Context,
  *,
  mask_ratio: float,
  mask_share: float,
  mse_weight: float,
  koleo_weight: float,
) -> tuple[Mean, dict[str, Mean]]:
  """MEXMA over the global batch. It costs one more pass of the encoder.

  The two sides are the pivot and a translation; with K > 2, the pivot with each translation, where
  the pivot's tokens are hidden and encoded once.

  Args:
    context: see `Context`; reads ids, masks, text hashes and z, and calls the encoder and the
      unmasking head.
    mask_ratio: share of the ordinary tokens that is hidden, see `masked_lm.draw`.
    mask_share: share of the hidden tokens that becomes [MASK], see there; 0.8 in the program.
    mse_weight: a, of the squared difference of the sentence vectors (not normalised).
    koleo_weight: b, of KoLeo.

  Returns:
    The loss; and its three parts without their weights, `mexma_masked`, `mexma_mse` and
    `mexma_koleo`.

  Raises:
    UserError: z is not as wide as h.

  Examples:
    >>> def unmask(h, mask, positions):  # a head that knows nothing: all 50 logits are 0
    ...   states = jnp.zeros((*positions.shape, 1))
    ...   return FactoredLogits(states, kernel=jnp.zeros((1, 50)), bias=jnp.zeros(50))
    >>> ids = jnp.array([[[2, 7, 3], [2, 8, 3]], [[2, 9, 3], [2, 5, 3]]])  # [B, K, L]
    >>> batch = {"ids": ids, "mask": ids > 0, "text_hash": jnp.arange(4).reshape(2, 2)}
    >>> h, z = jnp.zeros((2, 2, 3, 2)), jnp.array([[[1.0, 0.0]] * 2, [[0.0, 1.0]] * 2])
    >>> encode = lambda ids, mask: types.SimpleNamespace(h=h)
    >>> model = types.SimpleNamespace(encode=encode, unmask=unmask)
    >>> vocabulary, key = Vocabulary(50, 0, 2, 3, 4, None), jax.random.key(0)
    >>> context = Context(batch, h, z, vocabulary, key, model=model)
    >>> weights = {"mse_weight": 1.0, "koleo_weight": 1.0}
    >>> _, parts = objective(context, mask_ratio=1.0, mask_share=1.0, **weights)
    >>> [f"{part.compute():.4f}" for part in parts.values()]  # log 50, 0, -log sqrt(2)
    ['3.9120', '0.0000', '-0.3466']
  """
  check_shapes(context)
  ids, mask = (context.batch[name][:, :, None] for name in ("ids", "mask"))
  shares = {"mask_ratio": mask_ratio, "mask_share": mask_share}
  drawn = draw(ids, mask, vocabulary=context.vocabulary, key=context.key, **shares)
  parts = {
    "mexma_masked": unmasking(context, drawn),
    "mexma_mse": Mean.of((context.z[:, :1] - context.z[:, 1:]) ** 2),
    "mexma_koleo": koleo(context.z, context.batch["text_hash"]),
  }
  masked, mse, spread = (part.compute() for part in parts.values())
  return Mean.of(masked + mse_weight * mse + koleo_weight * spread), parts
