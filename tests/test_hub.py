"""Weights in and out: against transformers' own BertModel, byte for byte and number for number."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from dap_jax import embedder
from dap_jax.data import tokenizer
from dap_jax.errors import UserError
from dap_jax.hub import from_hf, names, to_hf

MODEL = {
  "layers": 3,
  "width": 48,
  "heads": 4,
  "mlp_width": 96,
  "positions": 40,
  "token_types": 2,
  "position_offset": 0,
  "norm_eps": 1e-12,
  "dropout": 0.1,
  "pooling": "cls",
  "projection": True,
  "compute_dtype": "float32",
}
TEXTS = ["red page", "old user opens the page", "", "x" * 500]


def bert(vocabulary_size):
  torch.manual_seed(0)
  sizes = to_hf.bert_config(MODEL, vocabulary_size=vocabulary_size)
  config = transformers.BertConfig(**{k: v for k, v in sizes.items() if "dtype" not in k})
  return transformers.BertModel(config, add_pooling_layer=False).eval()


def arrays_of(module):
  return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tokenizer")
  tokenizer.train(
    ["red page", "old user opens the page", "new file"] * 9, vocabulary_size=23, directory=folder
  )
  return folder


def written(folder, tokenizer_folder, **changes):
  to_hf.write(
    folder,
    encoder=names.encoder_to_flax(arrays_of(bert(23))),
    model={**MODEL, **changes},
    tokenizer_directory=tokenizer_folder,
    max_tokens=16,
    readme="# a card\n",
  )
  return folder


def test_torch_to_flax_to_torch_is_byte_equal():
  tensors = arrays_of(bert(23))
  back = names.encoder_to_torch(names.encoder_to_flax(tensors))
  assert set(back) == set(tensors)
  for name, array in tensors.items():
    assert back[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_our_encoder_is_transformers_and_the_folder_loads(tmp_path, tokenizer_folder, pooling):
  """Loaded by sentence-transformers and by us: the same unit vectors."""
  sentence_transformers = pytest.importorskip("sentence_transformers", reason="requirements-dev")
  folder = written(tmp_path / "model", tokenizer_folder, pooling=pooling)
  theirs = sentence_transformers.SentenceTransformer(str(folder)).encode(TEXTS)
  np.testing.assert_allclose(embedder.load(folder).encode(TEXTS), theirs, atol=1e-6)
  np.testing.assert_allclose(np.linalg.norm(theirs, axis=1), 1.0, rtol=1e-5)


def test_padded_states_are_transformers(tokenizer_folder):
  """Every layer's states at real tokens, padding in the batch."""
  module = bert(23)
  tokens = tokenizer.Tokenizer.load(tokenizer_folder, max_tokens=16)
  network = embedder.encoder_of(MODEL, tokenizer=tokens, max_tokens=16)
  ids = np.random.default_rng(0).integers(5, 23, (3, 16))
  mask = np.arange(16) < np.array([[16], [9], [4]])
  with torch.no_grad():
    expected = module(
      torch.from_numpy(ids), attention_mask=torch.from_numpy(mask).long(), output_hidden_states=True
    ).hidden_states
  params = {"params": names.encoder_to_flax(arrays_of(module))}
  hidden = network.encoder.apply(params, jnp.array(ids), jnp.array(mask), deterministic=True)
  assert len(hidden) == len(expected) == 4
  for ours, theirs in zip(hidden, expected, strict=True):
    np.testing.assert_allclose(ours[mask], theirs.numpy()[mask], atol=1e-5)


def test_missing_and_unknown_tensors_are_listed_at_once():
  tensors = arrays_of(bert(23))
  tensors["surprise"] = tensors.pop("embeddings.LayerNorm.weight")
  tensors["pooler.dense.weight"] = np.zeros(1)  # dropped on purpose
  with pytest.raises(UserError, match="surprise") as error:
    names.encoder_to_flax(tensors)
  assert "embeddings.LayerNorm.weight" in str(error.value)
  assert "pooler" not in str(error.value)


def test_what_the_layout_cannot_say_is_refused_and_leaves_nothing(tmp_path, tokenizer_folder):
  for change in ({"pooling": "mean_top2"}, {"position_offset": 2}):
    with pytest.raises(UserError, match=next(iter(change))):
      written(tmp_path / "model", tokenizer_folder, **change)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["cut", "no_pooling", "lying_config"])
def test_a_broken_folder_is_one_clear_error(tmp_path, tokenizer_folder, damage):
  folder = written(tmp_path / "model", tokenizer_folder)
  if damage == "cut":
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
  elif damage == "no_pooling":
    (folder / "1_Pooling" / "config.json").unlink()
  else:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 24}))
  with pytest.raises(UserError, match=str(folder)):
    from_hf.read(folder)
