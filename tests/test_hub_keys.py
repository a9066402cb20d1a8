"""Every key of a folder's JSON files: honoured, refused by name, or without effect on vectors.

Which is which is measured against sentence-transformers itself.
"""

import dataclasses
import functools
import inspect

import numpy as np
import pytest
import sentence_transformers
import transformers
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from dap_jax.hub import from_hf, keys, tokenizer_files
from dap_jax.inference import embedder
from dap_jax.utils.errors import UserError
from tests.hub_folders import sentence_folder

TEXTS = ["red page", "Old User OPENS", "", "a [MASK] <mask> <pad> [PAD]", "élan façade " * 8]
TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
CONFIG, TOKENIZER = "config.json", "tokenizer_config.json"
MODULE, SETTINGS, POOLING = (
  "sentence_bert_config.json",
  "config_sentence_transformers.json",
  "1_Pooling/config.json",
)
NORMALIZE = "2_Normalize/config.json"
ADDED = {"373": {"content": "Old", "lstrip": False, "rstrip": False, "normalized": False}}
# (model type, file, keys): another vector than without them, sentence-transformers' own.
HONOURED = [
  ("bert", CONFIG, {"layer_norm_eps": 0.05}),
  ("xlm-roberta", CONFIG, {"pad_token_id": 0}),
  ("roberta", CONFIG, {"pad_token_id": 3}),
  ("xlm-roberta-xl", CONFIG, {"pad_token_id": 3}),
  ("xlm-roberta-xl", CONFIG, {"layer_norm_eps": 0.05}),
  ("modernbert", CONFIG, {"norm_eps": 0.05}),
  ("modernbert", CONFIG, {"local_attention": 2}),
  ("modernbert", CONFIG, {"sliding_window": 1}),
  ("modernbert", CONFIG, {"layer_types": None, "global_attn_every_n_layers": 3}),
  ("modernbert", CONFIG, {"layer_types": ["full_attention"] * 3}),
  ("modernbert", CONFIG, {"rope_parameters": None, "global_rope_theta": 50.0}),
  ("modernbert", CONFIG, {"rope_parameters": {"sliding_attention": {"rope_theta": 2.0}}}),
  ("m2m_100", CONFIG, {"scale_embedding": False}),
  ("m2m_100", CONFIG, {"pad_token_id": 0}),
  ("m2m_100", TOKENIZER, {"src_lang": "deu_Latn"}),
  ("bert", TOKENIZER, {"do_lower_case": False}),
  ("bert", TOKENIZER, {"strip_accents": False}),
  ("bert", TOKENIZER, {"added_tokens_decoder": ADDED}),
  ("xlm-roberta", TOKENIZER, {"added_tokens_decoder": ADDED}),
  ("bert", TOKENIZER, {"additional_special_tokens": ["Use"]}),
  ("bert", TOKENIZER, {"image_token": "Use"}),
  ("roberta", TOKENIZER, {"add_prefix_space": True}),
  ("bert", "added_tokens.json", {"Old": 373}),
  ("bert", "special_tokens_map.json", {"additional_special_tokens": ["Use"]}),
  ("bert", MODULE, {"max_seq_length": 5}),
  ("bert", MODULE, {"processing_kwargs": {"text": {"max_length": 5}}}),
  ("bert", MODULE, {"processing_kwargs": {"common": {"max_length": 6}, "text": {}}}),
  ("bert", MODULE, {"tokenizer_args": {"model_max_length": 5}}),
  ("bert", MODULE, {"processor_kwargs": {"model_max_length": 7}}),
  ("bert", MODULE, {"max_seq_length": None}),
  *(("bert", POOLING, {"pooling_mode": mode}) for mode in ("cls", "max", "lasttoken")),
  *(("bert", POOLING, {"pooling_mode": [mode]}) for mode in ("weightedmean", "lasttoken")),
  ("bert", POOLING, {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}),
]
# Without max_seq_length, so that the tokenizer's own limit counts.
LIMITS = [{"model_max_length": 5}, {"max_len": 6}, {"max_len": 4, "model_max_length": 7}]
NO_EFFECT = [
  ("bert", CONFIG, {"hidden_dropout_prob": 0.5, "output_hidden_states": True}),
  ("bert", CONFIG, {"pad_token_id": 3, "tie_word_embeddings": False, "num_beams": 4}),
  ("bert", CONFIG, {"chunk_size_feed_forward": 1, "use_cache": False, "return_dict": False}),
  ("distilbert", CONFIG, {"sinusoidal_pos_embds": True, "qa_dropout": 0.5}),
  ("modernbert", CONFIG, {"classifier_pooling": "mean", "position_embedding_type": "sans_pos"}),
  ("m2m_100", CONFIG, {"encoder_layerdrop": 0.5, "decoder_layers": 7, "dropout": 0.5}),
  ("m2m_100", CONFIG, {"num_hidden_layers": 2, "hidden_size": 32, "is_encoder_decoder": False}),
  ("m2m_100", TOKENIZER, {"src_lang": "eng_Latn", "tgt_lang": "deu_Latn"}),
  ("xlm-roberta", TOKENIZER, {"clean_up_tokenization_spaces": True, "max_length": 4, "stride": 2}),
  ("bert", TOKENIZER, {"truncation_strategy": "only_second", "pad_token_type_id": 1}),
  ("bert", TOKENIZER, {"model_input_names": ["input_ids", "attention_mask"]}),
  (
    "bert",
    MODULE,
    {"unpad_inputs": False, "modality_config": TEXT, "module_output_name": "token_embeddings"},
  ),
  ("bert", MODULE, {"model_args": {"attn_implementation": "eager", "add_pooling_layer": False}}),
  ("bert", MODULE, {"tokenizer_args": {"use_fast": True, "max_length": 4}}),
  ("bert", SETTINGS, {"prompts": {"query": "query: "}, "similarity_fn_name": "dot"}),
  ("bert", SETTINGS, {"prompts": {"none": ""}, "default_prompt_name": "none"}),
  ("bert", POOLING, {"include_prompt": False, "word_embedding_dimension": 32}),
  ("bert", NORMALIZE, {"module_input_name": "sentence_embedding"}),
  ("bert", "modules.json", {"idx": 7, "kwargs": []}),
]
REFUSED = [
  *((kind, CONFIG, {"is_decoder": True}) for kind in ("bert", "roberta", "distilbert")),
  ("xlm-roberta-xl", CONFIG, {"hidden_act": "gelu_new"}),
  *(("bert", CONFIG, {"hidden_act": name}) for name in ("relu", "gelu_new", "gelu_pytorch_tanh")),
  ("bert", CONFIG, {"position_embedding_type": "relative_key"}),
  ("bert", CONFIG, {"add_cross_attention": True}),
  ("bert", CONFIG, {"auto_map": {"AutoModel": "modeling.Own"}}),
  ("bert", CONFIG, {"pruned_heads": {"0": [1]}}),
  ("bert", CONFIG, {"quantization_config": {"load_in_8bit": True}}),
  ("bert", CONFIG, {"per_layer_config": {"0": {}}}),
  ("bert", CONFIG, {"transformers_weights": "other.safetensors"}),
  ("bert", CONFIG, {"attention_window": 4}),
  ("distilbert", CONFIG, {"activation": "relu"}),
  ("distilbert", CONFIG, {"hidden_size": 16}),
  ("modernbert", CONFIG, {"hidden_activation": "silu"}),
  ("modernbert", CONFIG, {"rope_scaling": {"type": "linear", "factor": 2.0}}),
  ("modernbert", CONFIG, {"rope_parameters": {"full_attention": {"partial_rotary_factor": 0.5}}}),
  ("modernbert", CONFIG, {"rope_theta": 5.0}),
  ("modernbert", CONFIG, {"layer_types": "full_attention"}),
  ("m2m_100", CONFIG, {"activation_function": "gelu"}),
  ("m2m_100", CONFIG, {"tie_word_embeddings": False}),
  ("m2m_100", CONFIG, {"num_hidden_layers": 3}),
  ("m2m_100", CONFIG, {"scale_embedding": "no"}),
  ("m2m_100", CONFIG, {"pad_token_id": -1}),
  ("m2m_100", TOKENIZER, {"legacy_behaviour": True}),
  ("m2m_100", TOKENIZER, {"src_lang": "eng"}),
  ("m2m_100", MODULE, {"max_seq_length": 4000}),
  ("bert", TOKENIZER, {"truncation_side": "left"}),
  ("bert", TOKENIZER, {"padding_side": "left"}),
  ("bert", TOKENIZER, {"split_special_tokens": True}),
  ("bert", TOKENIZER, {"model_input_names": ["input_ids"]}),
  ("bert", TOKENIZER, {"auto_map": {"AutoTokenizer": ["own.Tokenizer", None]}}),
  ("bert", TOKENIZER, {"surprise": 1}),
  ("bert", "special_tokens_map.json", {"surprise": 1}),
  ("bert", MODULE, {"do_lower_case": True}),
  ("bert", MODULE, {"transformer_task": "fill-mask"}),
  ("bert", MODULE, {"modality_config": {"message": TEXT["text"]}}),
  ("bert", MODULE, {"processing_kwargs": {"text": {"add_special_tokens": False}}}),
  ("bert", MODULE, {"processing_kwargs": {"text": {"max_length": 1}}}),
  ("bert", MODULE, {"processing_kwargs": {"text": {"padding_side": "left"}}}),
  ("bert", MODULE, {"tokenizer_args": {"do_lower_case": True}}),
  ("bert", MODULE, {"config_args": {"hidden_act": "relu"}}),
  ("bert", MODULE, {"model_kwargs": {"adapter_kwargs": {}}}),
  ("bert", MODULE, {"query_length": 4}),
  ("bert", MODULE, {"surprise": None}),
  ("modernbert", MODULE, {"max_seq_length": 4000}),
  ("bert", SETTINGS, {"truncate_dim": 8}),
  ("bert", SETTINGS, {"model_type": "SparseEncoder"}),
  ("bert", SETTINGS, {"prompts": {"query": "query: "}, "default_prompt_name": "passage"}),
  ("bert", POOLING, {"pooling_mode": ["cls", "median"]}),
  ("bert", POOLING, {"surprise": True}),
  ("bert", NORMALIZE, {"module_input_name": "token_embeddings"}),
  ("bert", NORMALIZE, {"module_output_name": "other"}),
  ("bert", "modules.json", {"name": "0"}),
  ("bert", "modules.json", {"type": "own_package.models.Transformer"}),
  ("bert", "adapter_config.json", {"peft_type": "LORA"}),
]


def theirs(folder):
  return sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode(TEXTS)


@functools.cache
def unchanged(model_type, base, limit):
  changes = {MODULE: {"max_seq_length": limit}}
  return theirs(sentence_folder(base / f"{model_type}{limit}", model_type, changes))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
  return tmp_path_factory.mktemp("unchanged")


def compared(folder, model_type, base, *, limit=24):
  """How far sentence-transformers' vectors are from those without the keys; ours are theirs."""
  expected = theirs(folder)
  ours = embedder.load(str(folder)).encode(TEXTS)
  np.testing.assert_allclose(ours, expected, atol=1e-5)
  return np.abs(expected - unchanged(model_type, base, limit)).max()


def name_of(case):
  return str(case).replace(" ", "")[:60] if isinstance(case, dict) else str(case)


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "file", "content"), HONOURED, ids=name_of)
def test_a_key_that_is_honoured(tmp_path, base, model_type, file, content):
  assert compared(sentence_folder(tmp_path, model_type, {file: content}), model_type, base) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("content", LIMITS, ids=name_of)
def test_a_limit_of_the_tokenizer(tmp_path, base, content):
  changes = {MODULE: {"max_seq_length": None}, TOKENIZER: content}
  folder = sentence_folder(tmp_path, "bert", changes)
  assert compared(folder, "bert", base, limit=None) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "file", "content"), NO_EFFECT, ids=name_of)
def test_a_key_without_effect(tmp_path, base, model_type, file, content):
  assert compared(sentence_folder(tmp_path, model_type, {file: content}), model_type, base) < 1e-6


@pytest.mark.parametrize(("model_type", "file", "content"), REFUSED, ids=name_of)
def test_a_key_that_is_refused(tmp_path, model_type, file, content):
  """By its name, beside the file's, in one line."""
  folder = sentence_folder(tmp_path, model_type, {file: content})
  with pytest.raises(UserError) as error:
    tokenizer_files.convert_tokenizer(from_hf.read_folder(folder).folder)
  message = str(error.value)
  assert "\n" not in message
  assert file.split("/")[-1] in message or "texts are cut" in message
  last = [key for key, value in content.items() if key != "prompts"][-1]
  deepest = content[last]
  while isinstance(deepest, dict) and deepest and last in ("processing_kwargs", "text"):
    last, deepest = next(iter(deepest.items()))
  words = {
    "pooling_mode": "pooling",
    "name": "of one name",
    "type": "of type",
  }
  assert (
    words.get(last, last) in message or "texts are cut" in message or file == "adapter_config.json"
  )


@pytest.mark.parametrize("name", ["roberta", "xlm-roberta", "distilbert"])
def test_the_transformers_config_under_an_older_name(tmp_path, name):
  """It counts where those before it say nothing."""
  folder = sentence_folder(
    tmp_path, "bert", {f"sentence_{name}_config.json": {"max_seq_length": 7}}
  )
  assert from_hf.read_folder(folder).max_tokens == 24
  (folder / MODULE).write_text("{}")
  assert from_hf.read_folder(folder).max_tokens == 7
  (folder / f"sentence_{name}_config.json").write_text('{"do_lower_case": true}')
  with pytest.raises(UserError, match=f"sentence_{name}_config.json: do_lower_case is True"):
    from_hf.read_folder(folder)


@pytest.mark.parametrize("model_type", sorted(keys.CONFIGS))
def test_every_option_of_transformers_configs_is_in_the_table(model_type):
  options = {field.name for field in dataclasses.fields(transformers.CONFIG_MAPPING[model_type])}
  options |= set(transformers.GenerationConfig._get_default_generation_params())
  assert not options - set(keys.CONFIGS[model_type])


def test_every_option_of_sentence_transformers_modules_is_in_a_table():
  """What their constructors take from a file, and what a model saves."""
  of_loader = {"model_name_or_path", "backend", "self", "cls", "kwargs"}
  of_transformer = set(inspect.signature(Transformer.__init__).parameters) - of_loader
  assert not (of_transformer | set(Transformer.config_keys)) - set(keys.TRANSFORMER)
  assert not set(Pooling.config_keys) - set(keys.POOLING)
  assert not set(Normalize.config_keys) - set(keys.NORMALIZE)
  assert not set(Dense.config_keys) - set(keys.DENSE)
