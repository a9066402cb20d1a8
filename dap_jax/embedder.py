"""Texts -> sentence vectors, in JAX: what evaluate, embed and the evaluation in training share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np

from dap_jax.data.tokenizer import Tokenizer
from dap_jax.errors import UserError


def encode_texts(
  texts: Sequence[str],
  embed: Callable[[np.ndarray, np.ndarray], jax.Array],
  *,
  tokenizer: Tokenizer,
  max_tokens: int,
  batch_size: int,
) -> np.ndarray:
  """Encodes in order of length, in batches of one of a few shapes.

  Args:
    texts: any strings; the empty one too.
    embed: (ids int32 [N, L], mask bool [N, L]) -> unit vectors [N, D].
    tokenizer: text -> ids.
    max_tokens: longest sequence; a batch is padded to the next multiple of 16 of its longest.
    batch_size: N of every call; the last batch is filled with padding rows.

  Returns:
    float32 [len(texts), D], in the order of `texts`.
  """
  sequences = tokenizer.encode_ragged(texts)
  order = np.argsort([len(ids) for ids in sequences], kind="stable")
  pieces = []
  for start in range(0, len(order), batch_size):
    rows = [sequences[i] for i in order[start : start + batch_size]]
    length = min(max_tokens, -(-max(map(len, rows)) // 16) * 16)
    ids = np.full((batch_size, length), tokenizer.pad_id, np.int32)
    mask = np.zeros((batch_size, length), bool)
    mask[:, 0] = True  # filling rows have one token, so that their mean is defined
    for row, sequence in enumerate(rows):
      ids[row, : len(sequence)] = sequence
      mask[row, : len(sequence)] = True
    pieces.append(np.asarray(embed(ids, mask))[: len(rows)])
  if not pieces:
    raise UserError("there are no texts to encode: the input is empty")
  vectors = np.concatenate(pieces)
  inverse = np.empty_like(order)
  inverse[order] = np.arange(len(order))
  return vectors[inverse]


class Embedder:
  """A trained model that turns texts into vectors.

  Attributes:
    tokenizer, max_tokens: how texts become ids.
    description: where the model came from, for reports.
  """

  def __init__(self, model, params, *, tokenizer: Tokenizer, max_tokens: int, description: str):
    from dap_jax.train_step import embed_step

    self._embed = jax.jit(lambda ids, mask: embed_step(params, ids, mask, model=model))
    self.tokenizer, self.max_tokens, self.description = tokenizer, max_tokens, description

  def encode(self, texts: Sequence[str], *, batch_size: int = 128) -> np.ndarray:
    """Unit vectors float32 [len(texts), D]."""
    return encode_texts(
      texts,
      self._embed,
      tokenizer=self.tokenizer,
      max_tokens=self.max_tokens,
      batch_size=batch_size,
    )
