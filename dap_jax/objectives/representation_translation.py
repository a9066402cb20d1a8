"""Representation translation learning (RTL): rebuild English from the other language's states.

From the token states h(x) of one rendering alone, a small decoder predicts the tokens of the other:
cross-entropy at positions 1.. of y ([SEP] included; not at [CLS], not at padding), the mean over
those tokens. DAP (arXiv 2305.09148), section 3.2. Only the length of y is seen at mask ratio 1.
Shapes: B pairs, L tokens, D width, V ids, V_en English ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dap_jax.cross_entropy import summed_cross_entropy
from dap_jax.errors import UserError
from dap_jax.metrics import Mean
from dap_jax.objectives import Context, Vocabulary

PIVOT, OTHER = 0, 1
ROUTES = {
  "to_pivot": [(OTHER, PIVOT)],
  "from_pivot": [(PIVOT, OTHER)],
  "both": [(OTHER, PIVOT), (PIVOT, OTHER)],
}


def needs(settings: Mapping[str, Any]) -> set[str]:
  """A decoder; where it writes other languages, their vectors too."""
  return {"decoder"} if settings.get("direction") == "to_pivot" else {"decoder", "languages"}


def compact_labels(ids: jax.Array, vocabulary: Vocabulary) -> jax.Array:
  """ids int32 [...] -> rows of the head, -1 for an id that the head does not hold."""
  if vocabulary.english_ids is None:
    return ids
  rows = np.full(vocabulary.size, -1, np.int32)
  rows[vocabulary.english_ids] = np.arange(len(vocabulary.english_ids), dtype=np.int32)
  return jnp.asarray(rows)[ids]


def draw_replaced(mask: jax.Array, *, mask_ratio: float, key: jax.Array) -> jax.Array:
  """Which target slots hold [MASK] and are predicted: bool [B, L], keyed; the rest see h(y)."""
  if mask_ratio == 1.0:
    return jnp.ones_like(mask)
  return jax.random.bernoulli(key, mask_ratio, mask.shape)


def reconstruction(
  context: Context, *, source: int, target: int, replaced: jax.Array, chunk_positions: int
) -> Mean:
  """The loss of one route: rendering `target` from the states of rendering `source`."""
  ids, mask = context.batch["ids"], context.batch["mask"]
  logits = context.decode(
    context.h[:, source],
    source_mask=mask[:, source],
    target_h=context.h[:, target],
    target_mask=mask[:, target],
    replaced=replaced,
    language=context.batch["language"][:, target],
  )
  labels = compact_labels(ids[:, target], context.vocabulary)
  predicted = mask[:, target] & replaced & (labels >= 0)
  predicted = predicted.at[:, 0].set(False)  # [CLS] is not predicted
  total = summed_cross_entropy(logits, jnp.maximum(labels, 0), predicted, chunk=chunk_positions)
  return Mean(total, predicted.sum(dtype=jnp.float32))


def objective(
  context: Context, *, mask_ratio: float, direction: str, chunk_positions: int
) -> tuple[Mean, dict[str, Mean]]:
  """RTL over the pairs of the global batch (K = 2).

  Args:
    context: see `Context`; reads h, ids and masks, and calls the decoder.
    mask_ratio: share of target tokens replaced by [MASK] and predicted; 1.0 in the paper. The
      others show the encoder's own states of y: they leak the answer, and results are worse.
    direction: "to_pivot" (other language -> English, the paper's best), "from_pivot", or "both"
      (one mean over the tokens of the two).
    chunk_positions: target positions whose logits are held at a time.

  Returns:
    The mean over the predicted tokens, and no extra metrics.
  """
  if direction not in ROUTES:
    raise UserError(f"direction {direction!r} is none of {', '.join(ROUTES)}")
  if chunk_positions < 1:
    raise UserError(f"chunk_positions={chunk_positions}: expected 1 or more")
  if direction != "to_pivot" and context.vocabulary.english_ids is not None:
    raise UserError(
      f"direction {direction!r} predicts other languages: it needs decoder.english_head=False"
    )
  assert context.h.shape[1] == 2, "RTL reads pairs: K = 2"
  loss = Mean(jnp.float32(0), jnp.float32(0))
  for number, (source, target) in enumerate(ROUTES[direction]):
    key = jax.random.fold_in(context.key, number)
    replaced = draw_replaced(context.batch["mask"][:, target], mask_ratio=mask_ratio, key=key)
    mean = reconstruction(
      context, source=source, target=target, replaced=replaced, chunk_positions=chunk_positions
    )
    loss = loss.merge(mean)
  return loss, {}
