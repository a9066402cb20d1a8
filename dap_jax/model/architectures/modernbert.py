"""The ModernBERT family (arXiv 2412.13663), mmBERT among it.

LayerNorm before each branch, rotary positions, GeGLU, no biases; every `global_every`-th layer
attends to all tokens, the others to those within `window` on each side.
`dap_jax/model/__init__.py` explains shapes and dtypes, `model/encoder.py` what a family offers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from dap_jax.model.attention import INITIALIZER, attend, visible
from dap_jax.model.dropout import Dropout
from dap_jax.model.layers import Embed


def rotate(x: jax.Array, positions: jax.Array, *, theta: float) -> jax.Array:
  """Rotary positions (RoFormer, arXiv 2104.09864), the halves of a head paired.

  x [N, L, A, d], positions int32 [L] -> [N, L, A, d], in float32 or wider.
  """
  dtype = jnp.promote_types(x.dtype, jnp.float32)
  half = x.shape[-1] // 2
  frequencies = theta ** (-jnp.arange(half, dtype=dtype) / half)
  angles = (positions.astype(dtype)[:, None] * frequencies[None])[None, :, None]  # [1, L, 1, d/2]
  first, second = jnp.split(x.astype(dtype), 2, axis=-1)
  cos, sin = jnp.cos(angles), jnp.sin(angles)
  return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def norm(sizes: ModernBert, name: str | None = None) -> nn.LayerNorm:
  """LayerNorm without a bias."""
  return nn.LayerNorm(epsilon=sizes.norm_eps, use_bias=False, dtype=sizes.dtype, name=name)


class Embeddings(nn.Module):
  """Word embeddings with LayerNorm and dropout; positions enter in the layers."""

  sizes: ModernBert

  def setup(self) -> None:
    sizes = self.sizes
    self.word = Embed(
      sizes.vocabulary_size, sizes.width, dtype=sizes.dtype, embedding_init=INITIALIZER
    )
    self.norm = norm(sizes)
    self.drop = Dropout(sizes.dropout)

  def place(self, x: jax.Array, positions: jax.Array, *, deterministic: bool) -> jax.Array:
    """x [N, L, D] -> LayerNorm, dropout -> [N, L, D]."""
    del positions
    return self.drop(self.norm(x), deterministic=deterministic)


class Layer(nn.Module):
  """One layer with LayerNorm before each branch.

  Attributes:
    sizes: of the encoder.
    first: the first layer of an encoder has no LayerNorm before its attention.
    window: tokens seen on each side; None = all.
    theta: base of the rotary frequencies.
  """

  sizes: ModernBert
  first: bool
  window: int | None
  theta: float

  @nn.compact
  def __call__(
    self, x: jax.Array, mask: jax.Array, positions: jax.Array, *, deterministic: bool
  ) -> jax.Array:
    """x [N, L, D], mask bool [N, L] or [N, L, L] (True = may be read), positions int32 [L]."""
    sizes = self.sizes
    drop = functools.partial(Dropout(sizes.dropout), deterministic=deterministic)

    def dense(features: int | tuple[int, ...], name: str) -> nn.DenseGeneral:
      return nn.DenseGeneral(
        features, use_bias=False, dtype=sizes.dtype, kernel_init=INITIALIZER, name=name
      )

    y = x if self.first else norm(sizes, "attention_norm")(x)
    y = self._attend(dense((3, sizes.width), "qkv")(y), mask, positions, drop=drop)
    x = x + drop(dense(sizes.width, "output")(y))
    y = dense((2, sizes.mlp_width), "gated_in")(norm(sizes, "mlp_norm")(x))
    y = nn.gelu(y[..., 0, :], approximate=False) * y[..., 1, :]
    output: jax.Array = x + dense(sizes.width, "mlp_out")(drop(y))
    return output

  def _attend(
    self,
    qkv: jax.Array,
    mask: jax.Array,
    positions: jax.Array,
    *,
    drop: Callable[[jax.Array], jax.Array],
  ) -> jax.Array:
    """Queries, keys and values [N, L, 3, D] -> the mixed values, [N, L, D]."""
    heads, depth = self.sizes.heads, self.sizes.width // self.sizes.heads
    qkv = qkv.reshape(*qkv.shape[:3], heads, depth)
    query, key = (
      rotate(qkv[:, :, i], positions, theta=self.theta).astype(qkv.dtype) for i in range(2)
    )
    readable = visible(mask)
    if self.window is not None:
      near = jnp.abs(positions[:, None] - positions[None, :]) <= self.window
      readable = readable & near[None, None]
    return attend(query, key, qkv[:, :, 2], visible=readable, drop=drop)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModernBert:
  """Sizes of an encoder of this family.

  Attributes:
    vocabulary_size: ids.
    layers, width, heads, mlp_width: L, D, A, H.
    positions: the longest sequence it was made for; there is no table.
    norm_eps: of every LayerNorm.
    global_every: layers 0, n, 2n, ... attend to all tokens.
    window: tokens that the other layers see on each side.
    global_theta, local_theta: bases of the rotary frequencies in the two kinds of layers.
    dropout: of embeddings, attention weights, its output and the MLP.
    dtype: the compute dtype; None = that of the parameters.
  """

  vocabulary_size: int
  layers: int
  width: int
  heads: int
  mlp_width: int
  positions: int
  norm_eps: float
  global_every: int
  window: int
  global_theta: float
  local_theta: float
  dropout: float
  dtype: jnp.dtype | None

  position_offset, head_bias, layers_alike = 0, False, False

  def embeddings(self) -> Embeddings:
    """The module of the word embeddings."""
    return Embeddings(self)

  def layer(self, index: int, *, name: str, in_decoder: bool = False) -> Layer:
    """Layer `index`; in a decoder every layer sees all tokens, since a window would cut y from x.

    That is our choice: the paper of DAP has no local attention.
    """
    everywhere = index % self.global_every == 0
    return Layer(
      self,
      first=index == 0,
      window=None if everywhere or in_decoder else self.window,
      theta=self.global_theta if everywhere else self.local_theta,
      name=name,
    )

  def final_norm(self) -> nn.LayerNorm:
    """What follows the last layer."""
    return norm(self)
