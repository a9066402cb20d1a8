"""The model with its parameters and dropout keys: what `loss_fn` and the objectives call.

B examples, K views, N sequences, L tokens, M places, D width, V ids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from dap_jax.core.cross_entropy import FactoredLogits
from dap_jax.core.microbatches import in_chunks
from dap_jax.model.dual_alignment import DualAlignment, Encodings


class BoundModel(NamedTuple):
  """A model whose parameters and dropout keys are filled in, so that arrays are all it takes.

  Encoder and heads run over chunks of rows, see `microbatches.py`. A key of None means no dropout.

  Attributes:
    model: encoder, projection, decoder and heads.
    params: its parameters.
    encode_key: PRNG key of the encoder's dropout.
    head_key: PRNG key of the heads' dropout. They share it, and still draw masks of their own,
      since flax mixes the name of a module into the key.
    microbatches: the number of chunks.
  """

  model: DualAlignment
  params: optax.Params
  encode_key: jax.Array | None = None
  head_key: jax.Array | None = None
  microbatches: int = 1

  def with_encode_key(self, key: jax.Array) -> BoundModel:
    """The same model with other dropout masks in the encoder; without dropout, itself."""
    return self if self.encode_key is None else self._replace(encode_key=key)

  def encode(
    self,
    ids: jax.Array,
    mask: jax.Array,
    *,
    positions: jax.Array | None = None,
    types: jax.Array | None = None,
  ) -> Encodings:
    """See `DualAlignment.encode`: ids int32 [B, K, L], mask bool [B, K, L]."""
    encodings: Encodings = self._apply(
      DualAlignment.encode, self.encode_key, ids, mask, positions=positions, types=types
    )
    return encodings

  def decode(
    self,
    h: jax.Array,
    *,
    source_mask: jax.Array,
    target_h: jax.Array,
    target_mask: jax.Array,
    replaced: jax.Array,
    language: jax.Array,
    to_pivot: bool,
  ) -> FactoredLogits:
    """The RTL decoder's logits [N, L, V] of the target's tokens; arguments: `Decoder.__call__`."""
    projection = self._projection(DualAlignment.decode_projection)
    states = self._apply(
      DualAlignment.decode,
      self.head_key,
      h,
      source_mask=source_mask,
      target_h=target_h,
      target_mask=target_mask,
      replaced=replaced,
      language=language,
      to_pivot=to_pivot,
    )
    return FactoredLogits(states, *projection)

  def predict(self, h: jax.Array, mask: jax.Array, positions: jax.Array) -> FactoredLogits:
    """The masked-LM head's logits [N, M, V] at some positions; arguments: `TokenHead.__call__`."""
    projection = self._projection(DualAlignment.predict_projection)
    states = self._apply(DualAlignment.predict, self.head_key, h, mask, positions)
    return FactoredLogits(states, *projection)

  def unmask(self, h: jax.Array, mask: jax.Array, positions: jax.Array) -> FactoredLogits:
    """The same of MEXMA's unmasking head."""
    projection = self._projection(DualAlignment.unmask_projection)
    states = self._apply(DualAlignment.unmask, self.head_key, h, mask, positions)
    return FactoredLogits(states, *projection)

  def predict_bag(self, z: jax.Array, *, language: jax.Array) -> FactoredLogits:
    """The bag-of-tokens head's logits [N, V]; arguments: `BagHead.__call__`."""
    projection = self._projection(DualAlignment.predict_bag_projection)
    states = self._apply(DualAlignment.predict_bag, self.head_key, z, language=language)
    return FactoredLogits(states, *projection)

  def translate(
    self, z: jax.Array, *, ids: jax.Array, mask: jax.Array, language: jax.Array
  ) -> FactoredLogits:
    """The vector decoder's logits [N, L, V] of each next token; see `DualAlignment.translate`."""
    projection = self._projection(DualAlignment.translate_projection)
    states = self._apply(
      DualAlignment.translate, self.head_key, z, ids=ids, mask=mask, language=language
    )
    return FactoredLogits(states, *projection)

  def classify(self, h: jax.Array, vectors: jax.Array) -> jax.Array:
    """The logits of the head of fine-tuning, see `TaskHead.__call__`."""
    logits: jax.Array = self._apply(DualAlignment.classify, self.head_key, h, vectors)
    return logits

  def hidden(self, ids: jax.Array, mask: jax.Array) -> list[jax.Array]:
    """The states of every layer, see `DualAlignment.hidden`: ids int32 [N, L], mask bool [N, L]."""
    states: Any = self.model.apply({"params": self.params}, ids, mask, method=DualAlignment.hidden)
    return list(states)

  def _projection(self, method: Callable[..., Any]) -> tuple[jax.Array, jax.Array]:
    """Kernel [D, V] and bias [V] that make logits of a head's states."""
    projection: Any = self.model.apply({"params": self.params}, method=method)
    kernel, bias = projection
    return kernel, bias

  def _apply(
    self, method: Callable[..., Any], key: jax.Array | None, *arrays: jax.Array, **arguments: Any
  ) -> Any:
    """Calls a method of the model over one chunk of rows after the other."""

    def apply(chunk_key: jax.Array | None, *arrays: jax.Array, **arguments: Any) -> Any:
      rngs = None if chunk_key is None else {"dropout": chunk_key}
      arguments |= {"deterministic": chunk_key is None, "rngs": rngs, "method": method}
      return self.model.apply({"params": self.params}, *arrays, **arguments)

    return in_chunks(apply, self.microbatches)(key, *arrays, **arguments)
