"""A translation, written from a sentence vector alone; shapes: `model/__init__.py`."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from dap_jax.distributed import sharding
from dap_jax.model.attention import INITIALIZER
from dap_jax.model.decoder import Head
from dap_jax.model.encoder import Family
from dap_jax.model.layers import Dense, Embed


class VectorDecoder(nn.Module):
  """A small causal transformer whose first state is a sentence vector with a language's vector.

  Each state sees itself and those before, and predicts the token after it: so nothing of the source
  but its vector is read. Word embeddings, positions and the projection are an encoder's; layers and
  head are the decoder's own.

  Attributes:
    family: the encoder's sizes.
    layers: of the decoder.
    languages: of targets.
  """

  family: Family
  layers: int
  languages: int

  def setup(self) -> None:
    width, dtype = self.family.width, self.family.dtype
    self.dense = Dense(width, dtype=dtype, kernel_init=INITIALIZER)
    self.language = Embed(self.languages, width, dtype=dtype, embedding_init=INITIALIZER)
    self.stack = [
      self.family.layer(i, name=f"layers_{i}", in_decoder=True) for i in range(self.layers)
    ]
    self.final_norm = self.family.final_norm()
    self.head = Head(self.family, self.family.vocabulary_size, tied=True)

  def start(self, z: jax.Array, language: jax.Array, words: jax.Array) -> jax.Array:
    """Puts the vector z [N, D_z] in the place of [CLS], with that of its target's language.

    language: int32 [N]; words: [N, L, D], the target's word embeddings. Returns [N, L, D].
    """
    first = self.dense(z.astype(words.dtype)) + self.language(language)
    return jnp.concatenate([first[:, None], words[:, 1:]], axis=1)

  def __call__(
    self, x: jax.Array, mask: jax.Array, positions: jax.Array, *, deterministic: bool
  ) -> jax.Array:
    """The states from which `projection` makes the logits of each next token.

    Args:
      x: [N, L, D], of `start`, with positions.
      mask: bool [N, L], True = real token.
      positions: int32 [L].
      deterministic: no dropout.

    Returns:
      [N, L, D], for `projection`.
    """
    earlier = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))
    readable = mask[:, None] & earlier[None]
    for layer in self.stack:
      x = sharding.by_rows(layer(x, readable, positions, deterministic=deterministic))
    x = x if self.final_norm is None else self.final_norm(x)
    return self.head(x)

  def projection(self, word_embedding: jax.Array) -> tuple[jax.Array, jax.Array]:
    """See `Head.projection`."""
    return self.head.projection(word_embedding)
