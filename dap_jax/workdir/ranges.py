"""The range of every number of a config: a table, checked before anything is read or prepared.

A key of a config that holds a number has a line here; tests/test_ranges.py walks configs/base.py
and fails where one is missing. What depends on other values (heads that divide a width, lengths
that rise to max_tokens) is checked where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dap_jax.utils.errors import UserError
from dap_jax.utils.trees import flatten


class Range(NamedTuple):
  """Finite numbers from `least` to `most`.

  Attributes:
    least, most: the bounds; None = none.
    whole: whether it must be an int.
    open_below, open_above: whether the bound itself is outside.
    each: whether the value is a sequence of such numbers, which may be empty.
    also: a value outside that is right too.
  """

  least: float | None = None
  most: float | None = None
  whole: bool = False
  open_below: bool = False
  open_above: bool = False
  each: bool = False
  also: Any = None

  def __contains__(self, value: Any) -> bool:
    if self.each:
      item_range = self._replace(each=False)
      is_list = isinstance(value, Sequence) and not isinstance(value, str)
      return is_list and all(item in item_range for item in value)
    if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
      return False
    if value == self.also:
      return True
    if not math.isfinite(value):
      return False
    above = self.least is None or value > self.least or value == self.least and not self.open_below
    below = self.most is None or value < self.most or value == self.most and not self.open_above
    return above and below

  def __str__(self) -> str:
    """In words, for a message."""
    words = "whole number" if self.whole else "number"
    words = f"{words}s" if self.each else f"a {words}"
    bounds = []
    if self.least is not None:
      bounds.append(f"above {self.least:g}" if self.open_below else f"of {self.least:g} or more")
    if self.most is not None and self.most != MOST:
      bounds.append(f"{'below' if self.open_above else 'at most'} {self.most:.12g}")
    words = f"{words} {' and '.join(bounds)}".rstrip()
    return words if self.also is None else f"{words}, or {self.also}"


MOST = 2**31 - 1  # what JAX counts with


def whole(least: int, most: int = MOST, **more: Any) -> Range:
  """Integers, by default up to the largest that JAX counts with, which no message names."""
  return Range(least, most, whole=True, **more)


POSITIVE, NOT_NEGATIVE = Range(0, open_below=True), Range(0)
SHARE, MASK_RATIO = Range(0, 1), Range(0, 1, open_below=True)
BELOW_ONE = Range(0, 1, open_above=True)  # dropout, and the decay rates of Adam
COUNT, COUNT_OR_NONE = whole(1), whole(0)
SEQUENCE = whole(3)  # [CLS], a token, [SEP]

TOP_LEVEL = {
  "seed": whole(0, 2**32 - 1),
  "steps": COUNT,
  "batch_size": whole(2),  # one pair has no negatives
  "max_tokens": SEQUENCE,
  "gradient_accumulation_steps": COUNT,
  "skip_not_finite": COUNT_OR_NONE,
  "log_steps": COUNT,
  "eval_steps": COUNT,
  "matryoshka_dimensions": whole(1, each=True),
}
DATA = {
  "temperature": POSITIVE,
  "min_pairs": COUNT_OR_NONE,
  "near_duplicates": SHARE,
  "bucket_tokens": whole(1, each=True),
  "views": whole(2),
  "hard_negatives": COUNT_OR_NONE,
  "dictionaries.max_synonyms": COUNT,
  "dictionaries.prefix_letters": COUNT_OR_NONE,
  "dictionaries.ending_letters": COUNT_OR_NONE,
  "heldout.sentences": COUNT,
  "heldout.min_words": COUNT_OR_NONE,
  "heldout.min_languages": COUNT,
  "max_line_bytes": COUNT,
}
MODEL = {
  "encoder.vocabulary_size": COUNT_OR_NONE,
  "encoder.layers": COUNT,
  "encoder.width": COUNT,
  "encoder.heads": COUNT,
  "encoder.mlp_width": COUNT,
  "encoder.positions": COUNT,
  "encoder.token_types": COUNT_OR_NONE,
  "encoder.position_offset": COUNT_OR_NONE,
  "encoder.norm_eps": POSITIVE,
  "encoder.global_every": COUNT,  # this and what follows: modernbert
  "encoder.window": COUNT,
  "encoder.global_theta": POSITIVE,
  "encoder.local_theta": POSITIVE,
  "dense.width": COUNT_OR_NONE,
  "dropout": BELOW_ONE,
}
OBJECTIVES = {
  "translation_ranking.temperature": POSITIVE,
  "translation_ranking.margin": NOT_NEGATIVE,
  "translation_ranking.false_negative_margin": Range(-2, 2),  # the difference of two cosines
  "translation_ranking.hardness": NOT_NEGATIVE,
  "translation_ranking.legacy_world_size": COUNT,
  "split_softmax.temperature": POSITIVE,
  "representation_translation.mask_ratio": MASK_RATIO,
  "masked_lm.mask_ratio": MASK_RATIO,
  "mexma.mask_ratio": MASK_RATIO,
  "mexma.mask_share": SHARE,
  "mexma.mse_weight": NOT_NEGATIVE,
  "mexma.koleo_weight": NOT_NEGATIVE,
  "vector_translation.mse_weight": NOT_NEGATIVE,
  "soft_alignment.temperature": POSITIVE,
  "soft_alignment.margin": NOT_NEGATIVE,
  "soft_alignment.monolingual_weight": NOT_NEGATIVE,
  "token_alignment.temperature": POSITIVE,
  "multiway.temperature": POSITIVE,
  "multiway.hardness": NOT_NEGATIVE,
  "multiway.anchor": NOT_NEGATIVE,
}
OPTIMIZER = {
  "learning_rate": POSITIVE,
  "warmup_steps": COUNT_OR_NONE,
  "b1": BELOW_ONE,
  "b2": BELOW_ONE,
  "eps": POSITIVE,
  "weight_decay": NOT_NEGATIVE,
  "clip_norm": NOT_NEGATIVE,
}
SECTIONS = {
  "data": DATA,
  "tokenizer": {
    "vocabulary_size": whole(6),  # the special ids, and one more
    "sample_texts": COUNT,
    "prune": COUNT_OR_NONE,
  },
  "model": MODEL,
  "decoder": {"layers": COUNT},
  "teacher": {"max_tokens": SEQUENCE},
  "unmasking": {"layers": COUNT},
  "vector_decoder": {"layers": COUNT},
  "objectives": OBJECTIVES,
  "optimizer": OPTIMIZER,
  "program": {"microbatches": COUNT, "chunk_tokens": COUNT},
  "mesh": {"data": whole(1, also=-1), "fsdp": COUNT, "model": COUNT},
  "checkpoint": {"save_steps": COUNT, "keep_last": COUNT},
}
RANGES = TOP_LEVEL | {
  f"{section}.{key}": of_key for section, keys in SECTIONS.items() for key, of_key in keys.items()
}


def check(config: Mapping[str, Any]) -> None:
  """Raises UserError for the first number of a config, nested dicts, that is out of its range.

  Weights of objectives may be schedules: `training.selection.is_on` checks both.
  """
  for key, value in flatten(config, separator=".").items():
    if key in RANGES and value not in RANGES[key]:
      raise UserError(f"{key}={value!r}: expected {RANGES[key]}")
