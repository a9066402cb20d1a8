"""The BERT family: BERT, (XLM-)RoBERTa, DistilBERT.

Numerics follow BERT (arXiv 1810.04805): post-LayerNorm, learned positions, exact (erf) GELU.
`dap_jax/model/__init__.py` explains shapes and dtypes, `model/encoder.py` what a family offers.
"""

from __future__ import annotations

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from dap_jax.model.attention import INITIALIZER, attend, visible
from dap_jax.model.dropout import Dropout
from dap_jax.model.layers import Dense, Embed, spread


class Embeddings(nn.Module):
  """Word, position and type embeddings with dropout, and with LayerNorm where they are `normed`."""

  vocabulary_size: int
  width: int
  positions: int
  token_types: int
  norm_eps: float
  dropout: float
  dtype: jnp.dtype | None
  normed: bool = True

  def setup(self) -> None:
    def table(rows: int) -> Embed:
      return Embed(rows, self.width, dtype=self.dtype, embedding_init=INITIALIZER)

    self.word, self.position = table(self.vocabulary_size), table(self.positions)
    if self.token_types:
      self.token_type = table(self.token_types)
    if self.normed:
      self.norm = nn.LayerNorm(epsilon=self.norm_eps, dtype=self.dtype)
    self.drop = Dropout(self.dropout)

  def place(
    self,
    x: jax.Array,
    positions: jax.Array,
    *,
    deterministic: bool,
    types: jax.Array | None = None,
  ) -> jax.Array:
    """x [N, L, D] + position [L] or [N, L] + type, LayerNorm, dropout -> [N, L, D].

    `types`: int32 [N, L]; None = 0 everywhere.
    """
    placed = x + spread(self.position(positions).reshape(-1, *x.shape[1:]), x.shape)
    if types is not None:
      placed += self.token_type(types)
    elif self.token_types:
      placed += spread(self.token_type(jnp.zeros((1, 1), jnp.int32)), x.shape)
    return self.drop(self.norm(placed) if self.normed else placed, deterministic=deterministic)


class Attention(nn.Module):
  """Multi-head self-attention over the columns that `mask` shows."""

  heads: int
  dropout: float
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array, *, deterministic: bool) -> jax.Array:
    """x [N, L, D], mask bool [N, L] or [N, L, L] (True = may be read) -> [N, L, D]."""
    width = x.shape[-1]

    def dense(name: str) -> Dense:
      return Dense(width, dtype=self.dtype, kernel_init=INITIALIZER, name=name)

    def split(y: jax.Array) -> jax.Array:
      return y.reshape(*y.shape[:-1], self.heads, width // self.heads)

    query, key, value = (split(dense(name)(x)) for name in ("query", "key", "value"))
    drop = functools.partial(Dropout(self.dropout), deterministic=deterministic)
    mixed = attend(query, key, value, visible=visible(mask), drop=drop)
    output: jax.Array = dense("output")(mixed)
    return output


class Layer(nn.Module):
  """One transformer layer with LayerNorm after each residual sum."""

  heads: int
  mlp_width: int
  norm_eps: float
  dropout: float
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(
    self, x: jax.Array, mask: jax.Array, positions: jax.Array, *, deterministic: bool
  ) -> jax.Array:
    """x [N, L, D], mask as of `Attention` -> [N, L, D]; positions came in with the embeddings."""
    del positions

    def dense(features: int, name: str) -> Dense:
      return Dense(features, dtype=self.dtype, kernel_init=INITIALIZER, name=name)

    def norm(name: str) -> nn.LayerNorm:
      return nn.LayerNorm(epsilon=self.norm_eps, dtype=self.dtype, name=name)

    drop = functools.partial(Dropout(self.dropout), deterministic=deterministic)
    attention = Attention(self.heads, self.dropout, self.dtype, name="attention")
    x = norm("attention_norm")(x + drop(attention(x, mask, deterministic=deterministic)))
    y = nn.gelu(dense(self.mlp_width, "mlp_in")(x), approximate=False)
    output: jax.Array = norm("mlp_norm")(x + drop(dense(x.shape[-1], "mlp_out")(y)))
    return output


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bert:
  """Sizes of an encoder of this family.

  Attributes:
    vocabulary_size: ids.
    layers, width, heads, mlp_width: L, D, A, H.
    positions: rows of the position table.
    token_types: rows of the type table; 0 = none, as in DistilBERT.
    position_offset: the first position; padding id + 1 in the RoBERTa line, else 0.
    norm_eps: of every LayerNorm.
    dropout: of embeddings, attention weights and both residual branches.
    dtype: the compute dtype; None = that of the parameters.
  """

  vocabulary_size: int
  layers: int
  width: int
  heads: int
  mlp_width: int
  positions: int
  token_types: int
  position_offset: int
  norm_eps: float
  dropout: float
  dtype: jnp.dtype | None

  head_bias = layers_alike = normed_embeddings = True

  def embeddings(self) -> Embeddings:
    return Embeddings(
      vocabulary_size=self.vocabulary_size,
      width=self.width,
      positions=self.positions,
      token_types=self.token_types,
      norm_eps=self.norm_eps,
      dropout=self.dropout,
      dtype=self.dtype,
      normed=self.normed_embeddings,
    )

  def layer(self, index: int, *, name: str, in_decoder: bool = False) -> nn.Module:
    """Every layer is alike, in the decoder too."""
    del index, in_decoder
    return Layer(
      heads=self.heads,
      mlp_width=self.mlp_width,
      norm_eps=self.norm_eps,
      dropout=self.dropout,
      dtype=self.dtype,
      name=name,
    )

  def final_norm(self) -> nn.LayerNorm | None:
    """Post-LayerNorm: the last layer ends with its own."""
