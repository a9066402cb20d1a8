"""What an objective is: what it may read (`Context`), ask for (`NEEDS`), and returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dap_jax.core.bound_model import BoundModel
from dap_jax.core.cross_entropy import CHUNK_TOKENS
from dap_jax.core.mean import Mean
from dap_jax.model.vocabulary import Vocabulary

# What `needs` of an objective may name. Each costs memory, time or data, so a run has it only where
# an objective that is on needs it.
NEEDS = {
  "decoder": "the RTL decoder",
  "languages": "the decoder's vectors of target languages",
  "masked_lm": "the masked-LM head",
  "unmasking": "MEXMA's unmasking head",
  "bag_of_tokens": "the bag-of-tokens head",
  "vector_decoder": "the decoder that reads a sentence vector alone",
  "teacher": "a frozen teacher, the config's `teacher`",
  "initial": "the parameters that the run began with",
  "synonyms": "words and synonyms in the batch, from `data.dictionaries`",
}
# `loss_fn` fills in every field of a context; a test of one formula may leave these out.
LEFT_OUT: Any = None


class Context(NamedTuple):
  """What an objective may read. B examples, K views, L tokens, D width.

  Attributes:
    batch: `ids` int32 [B, K, L], `mask` bool [B, K, L], `text_hash` int32 [B, K], `language` int32
      [B, K]; view 0 is the pivot (English), language 0. With "synonyms": `words` int32
      [B, K, L], the number of each token's word in its sentence, -1 outside words; `synonyms` int32
      [B, K - 1, P, 2], word numbers of (pivot, translation k + 1), -1 where there are no more.
      With a teacher of several languages: `teacher_side` int32 [B, K - 1, 1], whose language it
      trusts more, 0 the pivot's, 1 the translation's.
      In fine-tuning K = 1, and `label` takes the place of hash and language: int32 [B], a class;
      [B, L], a class for each token; or [B, 2], an answer's first and last token; -1 counts
      nowhere. There may be `types` int32 [B, K, L], token types.
    h: [B, K, L, D], last-layer token states of the encoder, in the compute dtype.
    z: float32 [B, K, D], sentence vectors as trained (pooled, projected), not normalised.
    vocabulary: see `Vocabulary`.
    key: PRNG key of this objective at this step.
    negatives: float32 [B, n, D], sentence vectors of the hard negatives of each example, texts in
      the pivot's language that are no translation. Where there are some, the batch has
      `has_negative` bool [B, n] and `negative_hash` int32 [B, n], their text hashes.
    model: the encoder and the heads, with parameters and dropout bound, see `BoundModel`.
    teacher: int32 [B], one view of each example -> float32 [B, D_T], the frozen teacher's
      vectors of these texts, as it gives them, zeros where it has none; no gradient.
    initial: () -> float32 [B, K, D], `z` under the parameters that the run began with; no gradient.
    chunk_tokens: tokens of each device whose logits over the vocabulary exist at the same time.
  """

  batch: dict[str, jax.Array]
  h: jax.Array
  z: jax.Array
  vocabulary: Vocabulary
  key: jax.Array
  negatives: jax.Array | None = None
  model: BoundModel = LEFT_OUT
  teacher: Callable[[jax.Array], jax.Array] = LEFT_OUT
  initial: Callable[[], jax.Array] = LEFT_OUT
  chunk_tokens: int = CHUNK_TOKENS


Function = Callable[[Context], tuple[Mean, dict[str, Mean]]]  # -> the loss, and what else to log


class Objective(NamedTuple):
  """weight: its factor in the loss; function: `objectives.NAME.objective` with settings bound.

  A weight is a number, or a schedule: pairs (step, value), linear between them, constant outside.

  Examples:
    >>> ramp = Objective(weight=((10, 0.0), (20, 1.0)), function=lambda context: ...)
    >>> [float(ramp.weight_at(step)) for step in (0, 15, 20, 1000)]
    [0.0, 0.5, 1.0, 1.0]
  """

  weight: float | Sequence[tuple[int, float]]
  function: Function

  def weight_at(self, step: jax.Array | int) -> float | jax.Array:
    """The weight at a step: the number itself, or float32."""
    if isinstance(self.weight, int | float):
      return self.weight
    steps, values = np.asarray(self.weight, np.float32).T
    return jnp.interp(jnp.asarray(step, jnp.float32), steps, values)
