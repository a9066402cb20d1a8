"""The encoder of any family: ids -> the states of every layer.

A family is a frozen dataclass of sizes that makes its own parts. What it offers:

    vocabulary_size, layers, width, heads, norm_eps, dropout, dtype
    position_offset             the first position: 0, or padding id + 1 in the RoBERTa line
    positions                   how many positions it has, the offset included
    head_bias                   whether dense and norm of the masked-LM head have a bias
    embeddings()                a module with `word`, an nn.Embed, and `place(x, positions)`
    layer(index, name=...)      a module x, mask, positions -> x
    final_norm()                what follows the last layer, or None
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from dap_jax.model.bert import Bert
from dap_jax.model.modernbert import ModernBert

Family = Bert | ModernBert


class Encoder(nn.Module):
  """The layers of one family, one after the other."""

  family: Family

  def setup(self):
    self.embeddings = self.family.embeddings()
    self.stack = [self.family.layer(i, name=f"layers_{i}") for i in range(self.family.layers)]
    self.final_norm = self.family.final_norm()

  def __call__(
    self,
    ids: jax.Array,
    mask: jax.Array,
    *,
    deterministic: bool,
    positions: jax.Array | None = None,
  ) -> list[jax.Array]:
    """ids int32 [N, L], mask bool [N, L] -> `layers + 1` arrays [N, L, D], embeddings first.

    `positions`: int32 [L], from 0, where they are not 0, 1, 2, ...
    """
    positions = jnp.arange(ids.shape[1]) if positions is None else positions
    positions = self.family.position_offset + positions
    x = self.embeddings.place(self.embeddings.word(ids), positions, deterministic=deterministic)
    hidden = [x]
    for layer in self.stack:
      x = layer(x, mask, positions, deterministic=deterministic)
      hidden.append(x)
    if self.final_norm is not None:
      hidden[-1] = self.final_norm(x)
    return hidden
