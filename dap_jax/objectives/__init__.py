"""The objectives: one file, one formula of one paper.

To add one, write `objectives/NAME.py` with a function

    def objective(context: Context, *, ...your settings...) -> tuple[Mean, dict[str, Mean]]

and name it in a config: `config.objectives.NAME = dict(weight=1.0, ...your settings...)`. `build`
finds it by that name, passes the settings as keyword arguments (a misspelt one is an error at
start), adds weight x the mean to the loss, and logs the mean under NAME and the extra means of the
dictionary under their keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np


class Vocabulary(NamedTuple):
  """What the numeric core needs to know of a tokenizer.

  Attributes:
    size: number of ids, V.
    pad_id, cls_id, sep_id, mask_id: special ids.
    english_ids: int32 [V_en], sorted: the ids that occur on the English side of the training set.
      The RTL head predicts only these; None gives a full head, tied to the decoder's embeddings.
  """

  size: int
  pad_id: int
  cls_id: int
  sep_id: int
  mask_id: int
  english_ids: np.ndarray | None


class Context(NamedTuple):
  """What an objective may read. B meanings, K renderings, L tokens, D width.

  Attributes:
    batch: `ids` int32 [B, K, L], `mask` bool [B, K, L], `text_hash` int32 [B, K]; rendering 0 is
      the pivot (English). In fine-tuning K = 1 and `label` int32 [B] takes the hash's place.
    h: [B, K, L, D], last-layer token states of the encoder, in the compute dtype.
    z: float32 [B, K, D], sentence vectors as trained (pooled, projected), not normalised.
    decode: the RTL decoder, `model.DualAlignment.decode` with parameters and dropout bound.
    vocabulary: see `Vocabulary`.
    key: PRNG key of this objective at this step.
    classify: the classification head, `model.DualAlignment.classify`, bound like `decode`.
  """

  batch: dict[str, jax.Array]
  h: jax.Array
  z: jax.Array
  decode: Callable[..., Any]
  vocabulary: Vocabulary
  key: jax.Array
  classify: Callable[..., jax.Array] | None = None
