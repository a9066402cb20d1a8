"""Masked language modelling: predict hidden tokens of sentences (MLM) or of pairs (TLM).

    L = - mean over the hidden positions p of  log softmax(head(h_p))[ids_p]

MLM, and how tokens are hidden: BERT (arXiv 1810.04805), section 3.1. TLM: XLM (arXiv 1901.07291),
section 3.4: the same over a sentence and its translation, one after the other, positions restarting
in each, so that a hidden token may be read off the other language. The released program of DAP
(arXiv 2305.09148) has TLM as a baseline, with ratio 0.2; its head has a projection of its own, this
one is tied to the encoder's word embeddings, as BERT's is. With XLM-R it restarts at position 0,
a row that XLM-R's own pre-training never used; here the second sentence begins where the first
does, at the padding id + 1.

Shapes: B examples, K views, G sequences of an example, S sentences of a sequence, L tokens of a
sentence, T = S L, M places that may be hidden, D width, V ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dap_jax.core.cross_entropy import FactoredLogits, summed_cross_entropy
from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.utils.errors import UserError

SEQUENCES = {"sentence": ("sentence",), "pair": ("pair",), "both": ("sentence", "pair")}
MASK_SHARE = 0.8  # BERT's


class Draw(NamedTuple):
  """Which tokens are hidden.

  Attributes:
    ids: int32 [B, G, T], what the encoder is to read.
    positions: int32 [B, G, M], where to predict.
    labels: int32 [B, G, M], the ids that stood there.
    counted: bool [B, G, M], which of these places are hidden; the others only fill up.
  """

  ids: jax.Array
  positions: jax.Array
  labels: jax.Array
  counted: jax.Array


def needs(settings: Mapping[str, Any]) -> set[str]:
  """The masked-LM head, whatever the settings."""
  del settings
  return {"masked_lm"}


def sequences(x: jax.Array, sequence: str) -> jax.Array:
  """Views [B, K, L] -> what the encoder reads at once [B, G, S, L].

  "sentence": each view (G = K, S = 1). "pair": the pivot before each translation (G = K - 1,
  S = 2).
  """
  if sequence == "sentence":
    return x[:, :, None]
  pivot = jnp.broadcast_to(x[:, :1], x[:, 1:].shape)
  return jnp.stack([pivot, x[:, 1:]], axis=2)


def hidden_counts(tokens: int, mask_ratio: float) -> np.ndarray:
  """How many of 0, 1, ..., `tokens` ordinary tokens are hidden: int32 [tokens + 1].

  Examples:
    >>> print(hidden_counts(5, mask_ratio=0.4))
    [0 1 1 1 2 2]
  """
  counts = [max(1, round(mask_ratio * n)) for n in range(1, tokens + 1)]
  return np.array([0, *counts], np.int32)


def draw(
  ids: jax.Array,
  mask: jax.Array,
  *,
  vocabulary: Vocabulary,
  mask_ratio: float,
  mask_share: float,
  key: jax.Array,
) -> Draw:
  """Hides max(1, round(mask_ratio * n)) of the n ordinary tokens of each sequence.

  Which ones is uniform, without replacement. Of the hidden ones a share of `mask_share` becomes
  [MASK]; the others become a random id or stay, with equal chance.

  Args:
    ids: int32 [B, G, S, L], each sentence with its [CLS] and [SEP].
    mask: bool [B, G, S, L], True = real token.
    vocabulary: special ids, and the ids to draw from.
    mask_ratio: in (0, 1].
    mask_share: in [0, 1].
    key: of the draw; padding and the mesh do not change what it gives.
  """
  choice_key, fate_key, id_key = jax.random.split(key, 3)
  ordinary = mask
  for special in vocabulary.special_ids:  # [UNK] may be hidden: BERT predicts it too
    ordinary = ordinary & (ids != special)
  positions, counted = draw_positions(choice_key, ordinary, mask_ratio=mask_ratio)
  ids = ids.reshape(*ids.shape[:-2], -1)  # [B, G, T]
  # A comparison, not a scatter: it stays on the device that has the row.
  tokens = jnp.arange(ids.shape[-1])[None, None, None]
  hidden = ((positions[..., None] == tokens) & counted[..., None]).any(2)

  fate = per_token(lambda shape: jax.random.uniform(fate_key, shape, jnp.float32), mask.shape)
  random = per_token(lambda shape: draw_ids(id_key, shape, vocabulary), mask.shape)
  replaced = jnp.where(fate < (1 + mask_share) / 2, random, ids)
  replaced = jnp.where(fate < mask_share, vocabulary.hiding_id, replaced)
  labels = jnp.take_along_axis(ids, positions, axis=-1)
  return Draw(jnp.where(hidden, replaced, ids), positions, labels, counted)


def draw_positions(
  key: jax.Array, ordinary: jax.Array, *, mask_ratio: float
) -> tuple[jax.Array, jax.Array]:
  """Draws which tokens of each sequence are hidden, see `draw`; ordinary: bool [B, G, S, L].

  Returns:
    int32 [B, G, M], the places; bool [B, G, M], which of them count, the others only fill up.
  """
  scores = per_token(lambda shape: jax.random.uniform(key, shape, jnp.float32), ordinary.shape)
  sentences, tokens = ordinary.shape[-2], scores.shape[-1]
  ordinary = ordinary.reshape(scores.shape)
  counts = hidden_counts(tokens, mask_ratio)
  places = max(1, int(counts[max(0, tokens - 2 * sentences)]))  # [CLS] and [SEP] are never hidden
  positions = jax.lax.top_k(jnp.where(ordinary, scores, -1), places)[1]
  count = jnp.asarray(counts)[ordinary.sum(-1)]
  return positions, jnp.arange(places)[None, None] < count[..., None]


def draw_ids(key: jax.Array, shape: tuple[int, ...], vocabulary: Vocabulary) -> jax.Array:
  """Ids of `shape`, int32, uniform over all but the special ones."""
  special = vocabulary.special_ids
  known = vocabulary.ids or vocabulary.size
  ids = jax.random.randint(key, shape, 0, known - len(special), jnp.int32)
  for skipped in special:
    ids += ids >= skipped
  return ids


def per_token(sample: Callable[[tuple[int, ...]], jax.Array], shape: tuple[int, ...]) -> jax.Array:
  """One random number for each token of [B, G, S, L] -> [B, G, S L]; `sample` takes a shape.

  Tokens come first in that shape: a longer padding appends numbers and leaves those before alone.
  """
  *outer, length = shape
  return jnp.moveaxis(sample((length, *outer)), 0, -1).reshape(*outer[:-1], -1)


def hidden_loss(logits: FactoredLogits, drawn: Draw, *, chunk_tokens: int) -> Mean:
  """Cross-entropy at the hidden places: of their logits, in the order of their labels.

  chunk_tokens: see `Context`.
  """
  total = summed_cross_entropy(logits, drawn.labels, drawn.counted, chunk=chunk_tokens)
  return Mean(total, drawn.counted.sum(dtype=jnp.float32))


def prediction(context: Context, drawn: Draw, mask: jax.Array, *, sentences: int) -> Mean:
  """The loss of a given draw; mask bool [B, G, T], T = `sentences` * L."""
  tokens, places = mask.shape[-1], drawn.positions.shape[-1]
  restarting = jnp.tile(jnp.arange(tokens // sentences), sentences)[None]
  h = context.model.encode(drawn.ids, mask, positions=restarting).h
  logits = context.model.predict(
    h.reshape(-1, tokens, h.shape[-1]),
    mask.reshape(-1, tokens),
    drawn.positions.reshape(-1, places),
  )
  return hidden_loss(logits, drawn, chunk_tokens=context.chunk_tokens)


def objective(
  context: Context, *, sequence: str, mask_ratio: float
) -> tuple[Mean, dict[str, Mean]]:
  """MLM, TLM or both over the global batch. It costs one more pass of the encoder for each.

  Args:
    context: see `Context`; reads ids and masks, and calls the encoder and the masked-LM head.
    sequence: "sentence" (MLM on every view), "pair" (TLM on the pivot with each translation),
      or "both" (one mean over the hidden tokens of the two).
    mask_ratio: share of the ordinary tokens that is hidden.

  Returns:
    The mean over the hidden tokens, and no extra metrics.

  Raises:
    UserError: `sequence` is none of these.

  Examples:
    >>> def predict(h, mask, positions):  # a head that knows nothing: all 50 logits are 0
    ...   states = jnp.zeros((*positions.shape, 1))
    ...   return FactoredLogits(states, kernel=jnp.zeros((1, 50)), bias=jnp.zeros(50))
    >>> def encode(ids, mask, positions):
    ...   return types.SimpleNamespace(h=jnp.zeros((*ids.shape, 1)))
    >>> ids = jnp.array([[[2, 7, 8, 9, 3]]])  # [B, K, L]: [CLS] ... [SEP]
    >>> batch, vocabulary = {"ids": ids, "mask": ids > 0}, Vocabulary(50, 0, 2, 3, 4, None)
    >>> model = types.SimpleNamespace(encode=encode, predict=predict)
    >>> context = Context(batch, None, None, vocabulary, jax.random.key(0), model=model)
    >>> loss, _ = objective(context, sequence="sentence", mask_ratio=1.0)
    >>> print(f"{loss.compute():.4f} {loss.count:.0f}")  # log 50, of three hidden tokens
    3.9120 3
  """
  if sequence not in SEQUENCES:
    raise UserError(f"sequence {sequence!r} is none of {', '.join(SEQUENCES)}")
  loss = Mean(jnp.float32(0), jnp.float32(0))
  for number, kind in enumerate(SEQUENCES[sequence]):
    ids, mask = (sequences(context.batch[name], kind) for name in ("ids", "mask"))
    drawn = draw(
      ids,
      mask,
      vocabulary=context.vocabulary,
      mask_ratio=mask_ratio,
      mask_share=MASK_SHARE,
      key=jax.random.fold_in(context.key, number),
    )
    mean = prediction(
      context,
      drawn,
      mask.reshape(drawn.ids.shape),
      sentences=ids.shape[2],
    )
    loss = loss.merge(mean)
  return loss, {}
