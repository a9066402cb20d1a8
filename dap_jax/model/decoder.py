"""What predicts tokens: the masked-LM and bag heads, the RTL decoder; shapes: `model/__init__.py`.

Each gives states, and `projection` makes logits of them: the logits of all tokens of a batch are
too large to exist at once, see `core/cross_entropy.py`.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from dap_jax.distributed import sharding
from dap_jax.model.attention import INITIALIZER
from dap_jax.model.encoder import Family
from dap_jax.model.layers import Dense, Embed, spread


class Head(nn.Module):
  """The masked-LM head: dense, GELU, LayerNorm, projection onto ids."""

  family: Family
  size: int
  tied: bool

  def setup(self) -> None:
    width, dtype, use_bias = self.family.width, self.family.dtype, self.family.head_bias
    self.dense = Dense(width, use_bias=use_bias, dtype=dtype, kernel_init=INITIALIZER)
    self.norm = nn.LayerNorm(epsilon=self.family.norm_eps, use_bias=use_bias, dtype=dtype)
    self.vocabulary = Projection(width, self.size, self.tied)

  def __call__(self, x: jax.Array) -> jax.Array:
    """States x [N, ..., D_in] -> states for `projection`, [N, ..., D]."""
    states: jax.Array = self.norm(nn.gelu(self.dense(x), approximate=False))
    return states

  def projection(self, word_embedding: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Kernel [D, size] and bias [size]; the kernel is `word_embedding` [V, D] if tied."""
    kernel, bias = self.vocabulary()
    return word_embedding.T if kernel is None else kernel, bias


class Projection(nn.Module):
  """Holds the parameters of the projection onto ids: a bias, and a kernel unless it is tied."""

  width: int
  size: int
  tied: bool

  @nn.compact
  def __call__(self) -> tuple[jax.Array | None, jax.Array]:
    kernel = None if self.tied else self.param("kernel", INITIALIZER, (self.width, self.size))
    return kernel, self.param("bias", nn.initializers.zeros, (self.size,))


class TokenHead(nn.Module):
  """Predicts tokens of a sequence from its states: transformer layers, then a masked-LM head.

  With 0 layers it is BERT's masked-LM head. The projection is tied to an embedding.
  """

  family: Family
  layers: int

  def setup(self) -> None:
    first = self.family.layers - self.layers
    self.stack = [
      self.family.layer(first + i, name=f"layers_{i}", in_decoder=True) for i in range(self.layers)
    ]
    self.final_norm = self.family.final_norm() if self.layers else None
    self.head = Head(self.family, self.family.vocabulary_size, tied=True)

  def __call__(
    self,
    h: jax.Array,
    mask: jax.Array,
    positions: jax.Array,
    *,
    deterministic: bool,
  ) -> jax.Array:
    """The states from which `projection` makes the logits at some positions.

    Args:
      h: [N, L, D], token states.
      mask: bool [N, L], which of them may be read.
      positions: int32 [N, M], where to predict.
      deterministic: no dropout.

    Returns:
      [N, M, D], for `projection`.
    """
    places = self.family.position_offset + jnp.arange(h.shape[1])
    for layer in self.stack:
      h = sharding.by_rows(layer(h, mask, places, deterministic=deterministic))
    h = h if self.final_norm is None else self.final_norm(h)
    chosen = jnp.take_along_axis(h, positions[..., None], axis=1)
    return self.head(chosen)

  def projection(self, word_embedding: jax.Array) -> tuple[jax.Array, jax.Array]:
    """See `Head.projection`."""
    return self.head.projection(word_embedding)


class BagHead(nn.Module):
  """Predicts a bag of tokens from a sentence vector and a target language: a masked-LM head.

  It reads the vector and that of the language, one after the other. The projection is tied to an
  embedding.
  """

  family: Family
  languages: int

  def setup(self) -> None:
    width, dtype = self.family.width, self.family.dtype
    self.language = Embed(self.languages, width, dtype=dtype, embedding_init=INITIALIZER)
    self.head = Head(self.family, self.family.vocabulary_size, tied=True)

  def __call__(self, z: jax.Array, language: jax.Array) -> jax.Array:
    """z [N, D_z], language int32 [N] -> states for `projection`, [N, D]."""
    of_language = self.language(language)
    return self.head(jnp.concatenate([z.astype(of_language.dtype), of_language], axis=-1))

  def projection(self, word_embedding: jax.Array) -> tuple[jax.Array, jax.Array]:
    """See `Head.projection`."""
    return self.head.projection(word_embedding)


class Decoder(nn.Module):
  """The RTL decoder: a small masked LM that reads token states of x and fills the slots of y.

  DAP (arXiv 2305.09148) section 3.2 and its released program: the target slots pass through the
  embedding layer twice, so they carry two position embeddings. The pivot's half, be it source or
  target, starts at position `max_tokens`, the padded length of the other half, whatever the length
  of this batch. Where targets have several languages, the vector of its language is added to each
  slot after the first pass, to those that show h(y) too (none for the pivot's): nothing else says
  in which language to write.

  Attributes:
    family: the encoder's sizes; the parameters are the decoder's own.
    layers: of the decoder, the last ones of the encoder where it starts from its parameters.
    max_tokens: the position at which the pivot's half starts.
    head_size: ids that the head predicts.
    tied: whether the head's kernel is the decoder's word embedding.
    mask_id: of the [MASK] token that fills the slots.
    languages: of targets; 0 = a single one, which needs no vector.
  """

  family: Family
  layers: int
  max_tokens: int
  head_size: int
  tied: bool
  mask_id: int
  languages: int

  def setup(self) -> None:
    self.embeddings = self.family.embeddings()
    if self.languages:
      width, dtype = self.family.width, self.family.dtype
      self.language = Embed(self.languages, width, dtype=dtype, embedding_init=INITIALIZER)
    first = self.family.layers - self.layers  # the last layers of an encoder, as DAP starts them
    self.stack = [
      self.family.layer(first + i, name=f"layers_{i}", in_decoder=True) for i in range(self.layers)
    ]
    self.final_norm = self.family.final_norm()
    self.head = Head(self.family, self.head_size, self.tied)

  def __call__(
    self,
    h: jax.Array,
    *,
    source_mask: jax.Array,
    target_h: jax.Array,
    target_mask: jax.Array,
    replaced: jax.Array,
    language: jax.Array,
    to_pivot: bool,
    deterministic: bool,
  ) -> jax.Array:
    """The states from which `projection` makes the logits of the target.

    Args:
      h, target_h: [B, L, D], the encoder's token states of source and target.
      source_mask, target_mask: bool [B, L], True = real token.
      replaced: bool [B, L], slots that hold [MASK]; the others hold `target_h`, the answer.
      language: int32 [B], of the target; not read where there is one language.
      to_pivot: whether the target is the pivot, else the source is.
      deterministic: no dropout.

    Returns:
      [B, L, D], for `projection`.
    """
    offset, positions = self.family.position_offset, jnp.arange(target_h.shape[1])
    slots = spread(self.embeddings.word.row(self.mask_id), target_h.shape)
    slots = self.embeddings.place(slots, offset + positions, deterministic=deterministic)
    slots = jnp.where(replaced[..., None], slots, target_h)
    if self.languages:
      of_language = jnp.where(language[:, None] > 0, self.language(language), 0)[:, None]
      slots += spread(of_language, slots.shape)
    slots = sharding.by_rows(slots)
    x = jnp.concatenate([h, slots], axis=1)
    first, second = (0, self.max_tokens) if to_pivot else (self.max_tokens, 0)
    positions = jnp.concatenate([first + jnp.arange(h.shape[1]), second + positions])
    positions = offset + positions
    x = sharding.by_rows(self.embeddings.place(x, positions, deterministic=deterministic))
    # Neither the [CLS] of x nor the [CLS] slot of y may be read: RTL must work from the tokens.
    readable = jnp.concatenate(
      [source_mask.at[:, 0].set(False), target_mask.at[:, 0].set(False)], axis=1
    )
    for layer in self.stack:
      x = sharding.by_rows(layer(x, readable, positions, deterministic=deterministic))
    x = x[:, h.shape[1] :]
    x = x if self.final_norm is None else self.final_norm(x)
    return self.head(x)

  def projection(self) -> tuple[jax.Array, jax.Array]:
    """Kernel [D, V_en] and bias [V_en] of the logits."""
    return self.head.projection(self.embeddings.word.embedding)
