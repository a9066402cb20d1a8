"""The networks: an encoder of the BERT / XLM-R family, poolings, and the RTL decoder (Flax Linen).

Shape legend: B meanings, K renderings, N = B*K sequences, L tokens, D width, H mlp width,
A heads, V ids, V_en ids of the RTL head.

Numerics follow BERT (arXiv 1810.04805): post-LayerNorm, learned positions, exact (erf) GELU.
Parameters are float32; `dtype` is the compute dtype, LayerNorm statistics and softmax stay float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

POOLINGS = ("cls", "mean", "mean_top2", "mean_first_last")
INITIALIZER = nn.initializers.normal(0.02)  # BERT's


class Encodings(NamedTuple):
  """What the encoder makes of a batch.

  Attributes:
    h: [B, K, L, D], last-layer token states, in the compute dtype.
    pooled: [B, K, D], pooled states: the sentence vector that evaluation and export use.
    z: [B, K, D], the sentence vector that training contrasts (pooled, then projected if asked).
  """

  h: jax.Array
  pooled: jax.Array
  z: jax.Array


def pool(hidden: Sequence[jax.Array], mask: jax.Array, *, pooling: str) -> jax.Array:
  """One vector a sequence: `hidden` (embeddings, then each layer) [N, L, D], mask [N, L] -> [N, D].

  Means run over the real tokens, [CLS] and [SEP] included, in float32.
  """
  if pooling == "cls":
    return hidden[-1][:, 0]
  layers = {
    "mean": hidden[-1:],
    "mean_top2": hidden[-2:],
    "mean_first_last": [hidden[0], hidden[-1]],
  }[pooling]
  states = sum(jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32)) for x in layers)
  weights = mask[..., None].astype(states.dtype)
  return (states * weights).sum(1) / weights.sum(1) / len(layers)


class Embeddings(nn.Module):
  """Word, position and type embeddings with LayerNorm and dropout."""

  vocabulary_size: int
  width: int
  positions: int
  token_types: int
  norm_eps: float
  dropout: float
  dtype: jnp.dtype

  def setup(self):
    def table(rows):
      return nn.Embed(rows, self.width, dtype=self.dtype, embedding_init=INITIALIZER)

    self.word = table(self.vocabulary_size)
    self.position = table(self.positions)
    self.token_type = table(self.token_types)
    self.norm = nn.LayerNorm(epsilon=self.norm_eps, dtype=self.dtype)
    self.drop = nn.Dropout(self.dropout)

  def place(self, x: jax.Array, positions: jax.Array, *, deterministic: bool) -> jax.Array:
    """x [N, L, D] + position [L] or [N, L] + type 0, LayerNorm, dropout -> [N, L, D]."""
    placed = x + self.position(positions).reshape(-1, *x.shape[1:])
    placed += self.token_type(jnp.zeros((1, 1), jnp.int32))
    return self.drop(self.norm(placed), deterministic=deterministic)


class Attention(nn.Module):
  """Multi-head self-attention over the columns that `mask` shows."""

  heads: int
  dropout: float
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array, *, deterministic: bool) -> jax.Array:
    """x [N, L, D], mask bool [N, L] (True = may be read) -> [N, L, D]."""
    width = x.shape[-1]

    def dense(name):
      return nn.Dense(width, dtype=self.dtype, kernel_init=INITIALIZER, name=name)

    def split(y):
      return y.reshape(*y.shape[:-1], self.heads, width // self.heads)

    query, key, value = (split(dense(name)(x)) for name in ("query", "key", "value"))
    query = query / jnp.sqrt(width // self.heads).astype(query.dtype)
    scores = jnp.einsum("nqad,nkad->naqk", query, key)
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    scores = jnp.where(mask[:, None, None, :], scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    weights = nn.Dropout(self.dropout)(weights, deterministic=deterministic)
    mixed = jnp.einsum("naqk,nkad->nqad", weights, value)
    return dense("output")(mixed.reshape(x.shape))


class Layer(nn.Module):
  """One transformer layer with LayerNorm after each residual sum."""

  heads: int
  mlp_width: int
  norm_eps: float
  dropout: float
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array, *, deterministic: bool) -> jax.Array:
    """x [N, L, D], mask bool [N, L] -> [N, L, D]."""

    def dense(features, name):
      return nn.Dense(features, dtype=self.dtype, kernel_init=INITIALIZER, name=name)

    def norm(name):
      return nn.LayerNorm(epsilon=self.norm_eps, dtype=self.dtype, name=name)

    drop = nn.Dropout(self.dropout, deterministic=deterministic)
    attention = Attention(self.heads, self.dropout, self.dtype, name="attention")
    x = norm("attention_norm")(x + drop(attention(x, mask, deterministic=deterministic)))
    y = nn.gelu(dense(self.mlp_width, "mlp_in")(x), approximate=False)
    return norm("mlp_norm")(x + drop(dense(x.shape[-1], "mlp_out")(y)))


def embeddings_like(sizes: Encoder) -> Embeddings:
  """Embeddings of an encoder's sizes; a new module of whoever calls it in `setup`."""
  return Embeddings(
    vocabulary_size=sizes.vocabulary_size,
    width=sizes.width,
    positions=sizes.positions,
    token_types=sizes.token_types,
    norm_eps=sizes.norm_eps,
    dropout=sizes.dropout,
    dtype=sizes.dtype,
  )


def layers_like(sizes: Encoder, count: int) -> list[Layer]:
  """`count` layers of an encoder's sizes, named `layers_0`, `layers_1`, ..."""
  return [
    Layer(
      heads=sizes.heads,
      mlp_width=sizes.mlp_width,
      norm_eps=sizes.norm_eps,
      dropout=sizes.dropout,
      dtype=sizes.dtype,
      name=f"layers_{i}",
    )
    for i in range(count)
  ]


class Encoder(nn.Module):
  """BERT-type encoder: ids -> the states of every layer."""

  vocabulary_size: int
  layers: int
  width: int
  heads: int
  mlp_width: int
  positions: int
  token_types: int
  position_offset: int  # first position: 0 for BERT, padding index + 1 for XLM-R
  norm_eps: float
  dropout: float
  dtype: jnp.dtype

  def setup(self):
    self.embeddings = embeddings_like(self)
    self.stack = layers_like(self, self.layers)

  def __call__(self, ids: jax.Array, mask: jax.Array, *, deterministic: bool) -> list[jax.Array]:
    """ids int32 [N, L], mask bool [N, L] -> `layers + 1` arrays [N, L, D], embeddings first."""
    positions = self.position_offset + jnp.arange(ids.shape[1])
    x = self.embeddings.place(self.embeddings.word(ids), positions, deterministic=deterministic)
    hidden = [x]
    for layer in self.stack:
      x = layer(x, mask, deterministic=deterministic)
      hidden.append(x)
    return hidden


class Head(nn.Module):
  """The masked-LM head: dense, GELU, LayerNorm, projection onto ids."""

  size: int
  tied: bool
  norm_eps: float
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array, word_embedding: jax.Array) -> jax.Array:
    """x [N, L, D] -> logits [N, L, size], float32 or wider; `word_embedding` [V, D] if tied."""
    width = x.shape[-1]
    x = nn.Dense(width, dtype=self.dtype, kernel_init=INITIALIZER, name="dense")(x)
    x = nn.LayerNorm(epsilon=self.norm_eps, dtype=self.dtype, name="norm")(
      nn.gelu(x, approximate=False)
    )
    kernel, bias = Projection(self.size, self.tied, name="vocabulary")(width)
    kernel = word_embedding.T if self.tied else kernel
    accumulate = jnp.promote_types(x.dtype, jnp.float32)
    logits = jnp.dot(x, kernel.astype(x.dtype), preferred_element_type=accumulate)
    return logits + bias.astype(logits.dtype)[None, None]


class Projection(nn.Module):
  """Holds the parameters of the projection onto ids: a bias, and a kernel unless it is tied."""

  size: int
  tied: bool

  @nn.compact
  def __call__(self, width: int) -> tuple[jax.Array | None, jax.Array]:
    kernel = None if self.tied else self.param("kernel", INITIALIZER, (width, self.size))
    return kernel, self.param("bias", nn.initializers.zeros, (self.size,))


class Decoder(nn.Module):
  """The RTL decoder: a small masked LM that reads token states of x and fills the slots of y.

  DAP (arXiv 2305.09148) section 3.2 and its released program: the target slots pass through the
  embedding layer twice, so they carry two position embeddings. They start at position `max_tokens`,
  the padded source length, whatever the length of this batch.
  """

  encoder: Encoder  # its sizes; the decoder has its own parameters
  layers: int
  max_tokens: int
  head_size: int
  tied: bool
  mask_id: int

  def setup(self):
    like = self.encoder
    self.embeddings = embeddings_like(like)
    self.stack = layers_like(like, self.layers)
    self.head = Head(self.head_size, self.tied, like.norm_eps, like.dtype)

  def __call__(
    self,
    h: jax.Array,
    *,
    source_mask: jax.Array,
    target_h: jax.Array,
    target_mask: jax.Array,
    replaced: jax.Array,
    deterministic: bool,
  ) -> jax.Array:
    """Logits at the target positions only.

    Args:
      h, target_h: [B, L, D], the encoder's token states of source and target.
      source_mask, target_mask: bool [B, L], True = real token.
      replaced: bool [B, L], slots that hold [MASK]; the others hold `target_h`, the answer.
      deterministic: no dropout.

    Returns:
      float32 [B, L, V_en].
    """
    offset, positions = self.encoder.position_offset, jnp.arange(target_h.shape[1])
    masks = jnp.full(target_mask.shape, self.mask_id, jnp.int32)
    slots = self.embeddings.place(
      self.embeddings.word(masks), offset + positions, deterministic=deterministic
    )
    slots = jnp.where(replaced[..., None], slots, target_h)
    x = jnp.concatenate([h, slots], axis=1)
    positions = jnp.concatenate([jnp.arange(h.shape[1]), self.max_tokens + positions])
    x = self.embeddings.place(x, offset + positions, deterministic=deterministic)
    # Neither the [CLS] of x nor the [CLS] slot of y may be read: RTL must work from the tokens.
    readable = jnp.concatenate(
      [source_mask.at[:, 0].set(False), target_mask.at[:, 0].set(False)], axis=1
    )
    for layer in self.stack:
      x = layer(x, readable, deterministic=deterministic)
    return self.head(x[:, h.shape[1] :], self.embeddings.word.embedding)


class DualAlignment(nn.Module):
  """The model that trains: the shared encoder, its training-only projection, the RTL decoder."""

  encoder: Encoder
  decoder: Decoder | None
  pooling: str
  projection: bool

  def setup(self):
    if self.projection:
      self.project = nn.Dense(
        self.encoder.width,
        dtype=self.encoder.dtype,
        kernel_init=INITIALIZER,
        name="projection",
      )

  def encode(self, ids: jax.Array, mask: jax.Array, *, deterministic: bool) -> Encodings:
    """ids int32 [B, K, L], mask bool [B, K, L] -> `Encodings`."""
    shape = ids.shape  # [B, K, L] -> [B*K, L] moves nothing between devices
    flat_ids, flat_mask = ids.reshape(-1, shape[-1]), mask.reshape(-1, shape[-1])
    hidden = self.encoder(flat_ids, flat_mask, deterministic=deterministic)
    pooled = pool(hidden, flat_mask, pooling=self.pooling)
    z = jnp.tanh(self.project(pooled)) if self.projection else pooled
    accumulate = jnp.promote_types(z.dtype, jnp.float32)
    return Encodings(
      h=hidden[-1].reshape(*shape, -1),
      pooled=pooled.reshape(*shape[:-1], -1).astype(accumulate),
      z=z.reshape(*shape[:-1], -1).astype(accumulate),
    )

  def decode(self, h: jax.Array, **arguments) -> jax.Array:
    """See `Decoder.__call__`."""
    return self.decoder(h, **arguments)

  def initialise(self, ids: jax.Array, mask: jax.Array) -> None:
    """Touches every parameter, for `init`: ids int32 [B, K, L], mask bool [B, K, L]."""
    h = self.encode(ids, mask, deterministic=True).h
    if self.decoder is not None:
      self.decode(
        h[:, 1],
        source_mask=mask[:, 1],
        target_h=h[:, 0],
        target_mask=mask[:, 0],
        replaced=mask[:, 0],
        deterministic=True,
      )
