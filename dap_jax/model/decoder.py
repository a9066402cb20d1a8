"""The decoder of representation translation learning (RTL); shapes: `dap_jax/model/__init__.py`."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from dap_jax.cross_entropy import FactoredLogits
from dap_jax.model.attention import INITIALIZER
from dap_jax.model.encoder import Family


class Head(nn.Module):
  """The masked-LM head: dense, GELU, LayerNorm, projection onto ids."""

  family: Family
  size: int
  tied: bool

  @nn.compact
  def __call__(self, x: jax.Array, word_embedding: jax.Array) -> FactoredLogits:
    """x [N, L, D] -> factors of the logits [N, L, size]; `word_embedding` [V, D] if tied."""
    width, like = x.shape[-1], self.family
    shared = {"use_bias": like.head_bias, "dtype": like.dtype}
    x = nn.Dense(width, **shared, kernel_init=INITIALIZER, name="dense")(x)
    x = nn.gelu(x, approximate=False)
    x = nn.LayerNorm(epsilon=like.norm_eps, **shared, name="norm")(x)
    kernel, bias = Projection(self.size, self.tied, name="vocabulary")(width)
    return FactoredLogits(x, word_embedding.T if self.tied else kernel, bias)


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

  family: Family  # the encoder's sizes; the parameters are the decoder's own
  layers: int
  max_tokens: int
  head_size: int
  tied: bool
  mask_id: int

  def setup(self):
    self.embeddings = self.family.embeddings()
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
    deterministic: bool,
  ) -> FactoredLogits:
    """Logits at the target positions only.

    Args:
      h, target_h: [B, L, D], the encoder's token states of source and target.
      source_mask, target_mask: bool [B, L], True = real token.
      replaced: bool [B, L], slots that hold [MASK]; the others hold `target_h`, the answer.
      deterministic: no dropout.

    Returns:
      The factors of logits [B, L, V_en].
    """
    offset, positions = self.family.position_offset, jnp.arange(target_h.shape[1])
    masks = jnp.full(target_mask.shape, self.mask_id, jnp.int32)
    slots = self.embeddings.place(
      self.embeddings.word(masks), offset + positions, deterministic=deterministic
    )
    slots = jnp.where(replaced[..., None], slots, target_h)
    x = jnp.concatenate([h, slots], axis=1)
    positions = jnp.concatenate([jnp.arange(h.shape[1]), self.max_tokens + positions])
    positions = offset + positions
    x = self.embeddings.place(x, positions, deterministic=deterministic)
    # Neither the [CLS] of x nor the [CLS] slot of y may be read: RTL must work from the tokens.
    readable = jnp.concatenate(
      [source_mask.at[:, 0].set(False), target_mask.at[:, 0].set(False)], axis=1
    )
    for layer in self.stack:
      x = layer(x, readable, positions, deterministic=deterministic)
    x = x[:, h.shape[1] :]
    x = x if self.final_norm is None else self.final_norm(x)
    return self.head(x, self.embeddings.word.embedding)
