"""The model that trains: encoder, pooling, projection, heads; shapes: `model/__init__.py`."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dap_jax.model.attention import INITIALIZER
from dap_jax.model.decoder import BagHead, Decoder, TokenHead
from dap_jax.model.encoder import Encoder
from dap_jax.model.layers import Dense
from dap_jax.model.pooling import parts_of, pool
from dap_jax.model.task_heads import TaskHead
from dap_jax.model.vector_decoder import VectorDecoder

ACTIVATIONS = {"identity": lambda x: x, "tanh": jnp.tanh}


class Encodings(NamedTuple):
  """What the encoder makes of a batch.

  Attributes:
    h: [B, K, L, D], last-layer token states, in the compute dtype.
    pooled: [B, K, D_out], pooled states, through the model's dense layer if it has one: the
      sentence vector that evaluation and export use.
    z: [B, K, D], the sentence vector that training contrasts (pooled, then projected if asked).
  """

  h: jax.Array
  pooled: jax.Array
  z: jax.Array


class DualAlignment(nn.Module):
  """The model that trains: the shared encoder, its training-only projection, the RTL decoder.

  Attributes:
    encoder, decoder: the networks; no decoder where nothing trains one.
    masked_lm, unmasking: heads that predict masked tokens, of MLM and TLM and of MEXMA; or None.
    bag_of_tokens: the head that predicts a translation's tokens from a sentence vector; or None.
    vector_decoder: writes a translation from a sentence vector; or None.
    pooling: see `model.pooling`.
    dense_width: D_out of a dense layer after the pooling, a part of the model; 0 = none.
    dense_activation: its activation, one of `ACTIVATIONS`.
    normalize: whether the sentence vectors of evaluation and export have unit length.
    projection: whether training contrasts tanh(Linear(pooled)).
    classifier: the head of fine-tuning; or None.
  """

  encoder: Encoder
  decoder: Decoder | None
  masked_lm: TokenHead | None
  unmasking: TokenHead | None
  bag_of_tokens: BagHead | None
  vector_decoder: VectorDecoder | None
  pooling: str
  dense_width: int
  dense_activation: str
  normalize: bool
  projection: bool
  classifier: TaskHead | None = None

  def setup(self) -> None:
    family = self.encoder.family
    if self.dense_width:
      self.dense = Dense(self.dense_width, dtype=family.dtype, kernel_init=INITIALIZER)
    if self.projection:
      self.project = Dense(
        family.width, dtype=family.dtype, kernel_init=INITIALIZER, name="projection"
      )

  @property
  def vector_width(self) -> int:
    """D_out of the sentence vectors of evaluation and export."""
    return self.dense_width or len(parts_of(self.pooling)) * self.encoder.family.width

  def encode(
    self,
    ids: jax.Array,
    mask: jax.Array,
    *,
    deterministic: bool,
    positions: jax.Array | None = None,
    types: jax.Array | None = None,
  ) -> Encodings:
    """ids int32 [B, K, L], mask bool [B, K, L] -> `Encodings`; the others: see `Encoder`.

    `types`: int32 [B, K, L].
    """
    shape = ids.shape  # [B, K, L] -> [B*K, L] moves nothing between devices
    flat_ids, flat_mask = ids.reshape(-1, shape[-1]), mask.reshape(-1, shape[-1])
    flat_types = None if types is None else types.reshape(-1, shape[-1])
    hidden = self.encoder(
      flat_ids, flat_mask, deterministic=deterministic, positions=positions, types=flat_types
    )
    pooled = pool(hidden, flat_mask, pooling=self.pooling)
    if self.dense_width:
      pooled = ACTIVATIONS[self.dense_activation](self.dense(pooled))
    z = jnp.tanh(self.project(pooled)) if self.projection else pooled
    accumulate = jnp.promote_types(z.dtype, jnp.float32)
    return Encodings(
      h=hidden[-1].reshape(*shape, -1),
      pooled=pooled.reshape(*shape[:-1], -1).astype(accumulate),
      z=z.reshape(*shape[:-1], -1).astype(accumulate),
    )

  def hidden(self, ids: jax.Array, mask: jax.Array) -> list[jax.Array]:
    """ids int32 [N, L], mask bool [N, L] -> the states of every layer, see `Encoder.__call__`."""
    return self.encoder(ids, mask, deterministic=True)

  # A head gives states, and its projection (kernel [D, V] and bias [V]) makes logits of them. The
  # two are separate, since the logits of all tokens at once would not fit in memory.

  def decode(self, h: jax.Array, **arguments: Any) -> jax.Array:
    """See `Decoder.__call__`."""
    assert self.decoder is not None
    return self.decoder(h, **arguments)

  def decode_projection(self) -> tuple[jax.Array, jax.Array]:
    """See `Decoder.projection`."""
    assert self.decoder is not None
    return self.decoder.projection()

  def predict(
    self, h: jax.Array, mask: jax.Array, positions: jax.Array, *, deterministic: bool
  ) -> jax.Array:
    """The masked-LM head, see `TokenHead.__call__`."""
    assert self.masked_lm is not None
    return self.masked_lm(h, mask, positions, deterministic=deterministic)

  def predict_projection(self) -> tuple[jax.Array, jax.Array]:
    """See `TokenHead.projection`; the kernel is the encoder's word embeddings."""
    assert self.masked_lm is not None
    return self.masked_lm.projection(self.encoder.embeddings.word.embedding)

  def unmask(
    self, h: jax.Array, mask: jax.Array, positions: jax.Array, *, deterministic: bool
  ) -> jax.Array:
    """MEXMA's unmasking head, see `TokenHead.__call__`."""
    assert self.unmasking is not None
    return self.unmasking(h, mask, positions, deterministic=deterministic)

  def unmask_projection(self) -> tuple[jax.Array, jax.Array]:
    """See `TokenHead.projection`; the kernel is the encoder's word embeddings."""
    assert self.unmasking is not None
    return self.unmasking.projection(self.encoder.embeddings.word.embedding)

  def predict_bag(self, z: jax.Array, *, language: jax.Array, deterministic: bool) -> jax.Array:
    """See `BagHead.__call__`; it has no dropout."""
    del deterministic
    assert self.bag_of_tokens is not None
    return self.bag_of_tokens(z, language)

  def predict_bag_projection(self) -> tuple[jax.Array, jax.Array]:
    """See `BagHead.projection`; the kernel is the encoder's word embeddings."""
    assert self.bag_of_tokens is not None
    return self.bag_of_tokens.projection(self.encoder.embeddings.word.embedding)

  def translate(
    self,
    z: jax.Array,
    *,
    ids: jax.Array,
    mask: jax.Array,
    language: jax.Array,
    deterministic: bool,
  ) -> jax.Array:
    """The vector decoder: z [N, D_z] and a target's ids [N, L] -> states, see `VectorDecoder`."""
    assert self.vector_decoder is not None
    embeddings, positions = self.encoder.embeddings, jnp.arange(ids.shape[1])
    positions += self.encoder.family.position_offset
    x = self.vector_decoder.start(z, language, embeddings.word(ids))
    x = embeddings.place(x, positions, deterministic=deterministic)
    return self.vector_decoder(x, mask, positions, deterministic=deterministic)

  def translate_projection(self) -> tuple[jax.Array, jax.Array]:
    """See `VectorDecoder.projection`; the kernel is the encoder's word embeddings."""
    assert self.vector_decoder is not None
    return self.vector_decoder.projection(self.encoder.embeddings.word.embedding)

  def classify(self, h: jax.Array, vectors: jax.Array, *, deterministic: bool) -> jax.Array:
    """The head of fine-tuning, see `TaskHead.__call__`."""
    assert self.classifier is not None
    return self.classifier(h, vectors, deterministic=deterministic)

  def initialise(self, ids: jax.Array, mask: jax.Array) -> None:
    """Touches every parameter, for `init`: ids int32 [B, K, L], mask bool [B, K, L]."""
    h, pooled, z = self.encode(ids, mask, deterministic=True)
    language = jnp.zeros(len(h), jnp.int32)
    if self.classifier is not None:
      self.classify(h[:, 0], pooled[:, 0], deterministic=True)
    places = jnp.zeros((len(h), 1), jnp.int32)
    if self.masked_lm is not None:
      self.predict(h[:, 0], mask[:, 0], places, deterministic=True)
      self.predict_projection()
    if self.unmasking is not None:
      self.unmask(h[:, 0], mask[:, 0], places, deterministic=True)
      self.unmask_projection()
    if self.bag_of_tokens is not None:
      self.predict_bag(z[:, 0], language=language, deterministic=True)
      self.predict_bag_projection()
    if self.vector_decoder is not None:
      given = {"ids": ids[:, 0], "mask": mask[:, 0], "language": language}
      self.translate(z[:, 0], **given, deterministic=True)
      self.translate_projection()
    if self.decoder is not None:
      self.decode(
        h[:, 1],
        source_mask=mask[:, 1],
        target_h=h[:, 0],
        target_mask=mask[:, 0],
        replaced=mask[:, 0],
        language=language,
        to_pivot=True,
        deterministic=True,
      )
      self.decode_projection()
