"""Representation translation learning (RTL): rebuild English from the other language's states.

From the token states h(x) of one view alone, a small decoder predicts the tokens of the other:
cross-entropy at positions 1.. of y ([SEP] included; not at [CLS], not at padding), the mean over
those tokens. DAP (arXiv 2305.09148), section 3.2. Only the length of y is seen at mask ratio 1.
With several translations of a pivot, the mean is over the tokens of all pairs.
Shapes: B examples, K views, L tokens, D width, V ids, V_en English ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dap_jax.core.cross_entropy import summed_cross_entropy
from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.utils.errors import UserError

# Whether the pivot is what is rebuilt, or what it is rebuilt from.
ROUTES = {"to_pivot": (True,), "from_pivot": (False,), "both": (True, False)}


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
  """Which target slots hold [MASK] and are predicted: as mask, keyed; the rest see h(y)."""
  if mask_ratio == 1.0:
    return jnp.ones_like(mask)
  return jax.random.bernoulli(key, mask_ratio, mask.shape)


def sides(array: jax.Array, *, to_pivot: bool) -> tuple[jax.Array, jax.Array]:
  """[B, K, ...] -> source and target of every pair of a route, each [B (K - 1), ...]."""
  translations = array[:, 1:]
  pivot = jnp.broadcast_to(array[:, :1], translations.shape)
  pair = (translations, pivot) if to_pivot else (pivot, translations)
  source, target = (side.reshape(-1, *array.shape[2:]) for side in pair)
  return source, target


def reconstruction(context: Context, *, to_pivot: bool, replaced: jax.Array) -> Mean:
  """The loss of one route; `replaced` bool [B (K - 1), L]."""
  sources, targets = {}, {}
  arrays = {name: context.batch[name] for name in ("ids", "mask", "language")} | {"h": context.h}
  for name, array in arrays.items():
    sources[name], targets[name] = sides(array, to_pivot=to_pivot)
  logits = context.model.decode(
    sources["h"],
    source_mask=sources["mask"],
    target_h=targets["h"],
    target_mask=targets["mask"],
    replaced=replaced,
    language=targets["language"],
    to_pivot=to_pivot,
  )
  labels = compact_labels(targets["ids"], context.vocabulary)
  predicted = targets["mask"] & replaced & (labels >= 0)
  predicted = predicted.at[:, 0].set(False)  # [CLS] is not predicted
  total = summed_cross_entropy(
    logits, jnp.maximum(labels, 0), predicted, chunk=context.chunk_tokens
  )
  return Mean(total, predicted.sum(dtype=jnp.float32))


def objective(
  context: Context, *, mask_ratio: float, direction: str
) -> tuple[Mean, dict[str, Mean]]:
  """RTL over the global batch: of every translation with its pivot (K >= 2).

  Args:
    context: see `Context`; reads h, ids and masks, and calls the decoder.
    mask_ratio: share of target tokens replaced by [MASK] and predicted; 1.0 in the paper. The
      others show the encoder's own states of y: they leak the answer, and results are worse.
    direction: "to_pivot" (other language -> English, the paper's best), "from_pivot", or "both"
      (one mean over the tokens of the two).

  Returns:
    The mean over the predicted tokens, and no extra metrics.

  Raises:
    UserError: an unknown direction, or one that the decoder's head has no ids for.

  Examples:
    >>> def decode(h, **arguments):  # one that knows nothing: all 50 logits are 0
    ...   states = jnp.zeros((*h.shape[:2], 1))
    ...   return FactoredLogits(states, kernel=jnp.zeros((1, 50)), bias=jnp.zeros(50))
    >>> ids = jnp.array([[[2, 7, 8, 3], [2, 9, 3, 0]]])  # [B, K, L]: pivot and translation
    >>> batch = {"ids": ids, "mask": ids > 0, "language": jnp.array([[0, 1]])}
    >>> vocabulary, model = Vocabulary(50, 0, 2, 3, 4, None), types.SimpleNamespace(decode=decode)
    >>> h = jnp.zeros((*ids.shape, 1))
    >>> context = Context(batch, h, None, vocabulary, jax.random.key(0), model=model)
    >>> loss, _ = objective(context, mask_ratio=1.0, direction="to_pivot")
    >>> print(f"{loss.compute():.4f} {loss.count:.0f}")  # log 50, of all tokens after [CLS]
    3.9120 3
  """
  if direction not in ROUTES:
    raise UserError(f"direction {direction!r} is none of {', '.join(ROUTES)}")
  if direction != "to_pivot" and context.vocabulary.english_ids is not None:
    raise UserError(
      f"direction {direction!r} predicts other languages: it needs decoder.english_head=False"
    )
  assert context.h.shape[1] >= 2, "RTL reads a pivot and translations: K >= 2"
  loss = Mean(jnp.float32(0), jnp.float32(0))
  for number, to_pivot in enumerate(ROUTES[direction]):
    key = jax.random.fold_in(context.key, number)
    _, mask = sides(context.batch["mask"], to_pivot=to_pivot)
    replaced = draw_replaced(mask, mask_ratio=mask_ratio, key=key)
    loss = loss.merge(reconstruction(context, to_pivot=to_pivot, replaced=replaced))
  return loss, {}
