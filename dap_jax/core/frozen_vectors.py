"""Sentence vectors of parameters that training never changes: a teacher's, and the initial ones."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from dap_jax.core.bound_model import BoundModel
from dap_jax.core.inference_step import embed_step
from dap_jax.core.microbatches import in_chunks
from dap_jax.model.dual_alignment import DualAlignment


def teacher_vectors(
  params: optax.Params | None,
  batch: Mapping[str, jax.Array],
  view: jax.Array,
  *,
  model: DualAlignment | None,
  microbatches: int,
) -> jax.Array:
  """The frozen teacher's vector of one view of each example: computed here, or in the batch.

  Args:
    params: the teacher's parameters; not used where the batch has its vectors.
    batch: `teacher_ids` and `teacher_mask` [B, K, L_T], in the teacher's own vocabulary; or
      `teacher_vectors` float32 [B, K, D_T]. A text that the teacher does not read has no ids.
    view: int32 [B].
    model: the teacher's network; not used where the batch has its vectors.
    microbatches: chunks of rows that it runs over.

  Returns:
    float32 [B, D_T], without gradient; zeros for a text that the teacher has no vector of.
  """
  if "teacher_vectors" in batch:
    return select_view(batch["teacher_vectors"], view)
  assert model is not None, "a teacher without vectors in the batch needs its network"
  network = model

  def embed(key: jax.Array | None, ids: jax.Array, mask: jax.Array) -> jax.Array:
    del key  # the teacher has no dropout
    return embed_step(params, ids, mask, model=network)

  ids, mask = (select_view(batch[name], view) for name in ("teacher_ids", "teacher_mask"))
  vectors = in_chunks(embed, microbatches)(None, ids, mask)
  return jax.lax.stop_gradient(jnp.where(mask.any(1, keepdims=True), vectors, 0))


def initial_vectors(
  params: optax.Params | None,
  batch: Mapping[str, jax.Array],
  *,
  model: DualAlignment,
  microbatches: int,
) -> jax.Array:
  """`z` of a batch [B, K, D] under the parameters that the run began with, without gradient."""
  network = BoundModel(model, params, microbatches=microbatches)
  return jax.lax.stop_gradient(network.encode(batch["ids"], batch["mask"]).z)


def select_view(array: jax.Array, view: jax.Array) -> jax.Array:
  """One view of each example: [B, K, ...] and int32 [B] -> [B, ...]."""
  index = view.reshape(-1, *[1] * (array.ndim - 1))
  return jnp.take_along_axis(array, index, axis=1)[:, 0]
