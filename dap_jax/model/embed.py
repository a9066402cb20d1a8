"""The table of word embeddings, whose rows are looked up."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from dap_jax.distributed import sharding


class Embed(nn.Embed):
  """nn.Embed for a table that the mesh's axis `fsdp` shards: collected before it is read.

  Otherwise each device would look up its part of the width for the tokens of all devices, and the
  devices would exchange token states, which grow with the batch.
  """

  def __call__(self, ids: jax.Array) -> jax.Array:
    """ids int32 [...] -> [..., D]."""
    (table,) = self.promote_dtype(self.embedding, dtype=self.dtype, inexact=False)
    assert table is not None
    return jnp.take(sharding.gathered(table, "model", None), ids, axis=0)
