"""The encoder of the BERT / XLM-R family.

Numerics follow BERT (arXiv 1810.04805): post-LayerNorm, learned positions, exact (erf) GELU.
`dap_jax/model/__init__.py` explains shapes and dtypes.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

INITIALIZER = nn.initializers.normal(0.02)  # BERT's


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
