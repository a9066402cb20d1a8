"""The encoder of M2M-100 (arXiv 2010.11125), which NLLB-200 and SONAR's text encoder have too.

LayerNorm before each branch and after the last layer, sinusoidal positions, ReLU. Of the
translation model it is the encoder alone. `dap_jax/model/__init__.py` explains shapes and dtypes,
`model/encoder.py` what a family offers.
"""

from __future__ import annotations

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dap_jax.model.architectures.pre_norm import PreNorm
from dap_jax.model.attention import INITIALIZER
from dap_jax.model.dropout import Dropout
from dap_jax.model.layers import Embed, spread

LONGEST_WAVE = 10_000.0  # in positions / 2 pi


def sinusoids(positions: jax.Array, *, width: int, zero_at: int) -> jax.Array:
  """Position embeddings that have no parameters ("Attention Is All You Need", section 3.5).

  As in tensor2tensor, the sines of all frequencies come first, then the cosines.

  Args:
    positions: int32 [...].
    width: D, even and at least 4.
    zero_at: the position of padding, whose embedding is 0.

  Returns:
    float32 [..., D].
  """
  half = width // 2
  # Exponents in float32 and their exp rounded once, as nearly all of PyTorch's are: at position
  # 1,000 the last bit of a frequency moves a sine by 6e-5.
  exponents = np.arange(half, dtype=np.float32) * np.float32(-math.log(LONGEST_WAVE) / (half - 1))
  frequencies = jnp.asarray(np.exp(exponents.astype(np.float64)), jnp.float32)
  angles = positions[..., None].astype(jnp.float32) * spread(frequencies, (*positions.shape, half))
  waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
  return jnp.where(positions[..., None] == zero_at, 0.0, waves)


class ScaledEmbed(Embed):
  """Word embeddings times a constant; a projection that is tied to the table has it without."""

  scale: float = 1.0

  def __call__(self, ids: jax.Array) -> jax.Array:
    """ids int32 [...] -> [..., D]."""
    return super().__call__(ids) * self.scale


class Embeddings(nn.Module):
  """Word embeddings plus sinusoids, with dropout."""

  sizes: M2M100

  def setup(self) -> None:
    sizes = self.sizes
    self.word = ScaledEmbed(
      sizes.vocabulary_size,
      sizes.width,
      dtype=sizes.dtype,
      embedding_init=INITIALIZER,
      scale=math.sqrt(sizes.width) if sizes.scale_embedding else 1.0,
    )
    self.drop = Dropout(sizes.dropout)

  def place(self, x: jax.Array, positions: jax.Array, *, deterministic: bool) -> jax.Array:
    """x [N, L, D] + position [L] or [N, L], dropout -> [N, L, D]."""
    waves = sinusoids(
      positions, width=self.sizes.width, zero_at=self.sizes.position_offset - 1
    ).astype(x.dtype)
    placed = x + spread(waves.reshape(-1, *x.shape[1:]), x.shape)
    return self.drop(placed, deterministic=deterministic)


@dataclasses.dataclass(frozen=True, kw_only=True)
class M2M100(PreNorm):
  """Sizes of an encoder of this family.

  Attributes:
    vocabulary_size: ids.
    layers, width, heads, mlp_width: L, D, A, H.
    positions: the longest sequence it was made for, and the offset; there is no table.
    position_offset: the first position, padding id + 1.
    scale_embedding: whether word embeddings are multiplied by sqrt(D).
    dropout: of embeddings, attention weights and both residual branches.
    dtype: the compute dtype; None = that of the parameters.
  """

  vocabulary_size: int
  layers: int
  width: int
  heads: int
  mlp_width: int
  positions: int
  position_offset: int
  scale_embedding: bool
  dropout: float
  dtype: jnp.dtype | None

  head_bias = layers_alike = True
  norm_eps = 1e-5
  activation = staticmethod(nn.relu)

  def embeddings(self) -> Embeddings:
    """The module of the word embeddings."""
    return Embeddings(self)
