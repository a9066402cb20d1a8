"""The project's tokenizer as a SeqIO vocabulary, so that SeqIO's own preprocessors can use it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import seqio
import tensorflow as tf

from dap_jax.data.tokenizer import Tokenizer


class TokenizerVocabulary(seqio.Vocabulary):
  """`data.tokenizer.Tokenizer` behind SeqIO's interface.

  Unlike SeqIO's own vocabularies it gives whole sequences, `[CLS] tokens [SEP]`, cut to the
  tokenizer's `max_tokens`: only the tokenizer knows of special tokens, so no preprocessor needs to
  add them.
  """

  def __init__(self, tokenizer: Tokenizer):
    super().__init__(extra_ids=0)
    self._tokenizer = tokenizer

  @property
  def bos_id(self) -> int:
    return self._tokenizer.cls_id

  @property
  def eos_id(self) -> int:
    return self._tokenizer.sep_id

  @property
  def unk_id(self) -> int | None:
    return self._tokenizer.unk_id

  @property
  def _base_vocab_size(self) -> int:
    return self._tokenizer.size

  def _encode(self, s: str) -> Sequence[int]:
    return self._tokenizer.encode_ragged([s])[0]

  def _decode(self, ids: Iterable[int]) -> str:
    return self._tokenizer.decode(ids)

  def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
    def encode(text: bytes) -> np.ndarray:
      return np.asarray(self._encode(text.decode("utf-8")), np.int32)

    ids = tf.numpy_function(encode, [s], tf.int32, stateful=False)
    return tf.ensure_shape(ids, [None])

  def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
    def decode(ids: np.ndarray) -> bytes:
      return self._decode(ids.tolist()).encode("utf-8")

    return tf.numpy_function(decode, [ids], tf.string, stateful=False)
