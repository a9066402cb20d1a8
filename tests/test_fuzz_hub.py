"""Damage to each file of a hub folder: a model or one line, nothing else (`tests/fuzzing.py`)."""

import json

import numpy as np
import pytest
import safetensors.numpy

from dap_jax.data.tokenizer import Tokenizer
from dap_jax.hub import from_hf, tokenizer_files
from tests import fuzzing
from tests.hub_folders import dumped, sentence_folder

TEXTS = ["red page", "", "Old [MASK] <pad> élan 我们", "a\x00\u202e"]
DENSE = {"in_features": 32, "out_features": 20, "bias": True}
DENSE |= {"activation_function": "torch.nn.modules.activation.Tanh"}
LISTED = [
  {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
  for i, (kind, path) in enumerate(
    (
      ("Transformer", ""),
      ("Pooling", "1_Pooling"),
      ("Dense", "3_Dense"),
      ("Normalize", "2_Normalize"),
    )
  )
]
OF_FOLDER = (  # what `from_hf` reads
  *("config.json", "modules.json", "config_sentence_transformers.json", "1_Pooling/config.json"),
  *("sentence_bert_config.json", "2_Normalize/config.json", "3_Dense/config.json"),
  *("model.safetensors", "3_Dense/model.safetensors", "model.safetensors.index.json"),
)
OF_TOKENIZER = (  # model type, file
  ("bert", "tokenizer_config.json"),
  ("bert", "special_tokens_map.json"),
  ("bert", "added_tokens.json"),
  ("bert", "tokenizer.json"),
  ("bert", "vocab.txt"),
  ("roberta", "vocab.json"),
  ("roberta", "merges.txt"),
  ("roberta", "tokenizer.json"),
  ("xlm-roberta", "sentencepiece.bpe.model"),
)


def folder_of(path, model_type, file):
  """A folder in which `file` is read; those that would be read in its place are left out."""
  folder = sentence_folder(path, model_type, {"added_tokens.json": {"<url>": 399}})
  (folder / "modules.json").write_bytes(dumped(LISTED))
  (folder / "3_Dense").mkdir()
  (folder / "3_Dense/config.json").write_bytes(dumped(DENSE))
  tensors = {"linear.weight": np.ones((20, 32), np.float32), "linear.bias": np.ones(20, np.float32)}
  safetensors.numpy.save_file(tensors, folder / "3_Dense/model.safetensors")
  (folder / "special_tokens_map.json").write_bytes(dumped({"mask_token": "[MASK]"}))
  if file == "model.safetensors.index.json":
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    names = from_hf.weights.read_header(folder / "part.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "part.safetensors")}
    (folder / file).write_bytes(dumped(index))
  if file in ("vocab.txt", "vocab.json", "merges.txt"):
    (folder / "tokenizer.json").unlink()
  if file == "tokenizer.json":
    for name in ("vocab.txt", "vocab.json", "merges.txt"):
      (folder / name).unlink(missing_ok=True)
  return folder


def damage_of(file):
  """Keyed damage; of a safetensors file nearly always the header, which says where tensors are."""
  if not file.endswith((".json", ".safetensors")):
    return fuzzing.damaged
  if file.endswith(".json"):
    return fuzzing.damaged_json

  def damaged_header(data, rng):
    if rng.random() < 0.2:
      return fuzzing.damaged(data, rng)
    size = int.from_bytes(data[:8], "little")
    header = fuzzing.damaged_json(data[8 : 8 + size], rng)
    size = len(header) if rng.random() < 0.9 else rng.choice((0, 1, 2**40, 2**63))
    return size.to_bytes(8, "little") + header + data[8 + len(header) :]

  return damaged_header


def read_tokenizer(folder):
  files = tokenizer_files.convert_tokenizer(folder)
  tokens = Tokenizer.from_files(files, where=str(folder), max_tokens=16)
  return tokens.encode_ragged(TEXTS)


@pytest.mark.parametrize("file", OF_FOLDER)
def test_files_of_a_folder(tmp_path, file):
  folder = folder_of(tmp_path / "m", "bert", file)
  original = (folder / file).read_bytes()

  def read(data):
    (folder / file).write_bytes(data)
    checkpoint = from_hf.read_folder(folder)
    for leaf in from_hf.trees.flatten(from_hf.encoder_leaves(checkpoint)).values():
      leaf.stored.map()

  read(original)
  fuzzing.fuzz(read, original, mutate=damage_of(file), count=40)


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "file"), OF_TOKENIZER)
def test_files_of_a_tokenizer(tmp_path, model_type, file):
  """Texts too: a damaged normaliser may panic only when it meets one."""
  folder = folder_of(tmp_path / "m", model_type, file)
  original = (folder / file).read_bytes()

  def read(data):
    (folder / file).write_bytes(data)
    read_tokenizer(folder)

  read(original)
  fuzzing.fuzz(read, original, mutate=damage_of(file), count=300)


def test_a_tokenizer_json_as_export_writes_it(tmp_path):
  """Read without transformers, its charsmap included."""
  from dap_jax.data import tokenizer_training

  tokenizer_training.train(
    ["red page", "old user opens"] * 9, vocabulary_size=18, directory=tmp_path
  )
  original = (tmp_path / "tokenizer.json").read_bytes()
  original = json.dumps(json.loads(original)).encode()

  def read(data):
    (tmp_path / "tokenizer.json").write_bytes(data)
    try:
      read_tokenizer(tmp_path)
    except from_hf.UserError as error:
      if "config.json" in str(error):  # through transformers it would have gone on
        return
      raise

  read(original)
  fuzzing.fuzz(read, original, mutate=fuzzing.damaged_json, count=200)
