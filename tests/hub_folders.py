"""Small checkpoints as folders of the hub, for the tests of what reads them."""

import functools
import io
import json
import random

import numpy as np
import safetensors.numpy
import sentencepiece
import tokenizers
import torch
import transformers
from transformers.models.m2m_100.modeling_m2m_100 import M2M100Encoder

from dap_jax.data import tokenizer_training
from tests.models import transformers_model

WORDS = ["red", "page", "old", "user", "opens", "the", "new", "file", "Straße", "élan", "façade"]
WORDS += ["我们", "Grüße", "naïve", "Hello", "WORLD"]
LINES = [" ".join(random.Random(i).choices(WORDS, k=1 + i % 9)) for i in range(300)]
BERT_ROLES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LANGUAGE_CODES = ("eng_Latn", "deu_Latn", "zho_Hans")
ROBERTA_ROLES = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
TEXTS = ["red page", "old user opens the page", "new file"]


def small_bert(folder, *, seed=0):
  """Writes a BERT checkpoint of 23 ids and width 48, with its tokenizer."""
  tokenizer_training.train(TEXTS * 9, vocabulary_size=23, directory=folder)
  module = transformers_model("bert", vocabulary_size=23)
  for parameter in module.parameters():
    parameter.data.mul_(1 + seed)
  module.save_pretrained(folder)
  return folder


def dumped(content):
  return json.dumps(content, ensure_ascii=False, indent=1).encode()


@functools.cache
def word_pieces():
  """vocab.txt and tokenizer.json of a WordPiece vocabulary."""
  trained = tokenizers.BertWordPieceTokenizer(lowercase=False)
  trained.train_from_iterator(LINES, vocab_size=160, min_frequency=1, show_progress=False)
  cls, sep = ((token, trained.token_to_id(token)) for token in BERT_ROLES[2:4])
  trained.post_processor = tokenizers.processors.BertProcessing(sep, cls)
  vocabulary = sorted(trained.get_vocab(), key=trained.get_vocab().get)
  return {
    "vocab.txt": "\n".join(vocabulary).encode() + b"\n",
    "tokenizer.json": trained.to_str().encode(),
  }


@functools.cache
def byte_pairs(roles):
  """tokenizer.json, vocab.json and merges.txt of a byte-level BPE."""
  backend = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=roles[1]))
  backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
  backend.decoder = tokenizers.decoders.ByteLevel()
  order = (2, 0, 3, 1, 4) if roles is ROBERTA_ROLES else range(5)
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=330,
    special_tokens=[roles[i] for i in order],
    initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  backend.train_from_iterator(LINES, trainer)
  cls, sep = ((roles[i], backend.token_to_id(roles[i])) for i in (2, 3))
  backend.post_processor = tokenizers.processors.TemplateProcessing(
    single=f"{cls[0]} $A {sep[0]}", special_tokens=[cls, sep]
  )
  model = json.loads(backend.to_str())["model"]
  merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
  return {
    "tokenizer.json": backend.to_str().encode(),
    "vocab.json": dumped(model["vocab"]),
    "merges.txt": "\n".join(["#version: 0.2", *merges]).encode() + b"\n",
  }


@functools.cache
def sentence_pieces():
  """sentencepiece.bpe.model, as XLM-R's folder has it."""
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(LINES),
    model_writer=model,
    vocab_size=90,
    hard_vocab_limit=False,
    minloglevel=2,
  )
  return {"sentencepiece.bpe.model": model.getvalue()}


@functools.cache
def language_pieces():
  """tokenizer.json of a BPE with a language code before each text, as NLLB's folder has it."""
  backend = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>", fuse_unk=True))
  pieces = {"replacement": "▁", "prepend_scheme": "always"}
  backend.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(**pieces)
  backend.decoder = tokenizers.decoders.Metaspace(**pieces)
  specials = ["<s>", "<pad>", "</s>", "<unk>"]
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=150, special_tokens=specials, show_progress=False
  )
  backend.train_from_iterator(LINES, trainer)
  backend.add_special_tokens([*LANGUAGE_CODES, "<mask>"])
  code = LANGUAGE_CODES[0]
  backend.post_processor = tokenizers.processors.TemplateProcessing(
    single=f"{code} $A </s>", special_tokens=[(code, backend.token_to_id(code)), ("</s>", 2)]
  )
  return {"tokenizer.json": backend.to_str().encode()}


def tokenizer_of(model_type):
  """The files of a tokenizer, its class, and the roles' tokens."""
  if model_type in ("bert", "distilbert"):
    return word_pieces(), "BertTokenizer", BERT_ROLES
  if model_type == "modernbert":
    return byte_pairs(BERT_ROLES), "PreTrainedTokenizerFast", BERT_ROLES
  if model_type == "roberta":
    return byte_pairs(ROBERTA_ROLES), "RobertaTokenizer", ROBERTA_ROLES
  if model_type == "xlm-roberta-xl":  # transformers 5 reads a tokenizer.json alone
    files = {"tokenizer.json": byte_pairs(ROBERTA_ROLES)["tokenizer.json"]}
    return files, "PreTrainedTokenizerFast", ROBERTA_ROLES
  if model_type == "m2m_100":
    return language_pieces(), "NllbTokenizer", ROBERTA_ROLES
  return sentence_pieces(), "XLMRobertaTokenizer", ROBERTA_ROLES


@functools.cache
def base_model(model_type):
  """config.json's content and the tensors of a model of 2 layers x 32 (ModernBERT: 3).

  It has a masked-LM head, but for m2m_100: that is the encoder alone.
  """
  sizes = {"vocab_size": 400, "max_position_embeddings": 120, "initializer_range": 0.3}
  if model_type == "distilbert":
    sizes |= {"n_layers": 2, "dim": 32, "n_heads": 4, "hidden_dim": 64, "pad_token_id": 0}
  elif model_type == "m2m_100":
    sizes |= {"encoder_layers": 2, "d_model": 32, "encoder_attention_heads": 4}
    sizes |= {"encoder_ffn_dim": 64}
    del sizes["initializer_range"]
    sizes["init_std"] = 0.3
  else:
    layers = 3 if model_type == "modernbert" else 2
    sizes |= {"num_hidden_layers": layers, "hidden_size": 32, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 64, "pad_token_id": 1 if "roberta" in model_type else 0}
  if "roberta" in model_type:
    sizes |= {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
  if model_type == "modernbert":
    sizes |= {"local_attention": 6, "global_attn_every_n_layers": 2}
    sizes |= {"bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
  config = transformers.AutoConfig.for_model(model_type, **sizes)
  torch.manual_seed(0)
  if model_type == "m2m_100":
    module = M2M100Encoder(config).eval()
  else:
    module = transformers.AutoModelForMaskedLM.from_config(config).eval()
  tensors = {name: array.numpy().copy() for name, array in module.state_dict().items()}
  for name, array in tensors.items():  # biases and scales too
    noise = np.random.default_rng(len(name)).normal(0, 0.1, array.shape)
    tensors[name] = array + noise.astype(np.float32) if array.dtype == np.float32 else array
  content = json.loads(config.to_json_string(use_diff=False))
  return content | {"architectures": [type(module).__name__]}, tensors


def sentence_folder(folder, model_type="bert", changes=None):
  """Writes a sentence-transformers folder of mean pooling and Normalize around `base_model`.

  Args:
    folder: where; created if absent.
    model_type: one of the seven.
    changes: file -> keys to set in it; a file that is not there yet is written anew.
  """
  config, tensors = base_model(model_type)
  files, kind, roles = tokenizer_of(model_type)
  names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
  chain = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
  contents = {
    "config.json": config,
    "tokenizer_config.json": {"tokenizer_class": kind, **dict(zip(names, roles, strict=True))},
    "sentence_bert_config.json": {"max_seq_length": 24},
    "config_sentence_transformers.json": {"prompts": {}},
    "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True},
    "2_Normalize/config.json": {},
    "modules.json": [
      {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
      for i, (kind, path) in enumerate(chain)
    ],
  }
  for name, keys in (changes or {}).items():
    if name == "modules.json":
      contents[name] = [module | keys for module in contents[name]]
    else:
      contents[name] = contents.get(name, {}) | keys
  files = files | {name: dumped(content) for name, content in contents.items()}
  files["model.safetensors"] = safetensors.numpy.save(tensors, metadata={"format": "pt"})
  for path, data in files.items():
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)
  return folder
