"""Folders as the hub has them: legal options of every file, drawn by a seed, around tiny models."""

import random

import numpy as np
import safetensors.numpy

from tests.hub_folders import base_model, dumped, tokenizer_of

TEXTS = [
  *("red page", "Old User OPENS the page", "", "  two  spaces ", "élan façade Straße", "我们 new"),
  *("red <pad> page", "red [PAD] page", "a <url> here", "a [MASK] and <mask> there", "<new> file"),
  "red page old user opens the new file Straße élan façade 我们 Grüße naïve Hello " * 3,
]
ADDED = "<url>"
TYPES = ("bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "distilbert", "modernbert", "m2m_100")
ROLE_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


class Options:
  """Draws: nearly always what our models have, now and then what they must refuse."""

  def __init__(self, seed):
    self.rng = random.Random(seed)
    self.odd = self.rng.random() < 0.5  # whether this folder may have an option of the second kind

  def often(self, share=0.5):
    return self.rng.random() < share

  def one(self, common, odd=()):
    return (
      self.rng.choice(odd) if odd and self.odd and self.often(0.12) else self.rng.choice(common)
    )

  def some(self, common, odd=None, share=0.3):
    """A dict with some keys of dicts key -> values."""
    drawn = {key: self.rng.choice(values) for key, values in common.items() if self.often(share)}
    if self.odd and odd and self.often(0.3):
      key = self.rng.choice(sorted(odd))
      drawn[key] = self.rng.choice(odd[key])
    return drawn


def config_options(draw, model_type):
  common = {"use_cache": (True, False), "output_hidden_states": (True, False)}
  common |= {"id2label": ({"0": "a", "1": "b"},), "chunk_size_feed_forward": (0, 1)}
  common |= {"output_past": (True,), "gradient_checkpointing": (False,), "num_beams": (1, 4)}
  odd = {"is_decoder": (True,), "auto_map": ({"AutoModel": "modeling.X"},), "surprise": (1, None)}
  odd |= {"is_causal": (True,), "attention_window": (4,), "per_layer_config": ({"0": {}},)}
  if model_type == "modernbert":
    common |= {"sliding_window": (2, 3), "local_attention": (4, 8, 7), "norm_eps": (1e-5, 1e-3)}
    common |= {"global_attn_every_n_layers": (1, 2, 3), "position_embedding_type": ("sans_pos",)}
    odd |= {"hidden_activation": ("relu",), "rope_scaling": ({"type": "linear", "factor": 2.0},)}
    odd |= {"layer_types": (["sliding_attention"] * 3, ["full_attention"] * 2)}
    return draw.some(common, odd)
  if model_type == "m2m_100":
    common |= {"scale_embedding": (True, False), "pad_token_id": (0, 1, 3), "decoder_layers": (7,)}
    common |= {"num_hidden_layers": (2,), "dropout": (0.5,), "is_encoder_decoder": (True, False)}
    odd |= {"activation_function": ("gelu",), "tie_word_embeddings": (False,)}
    odd |= {"hidden_size": (16,)}
    return draw.some(common, odd)
  if model_type == "distilbert":
    odd |= {"activation": ("relu",), "hidden_size": (32,)}
    return draw.some(common | {"sinusoidal_pos_embds": (True, False)}, odd)
  common |= {"layer_norm_eps": (1e-12, 1e-5, 1e-2), "directionality": ("bidi",)}
  if "roberta" in model_type:
    common |= {"pad_token_id": (0, 1, 3)}
  odd |= {"hidden_act": ("relu", "gelu_new"), "position_embedding_type": ("relative_key",)}
  return draw.some(common, odd)


def rope_options(draw):
  """ModernBERT's rotary bases in the old form or the new one."""
  old = {"global_rope_theta": draw.one((160_000.0, 500.0)), "local_rope_theta": 100.0}
  ropes = {"full_attention": 700.0, "sliding_attention": 90.0}
  kind = draw.one(("default",), ("linear",))
  new = {name: {"rope_type": kind, "rope_theta": theta} for name, theta in ropes.items()}
  if draw.often(0.3):
    return {"rope_parameters": {"full_attention": {"rope_type": "default"}}, **old}
  return old if draw.often() else {"rope_parameters": new}


def tokenizer_options(draw, model_type, size):
  common = {"model_max_length": (12, 20, 1000, 10**30, None), "max_len": (9, 16)}
  common |= {"clean_up_tokenization_spaces": (True, False), "stride": (0, 3), "max_length": (7,)}
  common |= {"additional_special_tokens": (["<new>"],), "truncation_side": ("right",)}
  common |= {"name_or_path": ("x/y",), "chat_template": ("{{ messages }}",)}
  inputs = ["input_ids", "attention_mask"]
  common |= {"model_input_names": (inputs, [*inputs, "token_type_ids"])}
  token = {"content": ADDED, "lstrip": False, "rstrip": False, "single_word": False}
  token |= {"normalized": draw.often(), "special": draw.often()}
  common |= {"added_tokens_decoder": ({str(size): token},)}
  if model_type in ("bert", "distilbert"):
    common |= {"do_lower_case": (True, False), "strip_accents": (True, False, None)}
    common |= {"tokenize_chinese_chars": (True, False)}
  if model_type == "roberta":
    common |= {"add_prefix_space": (True, False)}
  odd = {"truncation_side": ("left",), "padding_side": ("left",), "split_special_tokens": (True,)}
  odd |= {"model_input_names": (["input_ids"],), "surprise": (1,), "model_max_length": (0, 1, "9")}
  odd |= {"auto_map": ({"AutoTokenizer": ["tok.X", None]},), "processor_class": ("X",)}
  if model_type == "m2m_100":
    common |= {"src_lang": ("deu_Latn", None), "tgt_lang": ("deu_Latn",)}
    odd |= {"legacy_behaviour": (True,), "src_lang": ("de",)}
  if model_type != "bert":
    common["model_input_names"] = (inputs,)
  return draw.some(common, odd)


def transformer_options(draw):
  text = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
  common = {"max_seq_length": (5, 8, 16, None), "do_lower_case": (False,)}
  common |= {"processing_kwargs": ({"text": {"max_length": 6}}, {"common": {"max_length": 7}}, {})}
  common |= {"tokenizer_args": ({"model_max_length": 11}, {}), "unpad_inputs": (False,)}
  common |= {"model_args": ({"attn_implementation": "eager"}, {"dtype": "float32"}, {})}
  common |= {"transformer_task": ("feature-extraction",), "config_args": ({},)}
  odd = {"do_lower_case": (True,), "config_args": ({"hidden_act": "relu"}, {"layer_norm_eps": 0.5})}
  odd |= {"tokenizer_args": ({"truncation_side": "left"}, {"do_lower_case": True})}
  odd |= {"processing_kwargs": ({"text": {"add_special_tokens": False}}, {"text": {"stride": 2}})}
  odd |= {"surprise": (1,), "query_length": (4,)}
  drawn = draw.some(common, odd)
  if draw.often(0.3):
    drawn |= {"modality_config": text, "module_output_name": "token_embeddings"}
  return drawn


def pooling_config(draw):
  modes = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
  modes |= {"mean_sqrt_len_tokens": "mean_sqrt_len_tokens", "weightedmean": "weightedmean_tokens"}
  modes |= {"lasttoken": "lasttoken"}
  mode = draw.one(("cls", "mean"), tuple(modes))
  extra = draw.some({"include_prompt": (True, False)}, {"pooling_mode": (["cls", "mean"],)})
  if draw.often():
    return {"embedding_dimension": 32, "pooling_mode": draw.one((mode, [mode])), **extra}
  flags = {f"pooling_mode_{name}": key == mode for key, name in modes.items()}
  return {"word_embedding_dimension": 32, **flags, **extra}


def dense_files(draw, folder):
  content = {"in_features": 32, "out_features": 20, "bias": draw.one((True,), (False,))}
  names = ("torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Tanh", "torch.nn.Tanh")
  odd = ("torch.nn.modules.activation.ReLU", "own.Identity")
  if draw.often(0.85):
    content["activation_function"] = draw.one(names, odd)
  common = {"module_input_name": ("sentence_embedding",), "use_residual": (False,)}
  odd = {"use_residual": (True,), "module_output_name": ("other",), "surprise": (1,)}
  content |= draw.some(common, odd)
  rng = np.random.default_rng(0)
  tensors = {"linear.weight": rng.normal(0, 0.3, (20, 32)), "linear.bias": rng.normal(0, 0.3, 20)}
  if not content["bias"]:
    del tensors["linear.bias"]
  if content.get("use_residual"):
    tensors["residual.weight"] = rng.normal(0, 0.3, (20, 32))
  tensors = {name: array.astype(np.float32) for name, array in tensors.items()}
  return {
    f"{folder}/config.json": dumped(content),
    f"{folder}/model.safetensors": safetensors.numpy.save(tensors),
  }


def tensor_file(draw, model_type, tensors):
  """The weights under one of the namings that checkpoints have."""
  if model_type == "m2m_100":  # sentence-transformers reads no other
    return safetensors.numpy.save(tensors, metadata={"format": "pt"})
  prefix = next(name for name in tensors if "word_embed" in name or "tok_embed" in name)
  prefix = prefix.split("embeddings.")[0]
  kept = {name: array for name, array in tensors.items() if not name.endswith("position_ids")}
  if draw.often():  # the encoder alone, without its head
    kept = {name: array for name, array in kept.items() if name.startswith(prefix)}
    if draw.often():
      kept = {name.removeprefix(prefix): array for name, array in kept.items()}
  if model_type == "bert" and draw.often(0.3):
    for new, old in (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")):
      kept = {name.replace(new, old): array for name, array in kept.items()}
  return safetensors.numpy.save(kept, metadata={"format": "pt"})


def drawn_tokenizer(draw, model_type):
  files, kind, roles = tokenizer_of(model_type)
  files = dict(files)
  if model_type in ("bert", "distilbert", "roberta") and draw.often():
    slow = ("vocab.txt", "vocab.json", "merges.txt")
    keep = draw.often()  # the old files or the new one
    files = {name: data for name, data in files.items() if (name in slow) == keep}
  named = dict(zip(ROLE_NAMES, roles, strict=True)) | {"bos_token": roles[2], "eos_token": roles[3]}
  if draw.often(0.15):
    del named["mask_token"]
  options = tokenizer_options(draw, model_type, 399)
  if "tokenizer.json" in files and draw.often(0.3):
    kind = "PreTrainedTokenizerFast"
  content = {"tokenizer_class": kind, **options}
  if draw.often(0.3) and "added_tokens_decoder" not in options:
    files["special_tokens_map.json"] = dumped(named)
  else:
    content |= named
  if draw.often(0.15):
    files["added_tokens.json"] = dumped({ADDED: 399})
  return files | {"tokenizer_config.json": dumped(content)}


def write(folder, seed):
  """Writes a folder; the same for the same seed.

  Returns:
    A short description.
  """
  draw = Options(seed)
  model_type = TYPES[seed % len(TYPES)]
  config, tensors = base_model(model_type)
  config = config | config_options(draw, model_type)
  if model_type == "modernbert":
    config = {key: value for key, value in config.items() if key != "rope_parameters"}
    config |= rope_options(draw)
    if {"global_attn_every_n_layers", "layer_types"} & config.keys() and draw.often():
      config.pop("layer_types", None)
  inner = draw.one(("", "", "0_Transformer"))
  chain = [("Transformer", inner), ("Pooling", "1_Pooling")]
  of_transformer = transformer_options(draw)
  name = draw.one(("sentence_bert_config.json", "sentence_roberta_config.json"))
  name = draw.one((name, "sentence_xlm-roberta_config.json"))
  files = {
    "config.json": dumped(config),
    "model.safetensors": tensor_file(draw, model_type, tensors),
    name: dumped(of_transformer),
    **drawn_tokenizer(draw, model_type),
  }
  files = {f"{inner}/{name}" if inner else name: data for name, data in files.items()}
  files["1_Pooling/config.json"] = dumped(pooling_config(draw))
  if draw.often(0.4):
    chain.append(("Dense", "2_Dense"))
    files |= dense_files(draw, "2_Dense")
  if draw.often():
    chain.append(("Normalize", "9_Normalize"))
    common = {"module_input_name": ("sentence_embedding",)}
    content = draw.some(common, {"module_input_name": ("token_embeddings",), "surprise": (1,)})
    files["9_Normalize/config.json"] = dumped(content)
  settings = {"prompts": ({"query": "query: "},), "similarity_fn_name": ("dot",)}
  settings |= {"default_prompt_name": ("query",)}
  odd = {"truncate_dim": (8,), "surprise": (1,)}
  content = draw.some(settings, odd)
  content |= {"prompts": {"query": "query: "}} if "default_prompt_name" in content else {}
  files["config_sentence_transformers.json"] = dumped(content)
  package = draw.one(("sentence_transformers.models",))
  listed = [
    {"idx": i, "name": str(i), "path": path, "type": f"{package}.{kind}"}
    for i, (kind, path) in enumerate(chain)
  ]
  files["modules.json"] = dumped(listed)
  for path, data in files.items():
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)
  return f"seed {seed}: {model_type}, {[kind for kind, _ in chain]}, {name} {of_transformer}"
