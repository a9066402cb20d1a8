"""What networks and objectives need to know of a tokenizer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dap_jax.utils.errors import UserError


class Vocabulary(NamedTuple):
  """What the numeric core needs to know of a tokenizer.

  Attributes:
    size: V, rows of the word embedding.
    pad_id, cls_id, sep_id, mask_id: special ids; a checkpoint's tokenizer may have no mask token.
    english_ids: int32 [V_en], sorted: the ids that occur on the English side of the training set.
      The RTL head predicts only these; None gives a full head, tied to the decoder's embeddings.
    ids: how many of the rows are of an id, the first ones; 0 = all.
  """

  size: int
  pad_id: int
  cls_id: int
  sep_id: int
  mask_id: int | None
  english_ids: np.ndarray | None
  ids: int = 0

  @property
  def special_ids(self) -> list[int]:
    """Those that no sentence is made of, rising; not [UNK], which the core does not know."""
    special = {self.pad_id, self.cls_id, self.sep_id, self.mask_id}
    return sorted(number for number in special if number is not None)

  @property
  def hiding_id(self) -> int:
    """`mask_id`, for what hides tokens. Raises UserError where the tokenizer has no mask token."""
    if self.mask_id is None:
      raise UserError(
        "the tokenizer has no mask token, and an objective of this run hides tokens: name one as"
        " mask_token in tokenizer_config.json, or train without representation_translation,"
        " masked_lm and mexma"
      )
    return self.mask_id


def vocabulary_of(tokenizer: Any, *, rows: int, english_ids: Any) -> Vocabulary:
  """What the core needs to know of a tokenizer.

  Args:
    tokenizer: has size, pad_id, cls_id, sep_id, mask_id.
    rows: of the word embedding, `model.encoder.vocabulary_size`; 0 = the tokenizer's size.
    english_ids: int32 [V_en], or None.

  Raises:
    UserError: the tokenizer is larger than the embedding.
  """
  if rows and tokenizer.size > rows:
    raise UserError(
      f"the tokenizer has ids up to {tokenizer.size - 1}, the word embedding only {rows} rows:"
      " give the tokenizer that the weights were trained with"
    )
  return Vocabulary(
    rows or tokenizer.size,
    tokenizer.pad_id,
    tokenizer.cls_id,
    tokenizer.sep_id,
    tokenizer.mask_id,
    english_ids,
    tokenizer.size,
  )
