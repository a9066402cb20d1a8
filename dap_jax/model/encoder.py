"""The encoder of any family: ids -> the states of every layer.

A family is a frozen dataclass of sizes that makes its own parts. What it offers:

    vocabulary_size, layers, width, heads, norm_eps, dropout, dtype
    position_offset             the first position: 0; padding id + 1 in the RoBERTa line, M2M-100
    positions                   how many positions it has, the offset included
    head_bias                   whether dense and norm of the masked-LM head have a bias
    layers_alike                whether one layer with other parameters is any other layer
    embeddings()                a module with `word`, an `Embed`, and `place(x, positions)`
    layer(index, name=...)      a module x, mask, positions -> x
    final_norm()                what follows the last layer, or None
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dap_jax.distributed import sharding
from dap_jax.model.architectures.bert import Bert
from dap_jax.model.architectures.m2m100 import M2M100
from dap_jax.model.architectures.modernbert import ModernBert

Family = Bert | ModernBert | M2M100

# What a layer keeps for its backward pass: everything, nothing but its input, or the results of
# its matrix multiplications with parameters.
REMATS = {
  "none": None,
  "layers": jax.checkpoint_policies.nothing_saveable,
  "matmuls": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class Encoder(nn.Module):
  """The layers of one family, one after the other.

  Attributes:
    family: sizes.
    remat: what layers keep for the backward pass, one of `REMATS`; they compute the rest again.
    scan: whether the program holds one layer and a loop over the layers' parameters, which are
      the same either way. It compiles faster, and draws other dropout masks.
  """

  family: Family
  remat: str = "none"
  scan: bool = False

  def setup(self) -> None:
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
    types: jax.Array | None = None,
  ) -> list[jax.Array]:
    """ids int32 [N, L], mask bool [N, L] -> `layers + 1` arrays [N, L, D], embeddings first.

    `positions`: int32 [1, L], from 0, where they are not 0, 1, 2, ...
    `types`: int32 [N, L], token types, where they are not 0; of a family that has several.
    """
    offset = self.family.position_offset
    if positions is None:
      places = positions = offset + jnp.arange(ids.shape[1])
      if offset and deterministic:
        places = transformers_positions(ids, pad_id=offset - 1)
    else:
      places = positions = offset + positions[0]
    typed = {} if types is None else {"types": types}
    words = self.embeddings.word(ids)
    x = self.embeddings.place(words, places, deterministic=deterministic, **typed)
    x = sharding.by_rows(x)
    layers = self._scanned if self.scan and not self.is_initializing() else self._unrolled
    hidden = [x, *layers(x, mask, positions, deterministic=deterministic)]
    if self.final_norm is not None:
      hidden[-1] = self.final_norm(hidden[-1])
    return hidden

  def _unrolled(
    self, x: jax.Array, mask: jax.Array, positions: jax.Array, *, deterministic: bool
  ) -> list[jax.Array]:
    """[N, L, D] -> the states of each layer."""

    def apply(layer: nn.Module, *arrays: jax.Array) -> jax.Array:
      return sharding.by_rows(layer(*arrays, deterministic=deterministic))

    if self.remat != "none":
      apply = nn.remat(apply, policy=REMATS[self.remat])
    hidden = []
    for layer in self.stack:
      x = apply(layer, x, mask, positions)
      hidden.append(x)
    return hidden

  def _scanned(
    self, x: jax.Array, mask: jax.Array, positions: jax.Array, *, deterministic: bool
  ) -> list[jax.Array]:
    """As `_unrolled`, for layers that are all alike."""
    layer = self.stack[0].clone(parent=None)
    params = [self._in_compute_dtype(one.variables["params"]) for one in self.stack]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    keys = None
    if not deterministic:
      keys = jax.random.split(self.make_rng("dropout"), len(self.stack))

    def apply(
      x: jax.Array, params_and_key: tuple[Any, jax.Array | None]
    ) -> tuple[jax.Array, jax.Array]:
      params, key = params_and_key
      rngs = None if key is None else {"dropout": key}
      states: Any = layer.apply(
        {"params": params}, x, mask, positions, deterministic=deterministic, rngs=rngs
      )
      x = sharding.by_rows(states)
      return x, x

    if self.remat != "none":
      apply = jax.checkpoint(apply, policy=REMATS[self.remat], prevent_cse=False)
    last, hidden = jax.lax.scan(apply, x, (stacked, keys))
    return [*hidden[:-1], last]  # where nothing reads the others, only `last` stays in memory

  def _in_compute_dtype(self, params: Any) -> Any:
    """Casts what a layer would cast anyway before it is stacked: half the memory for the copy."""

    def cast(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
      norm = "norm" in jax.tree_util.keystr(path)
      return leaf if norm or self.family.dtype is None else leaf.astype(self.family.dtype)

    return jax.tree_util.tree_map_with_path(cast, params)


def transformers_positions(ids: jax.Array, *, pad_id: int) -> jax.Array:
  """Positions of the RoBERTa line and M2M-100, int32 [N, L].

  The padding id is at `pad_id`, wherever it stands; the others count from `pad_id + 1`. These are
  0, 1, 2, ... and the offset, but in a text that spells out the padding token, and for the rare
  config whose padding id is not the tokenizer's. Training places such a text like any other: the
  positions of a batch are then one row.
  """
  is_real = (ids != pad_id).astype(jnp.int32)
  return pad_id + is_real * jnp.cumsum(is_real, axis=1)
