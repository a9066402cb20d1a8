"""Broken and hostile folders: one clear error that names all of it, and nothing left behind."""

import json
import pickle
import struct

import numpy as np
import pytest
import safetensors.numpy
import transformers
from etils import epath

from dap_jax.data import tokenizer_training
from dap_jax.hub import configs, download, weights
from dap_jax.inference import embedder
from dap_jax.utils.errors import UserError
from tests.models import transformers_model

MMBERT = {
  "model_type": "modernbert",
  "hidden_size": 768,
  "intermediate_size": 1152,
  "num_hidden_layers": 22,
  "num_attention_heads": 12,
  "vocab_size": 256_000,
  "max_position_embeddings": 8192,
  "global_attn_every_n_layers": 3,
  "local_attention": 128,
  "global_rope_theta": 160_000.0,
  "local_rope_theta": None,
  "norm_eps": 1e-5,
  "layer_norm_eps": 1e-5,
  "position_embedding_type": "sans_pos",
  "hidden_activation": "gelu",
  "attention_bias": False,
  "decoder_bias": True,
}

LISTED = [
  {"path": path, "type": f"sentence_transformers.models.{kind}"}
  for path, kind in (("", "Transformer"), ("1_P", "Pooling"))
]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
  """A BERT checkpoint with its tokenizer and sentence-transformers' files around it."""
  folder = tmp_path_factory.mktemp("good")
  texts = ["red page", "old user opens the page", "new file"] * 9
  tokenizer_training.train(texts, vocabulary_size=23, directory=folder)
  transformers_model("bert", vocabulary_size=23).save_pretrained(folder)
  assert embedder.load(str(folder)).encode(["red page"]).shape == (1, 48)
  return folder


@pytest.fixture
def folder(good, tmp_path):
  """A copy to damage."""
  copy = tmp_path / "model"
  copy.mkdir()
  for file in good.iterdir():
    (copy / file.name).write_bytes(file.read_bytes())
  return copy


def change_tensors(folder, change):
  tensors = safetensors.numpy.load_file(folder / "model.safetensors")
  change(tensors)
  safetensors.numpy.save_file(tensors, folder / "model.safetensors")


def change_json(path, **changes):
  path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder):
  """The one message with which the folder is refused."""
  with pytest.raises(UserError) as error:
    embedder.load(str(folder))
  message = str(error.value)
  assert "\n" not in message
  assert str(folder) in message
  return message


def test_missing_unknown_and_misshapen_tensors_are_listed_at_once(folder):
  def change(tensors):
    tensors["surprise"] = tensors.pop("bert.embeddings.LayerNorm.weight")
    tensors["bert.encoder.layer.1.output.dense.bias"] = np.zeros(7, np.float32)
    tensors["bert.pooler.dense.bias"] = np.zeros(48, np.float32)  # dropped on purpose

  change_tensors(folder, change)
  message = refused(folder)
  assert "missing embeddings.LayerNorm.weight" in message
  assert "unknown surprise" in message
  assert "encoder.layer.1.output.dense.bias is [7], expected [48]" in message
  assert "pooler" not in message


def test_pickles_are_refused_unread_with_the_command_that_converts(folder):
  class Bomb:
    def __reduce__(self):
      return (open, (str(folder / "exploded"), "w"))

  (folder / "model.safetensors").unlink()
  (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
  message = refused(folder)
  assert "pickled" in message
  assert "save_pretrained" in message
  assert not (folder / "exploded").exists()


@pytest.mark.parametrize("length", [0, 5, 1000, -1])
def test_cut_weights(folder, length):
  file = folder / "model.safetensors"
  file.write_bytes(file.read_bytes()[:length])
  assert "cannot be read" in refused(folder)


def test_a_flipped_bit_of_an_export_is_noticed(folder):
  """And a file that another program wrote again, without our digest, is read as any other's."""
  file = folder / "model.safetensors"
  tensors = safetensors.numpy.load_file(file)
  weights.write_tensors(epath.Path(file), tensors)
  whole = embedder.load(str(folder)).encode(["red page"])
  original = file.read_bytes()
  start = 8 + struct.unpack("<Q", original[:8])[0]
  for place in np.random.default_rng(0).integers(start, len(original), 20):
    damaged = bytearray(original)
    damaged[place] ^= 1 << (place % 8)
    file.write_bytes(damaged)
    assert "its tensors are not those that were exported" in refused(folder)
  safetensors.numpy.save_file(tensors, file)
  np.testing.assert_array_equal(embedder.load(str(folder)).encode(["red page"]), whole)


def test_a_header_that_points_outside_the_file(folder):
  header = json.dumps({"x": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
  (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"1234")
  assert "cannot be read" in refused(folder)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "..", "a/b.safetensors"])
def test_an_index_that_leaves_the_folder(folder, name):
  (folder.parent / "secret.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
  (folder / "model.safetensors").unlink()
  index = {"weight_map": {"bert.embeddings.LayerNorm.weight": name}}
  (folder / "model.safetensors.index.json").write_text(json.dumps(index))
  assert "expected a file of the same folder" in refused(folder)


def test_a_link_out_of_the_folder_is_a_file_like_any_other(folder):
  """The hub's own cache is made of links, so they are followed."""
  file = folder / "model.safetensors"
  file.rename(folder.parent / "blob")
  file.symlink_to(folder.parent / "blob")
  embedder.load(str(folder))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"vocab_size": 24}, "is [23, 48], expected [24, 48]"),
    ({"num_hidden_layers": 4}, "missing encoder.layer.3"),
    ({"num_hidden_layers": 2}, "unknown encoder.layer.2"),
    ({"intermediate_size": 97}, "expected [97, 48]"),
    ({"num_attention_heads": 5}, "not divisible by 5 heads"),
    ({"hidden_size": "48"}, "expected a number"),
    ({"hidden_size": -48}, "expected 1 or more"),
    ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
    ({"model_type": "t5"}, "model_type 't5' is none of bert"),
    ({"is_decoder": True}, "is_decoder is True"),
    ({"num_hidden_layers": 3000}, " more"),
    ({"max_position_embeddings": 10**12}, "expected [1000000000000, 48]"),
    ({"hidden_size": 4e20}, "hidden_size is 4e+20, expected a number"),
    ({"layer_norm_eps": -1.0}, "layer_norm_eps is -1.0, expected more than 0"),
    ({"layer_norm_eps": float("nan")}, "layer_norm_eps is nan, expected more than 0"),
  ],
)
def test_a_config_that_lies(folder, changes, message):
  change_json(folder / "config.json", **changes)
  assert message in refused(folder)


@pytest.mark.parametrize("content", ["", "[1", "3", "[" * 100_000])
def test_a_config_that_is_no_json_object(folder, content):
  (folder / "config.json").write_text(content)
  assert "cannot read" in refused(folder)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"global_attn_every_n_layers": 0}, "expected 1 or more"),
    ({"local_attention": "128"}, "expected a number"),
    ({"rope_scaling": {"type": "yarn"}}, "rope_scaling"),
    ({"norm_bias": True}, "norm_bias is True"),
    ({"layer_types": ["full_attention", "full_attention", "sliding_attention"]}, "no fixed period"),
  ],
)
def test_a_modernbert_that_we_do_not_have(changes, message):
  with pytest.raises(UserError, match=message):
    configs.encoder_section({**MMBERT, **changes}, where="config.json")


def test_mmberts_own_config_is_read():
  """Its keys as the hub has them: an option of BERT's that means nothing here, and a null."""
  section = configs.encoder_section(MMBERT, where="config.json")
  assert section["global_every"] == 3
  assert section["window"] == 64
  assert section["global_theta"] == section["local_theta"] == 160_000.0
  assert section["vocabulary_size"] == 256_000


def test_two_names_for_one_tensor(folder):
  name = "bert.embeddings.LayerNorm."
  change_tensors(folder, lambda t: t.update({f"{name}gamma": t[f"{name}weight"]}))
  assert "two tensors for embeddings.LayerNorm.weight" in refused(folder)


def test_integers_are_no_weights(folder):
  name = "bert.embeddings.LayerNorm.bias"
  change_tensors(folder, lambda t: t.update({name: t[name].astype(np.int64)}))
  assert "embeddings.LayerNorm.bias holds int64" in refused(folder)


def test_a_head_that_is_there_in_part(folder):
  change_tensors(folder, lambda t: t.pop("cls.predictions.transform.dense.weight"))
  assert "missing cls.predictions.transform.dense.weight" in refused(folder)


def test_a_strange_folder_called_decoder_is_not_ours(folder):
  (folder / "decoder").mkdir()
  embedder.load(str(folder))


@pytest.mark.parametrize(
  ("architecture", "message"),
  [
    ("BertModel", "import AutoModel as"),
    ("BertForMaskedLM", "MaskedLM as"),
    ("M2M100Encoder", "m2m_100 import M2M100Encoder as"),
  ],
)
def test_the_conversion_makes_up_no_head(folder, architecture, message):
  (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
  change_json(folder / "config.json", architectures=[architecture])
  assert message in refused(folder)


def test_another_file_system():
  with pytest.raises(UserError, match="copy it here first"):
    download.local_folder("gs://bucket/model")


def test_left_truncation_is_refused(folder):
  change_json(folder / "tokenizer_config.json", truncation_side="left")
  assert "truncation_side" in refused(folder)


def test_a_tokenizer_larger_than_the_embedding(folder):
  loaded = transformers.AutoTokenizer.from_pretrained(folder)
  loaded.add_tokens(["[ONE]", "[TWO]"])
  loaded.save_pretrained(folder)
  with pytest.raises(UserError, match="ids up to 24, the word embedding only 23 rows"):
    embedder.load(str(folder))


@pytest.mark.parametrize(
  ("modules", "message"),
  [
    ([("../model", "Transformer"), ("", "Pooling")], "expected a folder of the model"),
    ([("/tmp", "Transformer"), ("", "Pooling")], "expected a folder of the model"),
    ([("", "Transformer"), ("1_P", "Pooling"), ("2", "LSTM")], "type 'sentence_transformers"),
    ([("", "custom_st.Transformer"), ("1_P", "Pooling")], "a module of type 'custom_st.Transf"),
    ([("", "sentence_transformersX.Transformer"), ("1_P", "Pooling")], "a module of type"),
    ([("", "Transformer")], "expected Transformer, Pooling"),
    ([("", "Transformer"), ("1_P", "Pooling")], "cannot read"),
  ],
)
def test_modules_that_we_do_not_have(folder, modules, message):
  listed = [
    {"path": path, "type": kind if "." in kind else f"sentence_transformers.models.{kind}"}
    for path, kind in modules
  ]
  (folder / "modules.json").write_text(json.dumps(listed))
  assert message in refused(folder)


def test_a_pooling_that_we_do_not_have(folder):
  (folder / "modules.json").write_text(json.dumps(LISTED))
  (folder / "1_P").mkdir()
  for mode in ("median", ["cls", "median"], ["cls", "cls"], 3, [["cls"]]):
    (folder / "1_P" / "config.json").write_text(json.dumps({"pooling_mode": mode}))
    assert "expected one of cls, max, mean" in refused(folder)
