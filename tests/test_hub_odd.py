"""Odd but legal folders: wrappers before weight names, tokenizers without a mask token, padding."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from dap_jax.data.tokenizer import Tokenizer
from dap_jax.hub import tokenizer_files
from dap_jax.inference import embedder
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.objectives import masked_lm
from dap_jax.utils.errors import UserError
from tests.hub_folders import sentence_folder

TEXTS = ["red page", "Old User [MASK]"]


def rename(folder, prefix):
  path = folder / "model.safetensors"
  tensors = safetensors.numpy.load_file(path)
  safetensors.numpy.save_file({f"{prefix}{name}": x for name, x in tensors.items()}, path)


def change_backend(folder, **changes):
  path = folder / "tokenizer.json"
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
  "prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."]
)
def test_prefixes_of_wrappers_are_taken_off(tmp_path, prefix):
  folder = sentence_folder(tmp_path)
  expected = embedder.load(str(folder)).encode(TEXTS)
  rename(folder, prefix)
  np.testing.assert_array_equal(embedder.load(str(folder)).encode(TEXTS), expected)


@pytest.mark.parametrize("prefix", ["0.auto_model.", "student.", "model.encoder."])
def test_another_prefix_is_named_instead_of_every_tensor(tmp_path, prefix):
  folder = sentence_folder(tmp_path)
  rename(folder, prefix)
  with pytest.raises(UserError) as error:
    embedder.load(str(folder))
  assert f"start with '{prefix}bert.', expected 'bert.' or nothing" in str(error.value)
  assert len(str(error.value)) < 300


def test_a_wrapper_before_a_part_of_the_names_stays(tmp_path):
  folder = sentence_folder(tmp_path)
  path = folder / "model.safetensors"
  tensors = safetensors.numpy.load_file(path)
  name = "bert.embeddings.LayerNorm.bias"
  tensors[f"module.{name}"] = tensors.pop(name)
  safetensors.numpy.save_file(tensors, path)
  with pytest.raises(UserError, match=r"missing embeddings\.LayerNorm\.bias; unknown module\.bert"):
    embedder.load(str(folder))


def test_no_mask_token_embeds_and_only_hiding_objectives_refuse(tmp_path):
  folder = sentence_folder(tmp_path, "xlm-roberta")
  expected = embedder.load(str(folder)).encode(TEXTS[:1])
  path = folder / "tokenizer_config.json"
  settings = json.loads(path.read_text())
  del settings["mask_token"]
  settings["tokenizer_class"] = "PreTrainedTokenizerFast"
  model = embedder.load(str(folder))
  (folder / "tokenizer.json").write_text(model.tokenizer.definition())
  (folder / "sentencepiece.bpe.model").unlink()
  path.write_text(json.dumps(settings))
  model = embedder.load(str(folder))
  assert model.tokenizer.mask_id is None
  np.testing.assert_allclose(model.encode(TEXTS[:1]), expected, atol=1e-6)
  vocabulary = vocabulary_of(model.tokenizer, rows=0, english_ids=None)
  ids = jnp.full((1, 1, 1, 4), 5)
  options = {"mask_ratio": 0.5, "mask_share": 0.8, "key": jax.random.key(0)}
  with pytest.raises(UserError, match="has no mask token"):
    masked_lm.draw(ids, ids > 0, vocabulary=vocabulary, **options)


@pytest.mark.parametrize(("pad_id", "refused"), [(1, False), (0, True), (3, True)])
def test_a_padding_id_of_another_token_needs_a_limit(tmp_path, pad_id, refused):
  """At the last position alone would transformers place one token more."""
  changes = {"config.json": {"pad_token_id": pad_id}}
  changes["sentence_bert_config.json"] = {"max_seq_length": None}
  folder = sentence_folder(tmp_path, "roberta", changes)
  if refused:
    with pytest.raises(UserError, match=f"pad_token_id is {pad_id}, but the tokenizer's is 1"):
      embedder.load(str(folder))
  else:
    embedder.load(str(folder))


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("truncation", "at the left"),
    ("padding", "at the left"),
    ("model", "dropout"),
    ("post_processor", "token types other than 0"),
  ],
)
def test_options_inside_tokenizer_json(tmp_path, name, message):
  folder = sentence_folder(tmp_path, "modernbert")
  backend = json.loads((folder / "tokenizer.json").read_text())
  ends = [{"SpecialToken": {"id": token, "type_id": 1}} for token in ("[CLS]", "[SEP]")]
  full = {
    "truncation": {"max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Left"},
    "padding": {"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None}
    | {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
    "model": backend["model"] | {"dropout": 0.5},
    "post_processor": backend["post_processor"]
    | {"single": [ends[0], {"Sequence": {"id": "A", "type_id": 1}}, ends[1]]},
  }
  change_backend(folder, **{name: full[name]})
  with pytest.raises(UserError, match=message):
    Tokenizer.from_files(tokenizer_files.convert_tokenizer(folder), where=str(folder), max_tokens=8)


def test_an_id_beyond_every_vocabulary_costs_no_time(tmp_path):
  folder = sentence_folder(tmp_path, "bert")
  backend = json.loads((folder / "tokenizer.json").read_text())
  backend["model"]["vocab"]["page"] = 2**31
  change_backend(folder, model=backend["model"])
  with pytest.raises(UserError, match="has the id 2147483648, expected less than"):
    tokenizer_files.convert_tokenizer(folder)
