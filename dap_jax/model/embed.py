"""The table of word embeddings, the one parameter that is read by rows and not multiplied."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from dap_jax.distributed import sharding


class Embed(nn.Embed):
  """nn.Embed for a table that the mesh's axis `fsdp` cuts: collected before it is read.

  Looked up as it lies, each device would have a part of the width of other devices' tokens, and
  what is then sent around are token states, which grow with the batch.
  """

  def __call__(self, ids: jax.Array) -> jax.Array:
    """ids int32 [...] -> [..., D]."""
    (table,) = self.promote_dtype(self.embedding, dtype=self.dtype, inexact=False)
    assert table is not None
    return jnp.take(sharding.gathered(table, "model", None), ids, axis=0)
