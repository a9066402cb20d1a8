"""The layer with LayerNorm before each branch and biases everywhere, and XLM-R XL (2105.00572).

XLM-R XL is RoBERTa in this order: no LayerNorm of the embeddings, one after the last layer.
`dap_jax/model/__init__.py` explains shapes and dtypes, `model/encoder.py` what a family offers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from dap_jax.model.architectures.bert import Attention, Bert
from dap_jax.model.attention import INITIALIZER
from dap_jax.model.dropout import Dropout
from dap_jax.model.layers import Dense


class Layer(nn.Module):
  """One transformer layer with LayerNorm before each branch."""

  heads: int
  mlp_width: int
  activation: Callable[[jax.Array], jax.Array]
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
    x = x + drop(attention(norm("attention_norm")(x), mask, deterministic=deterministic))
    y = self.activation(dense(self.mlp_width, "mlp_in")(norm("mlp_norm")(x)))
    output: jax.Array = x + drop(dense(x.shape[-1], "mlp_out")(y))
    return output


class PreNorm:
  """The parts of a family whose layers are this one; a dataclass of sizes inherits them."""

  heads: int
  mlp_width: int
  norm_eps: float
  dropout: float
  dtype: jnp.dtype | None

  @staticmethod
  def activation(x: jax.Array) -> jax.Array:
    """Of the layers' MLP: exact GELU."""
    return nn.gelu(x, approximate=False)

  def layer(self, index: int, *, name: str, in_decoder: bool = False) -> Layer:
    """Every layer is alike, in the decoder too."""
    del index, in_decoder
    return Layer(
      heads=self.heads,
      mlp_width=self.mlp_width,
      activation=self.activation,
      norm_eps=self.norm_eps,
      dropout=self.dropout,
      dtype=self.dtype,
      name=name,
    )

  def final_norm(self) -> nn.LayerNorm:
    """What follows the last layer."""
    return nn.LayerNorm(epsilon=self.norm_eps, dtype=self.dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class XlmRobertaXl(PreNorm, Bert):
  """Sizes of an encoder of this family: those of `Bert`."""

  normed_embeddings = False
