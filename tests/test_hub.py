"""Weights in and out: against transformers' own models, byte for byte and number for number."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import sentence_transformers
import torch
import transformers

from dap_jax.data import tokenizer_training
from dap_jax.distributed import parameters, sharding
from dap_jax.hub import from_hf, to_hf, weights
from dap_jax.inference import embedder, encoder_network
from dap_jax.utils import trees
from dap_jax.utils.errors import UserError
from tests.models import ENCODERS, model_section, transformers_model

TEXTS = ["red page", "old user opens the page", "", "x" * 500]
TYPES = list(ENCODERS)


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tokenizer")
  tokenizer_training.train(
    ["red page", "old user opens the page", "new file"] * 9, vocabulary_size=23, directory=folder
  )
  return folder


def saved(folder, module, tokenizer_folder):
  """A checkpoint's folder as transformers writes it, with our tokenizer."""
  module.save_pretrained(folder)
  transformers.AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(folder)
  return folder


def written(folder, params, section, tokenizer_folder, *, pad, max_tokens, dtype="float32"):
  """Exports an encoder."""
  to_hf.write_folder(
    folder,
    params=params,
    model_config=section,
    english_ids=None,
    tokenizer_directory=tokenizer_folder,
    special_ids={"pad": pad, "cls": 2, "sep": 3},
    max_tokens=max_tokens,
    readme="",
    dtype=dtype,
  )


def network_of(checkpoint, *, size, max_tokens=24):
  """Our network for an imported folder, and its parameters."""
  tokens = type("Tokens", (), {"size": size, "pad_id": 0, "cls_id": 2, "sep_id": 3, "mask_id": 4})
  section = model_section(**checkpoint.model_config)
  network = encoder_network.encoder_of(section, tokenizer=tokens, max_tokens=max_tokens)
  abstract = encoder_network.abstract_params(network, sharding.make_mesh(data=-1, model=1))
  return network, parameters.place(from_hf.encoder_leaves(checkpoint), abstract)


@pytest.mark.parametrize("model_type", TYPES)
def test_states_are_transformers(tmp_path, tokenizer_folder, model_type):
  """Every layer's states at real tokens, padding in the batch."""
  module = transformers_model(model_type, vocabulary_size=23)
  network, params = network_of(
    from_hf.read_folder(saved(tmp_path, module, tokenizer_folder)), size=23
  )
  ids = np.random.default_rng(0).integers(5, 23, (3, 24))
  mask = np.arange(24) < np.array([[24], [17], [4]])
  ids[~mask] = module.config.pad_token_id
  with torch.no_grad():
    expected = module.base_model(
      torch.from_numpy(ids), attention_mask=torch.from_numpy(mask).long(), output_hidden_states=True
    ).hidden_states
  hidden = network.encoder.apply(
    {"params": params["encoder"]}, jnp.array(ids), jnp.array(mask), deterministic=True
  )
  assert len(hidden) == len(expected)
  for states, reference in zip(hidden, expected, strict=True):
    np.testing.assert_allclose(states[mask], reference.numpy()[mask], atol=1e-5)


@pytest.mark.parametrize("model_type", TYPES)
def test_torch_to_flax_to_torch_to_flax_is_byte_equal(tmp_path, tokenizer_folder, model_type):
  module = transformers_model(model_type, vocabulary_size=23)
  checkpoint = from_hf.read_folder(saved(tmp_path / "in", module, tokenizer_folder))
  _, params = network_of(checkpoint, size=23)
  section = model_section(**checkpoint.model_config)
  pad = module.config.pad_token_id
  written(tmp_path / "out", params, section, tokenizer_folder, pad=pad, max_tokens=24)
  stored = safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
  tensors = {name: array.numpy() for name, array in module.base_model.state_dict().items()}
  extra = {name: array for name, array in stored.items() if name not in tensors}
  assert all(name.startswith("pooler.") and not array.any() for name, array in extra.items())
  for name, array in tensors.items():
    assert stored[name].tobytes() == array.tobytes(), name
  back = from_hf.read_folder(tmp_path / "out")
  assert back.model_config["encoder"] == checkpoint.model_config["encoder"]
  assert back.max_tokens == 24
  ours, again = trees.flatten(params), trees.flatten(network_of(back, size=23)[1])
  assert set(ours) == set(again)
  for path, array in ours.items():
    assert np.asarray(array).tobytes() == np.asarray(again[path]).tobytes(), path
  # AutoModel has the whole translation model for m2m_100.
  kind = type(module) if model_type == "m2m_100" else transformers.AutoModel
  loaded, report = kind.from_pretrained(tmp_path / "out", output_loading_info=True)
  assert type(loaded) is type(module.base_model)
  assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("dense", [0, 20])
def test_sentence_transformers_reads_what_we_write(tmp_path, tokenizer_folder, model_type, dense):
  """And we read what it writes: the same vectors, of the same length."""
  module = transformers_model(model_type, vocabulary_size=23)
  checkpoint = from_hf.read_folder(saved(tmp_path / "in", module, tokenizer_folder))
  section = model_section(
    encoder=checkpoint.model_config["encoder"],
    pooling="cls",
    normalize=not dense,
    dense={"width": dense, "activation": "tanh"},
  )
  params = network_of(checkpoint, size=23)[1]
  if dense:
    kernel = np.random.default_rng(0).normal(0, 0.1, (48, dense)).astype(np.float32)
    params["dense"] = {"kernel": kernel, "bias": kernel[0]}
  written(
    tmp_path / "out",
    params,
    section,
    tokenizer_folder,
    pad=module.config.pad_token_id,
    max_tokens=16,
  )
  peer = sentence_transformers.SentenceTransformer(str(tmp_path / "out"))
  vectors = peer.encode(TEXTS)
  assert vectors.shape[1] == (dense or 48)
  if not dense:
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
  np.testing.assert_allclose(embedder.load(str(tmp_path / "out")).encode(TEXTS), vectors, atol=2e-6)
  peer.save(str(tmp_path / "theirs"))  # in the layout of its own version
  again = embedder.load(str(tmp_path / "theirs")).encode(TEXTS)
  np.testing.assert_allclose(again, vectors, atol=2e-6)


@pytest.mark.parametrize("dense", [0, 20])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits(tmp_path, tokenizer_folder, dtype, dense):
  """The rounded weights, in half the bytes; sentence-transformers computes in them."""
  module = transformers_model("bert", vocabulary_size=23)
  checkpoint = from_hf.read_folder(saved(tmp_path / "in", module, tokenizer_folder))
  section = model_section(
    encoder=checkpoint.model_config["encoder"],
    pooling="mean",
    dense={"width": dense, "activation": "tanh"},
  )
  params = network_of(checkpoint, size=23)[1]
  if dense:
    kernel = np.random.default_rng(0).normal(0, 0.1, (48, dense)).astype(np.float32)
    params["dense"] = {"kernel": kernel, "bias": kernel[0]}
  shared = {"pad": module.config.pad_token_id, "max_tokens": 16}
  sizes, folders = [], [tmp_path / "whole", tmp_path / "half"]
  for folder, name in zip(folders, ("float32", dtype), strict=True):
    written(folder, params, section, tokenizer_folder, dtype=name, **shared)
    assert transformers.AutoConfig.from_pretrained(folder).dtype == getattr(torch, name)
    sizes.append((folder / "model.safetensors").stat().st_size)
  assert 0.45 < sizes[1] / sizes[0] < 0.65  # the header stays
  ours, half = embedder.load(str(folders[1])), str(folders[1])
  whole = sentence_transformers.SentenceTransformer(half, model_kwargs={"dtype": torch.float32})
  np.testing.assert_allclose(ours.encode(TEXTS), whole.encode(TEXTS), atol=2e-6)
  peer = sentence_transformers.SentenceTransformer(half)
  assert next(peer.parameters()).dtype == getattr(torch, dtype)
  vectors = np.float32(peer.encode(TEXTS))
  assert ((vectors * ours.encode(TEXTS)).sum(1) > 0.99).all()
  jax.tree.map(
    lambda ours, whole: np.testing.assert_array_equal(
      ours, np.asarray(whole, dtype=weights.FLOATS[dtype]).astype(np.float32)
    ),
    ours.params["encoder"],
    jax.device_get(params["encoder"]),
  )


def test_a_dtype_that_is_too_small():
  tensors = {"a": np.array([1e5], np.float32), "ids": np.array([3], np.int32)}
  with pytest.raises(UserError, match="a has values that are too large for float16"):
    weights.cast(tensors, "float16")
  assert weights.cast(tensors, "bfloat16")["ids"].dtype == np.int32


def test_old_names_and_half_precision(tmp_path, tokenizer_folder):
  """LayerNorm's gamma and beta, a pooler, and bfloat16 in several files, as old checkpoints are."""
  module = transformers_model("bert", vocabulary_size=23).to(torch.bfloat16)
  folder = saved(tmp_path, module, tokenizer_folder)
  tensors = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
  tensors["bert.pooler.dense.weight"] = torch.zeros(48, 48, dtype=torch.bfloat16)
  tensors = {
    name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
      "LayerNorm.bias", "LayerNorm.beta"
    ): tensor.clone()
    for name, tensor in tensors.items()
  }
  (folder / "model.safetensors").unlink()
  where = {}
  for number, name in enumerate(tensors):
    where[name] = f"model-0000{number % 2 + 1}-of-00002.safetensors"
  for file in set(where.values()):
    part = {name: tensor for name, tensor in tensors.items() if where[name] == file}
    safetensors.torch.save_file(part, folder / file)
  (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
  _, params = network_of(from_hf.read_folder(folder), size=23)
  word = params["encoder"]["embeddings"]["word"]["embedding"]
  assert word.dtype == jnp.float32
  expected = module.base_model.embeddings.word_embeddings.weight.detach().float().numpy()
  np.testing.assert_array_equal(word, expected)
  expected = module.base_model.embeddings.LayerNorm.weight.detach().float().numpy()
  np.testing.assert_array_equal(params["encoder"]["embeddings"]["norm"]["scale"], expected)


def test_a_shard_goes_to_its_device(tmp_path, tokenizer_folder):
  """On a 4 x 2 mesh each device holds its own part, equal to the whole read at once."""
  module = transformers_model("modernbert", vocabulary_size=24)
  checkpoint = from_hf.read_folder(saved(tmp_path, module, tokenizer_folder))
  network, whole = network_of(checkpoint, size=23)
  abstract = encoder_network.abstract_params(network, sharding.make_mesh(data=-1, model=1))
  abstract = parameters.with_shardings(abstract, sharding.make_mesh(data=4, model=2))
  spread = parameters.place(from_hf.encoder_leaves(checkpoint), abstract)
  qkv = spread["encoder"]["layers_1"]["qkv"]["kernel"]
  assert {shard.data.shape for shard in qkv.addressable_shards} == {(48, 3, 24)}
  for path, array in trees.flatten(spread).items():
    np.testing.assert_array_equal(array, trees.flatten(whole)[path], err_msg=path)


def test_an_export_that_fails_leaves_nothing_and_takes_nothing(tmp_path, tokenizer_folder):
  """Neither a part of the folder, nor a neighbour that happens to be called like a part."""
  module = transformers_model("bert", vocabulary_size=23)
  checkpoint = from_hf.read_folder(saved(tmp_path / "in", module, tokenizer_folder))
  params = network_of(checkpoint, size=23)[1]
  section = model_section(**checkpoint.model_config)
  (tmp_path / "out.tmp").mkdir()
  with pytest.raises(UserError, match="cannot be written"):
    written(tmp_path / "out", params, section, tmp_path / "none", pad=0, max_tokens=8)
  with pytest.raises(UserError, match="model.pooling='mean_top2' cannot be exported"):
    top2 = {**section, "pooling": "mean_top2"}
    written(tmp_path / "out", params, top2, tokenizer_folder, pad=0, max_tokens=8)
  offset = {**section, "encoder": {**section["encoder"], "position_offset": 2}}
  with pytest.raises(UserError, match="position_offset=2 cannot be exported as bert"):
    written(tmp_path / "out", params, offset, tokenizer_folder, pad=0, max_tokens=8)
  assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.tmp"]
