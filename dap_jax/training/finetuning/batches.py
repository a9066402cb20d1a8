"""The batches of fine-tuning, each a function of the seed and the step alone.

N examples, B of a batch, L tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dap_jax.data.texts.labelled_texts import LabelledTexts
from dap_jax.inference.embedder import Embedder
from dap_jax.utils.errors import UserError


class Batches(NamedTuple):
  """Labelled sequences in an order that is drawn anew for every epoch.

  Attributes:
    sequences: ids of each example, at most `length`.
    labels: int32 [N], the class of each.
    batch_size: B. The last batch of an epoch has what is left.
    length: L; one for all batches, so that the step is compiled once.
    pad_id: fills the rest of a row.
    seed: of the order.
  """

  sequences: list[list[int]]
  labels: np.ndarray
  batch_size: int
  length: int
  pad_id: int
  seed: int

  @property
  def steps_of_epoch(self) -> int:
    """How many batches hold every example once."""
    return -(-len(self.labels) // self.batch_size)

  def rows(self, step: int) -> np.ndarray:
    """Which examples make batch `step`: int [B], or fewer at the end of an epoch."""
    epoch, place = divmod(step, self.steps_of_epoch)
    order = np.random.default_rng([self.seed, epoch]).permutation(len(self.labels))
    return order[place * self.batch_size : (place + 1) * self.batch_size]

  def batch(self, step: int) -> dict[str, np.ndarray]:
    """`ids` int32 [B, 1, L], `mask` bool [B, 1, L], `label` int32 [B].

    Rows that only fill the batch have one token, so that their mean is defined, and the label -1.
    """
    ids = np.full((self.batch_size, 1, self.length), self.pad_id, np.int32)
    mask = np.zeros(ids.shape, bool)
    mask[:, :, 0] = True
    label = np.full(self.batch_size, -1, np.int32)
    for place, row in enumerate(self.rows(step)):
      sequence = self.sequences[row]
      ids[place, 0, : len(sequence)] = sequence
      mask[place, 0, : len(sequence)] = True
      label[place] = self.labels[row]
    return {"ids": ids, "mask": mask, "label": label}


def make_batches(
  examples: LabelledTexts, pretrained: Embedder, *, batch_size: int, seed: int
) -> Batches:
  """The train split, tokenised. Raises UserError: the tokenizer does not tell a pair's texts apart.

  L is a multiple of 16 that holds the longest, or `max_tokens`.
  """
  tokens = pretrained.tokenizer
  if examples.pairs and len(tokens.encode_ragged([("", "")])[0]) < 3:
    raise UserError("the model's tokenizer puts nothing between the texts of a pair")
  sequences = tokens.encode_ragged(examples.train.texts)
  return Batches(
    sequences=sequences,
    labels=np.asarray(examples.numbers(examples.train), np.int32),
    batch_size=batch_size,
    length=min(pretrained.max_tokens, -(-max(map(len, sequences)) // 16) * 16),
    pad_id=tokens.pad_id,
    seed=seed,
  )
