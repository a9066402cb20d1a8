"""A Hugging Face folder of a BertModel -> our encoder's parameters and sizes. safetensors only."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from dap_jax.errors import UserError
from dap_jax.hub import names
from dap_jax.hub.to_hf import POOLING_KEYS


class Imported(NamedTuple):
  """encoder: the tree `params["encoder"]`; model: the config's `model` section; max_tokens."""

  encoder: dict[str, Any]
  model: dict[str, Any]
  max_tokens: int


def read_json(path: epath.Path) -> dict[str, Any]:
  """A JSON object of the folder, with an error that names it."""
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise UserError(f"cannot read {path}: {error}; give a folder that export wrote") from error


def read(directory: epath.PathLike) -> Imported:
  """Reads a folder that `to_hf.write` wrote.

  Raises:
    UserError: something is missing, unknown, or of another shape than config.json says.
  """
  directory = epath.Path(directory)
  config = read_json(directory / "config.json")
  if config.get("model_type") != "bert":
    raise UserError(f"{directory}: model_type {config.get('model_type')!r}, expected 'bert'")
  pooling = read_json(directory / "1_Pooling" / "config.json")
  chosen = [name for name, key in POOLING_KEYS.items() if pooling.get(key)]
  if len(chosen) != 1:
    raise UserError(f"{directory}/1_Pooling/config.json: expected one of cls and mean pooling")
  try:
    tensors = safetensors.numpy.load((directory / "model.safetensors").read_bytes())
  except (OSError, safetensors.SafetensorError) as error:
    raise UserError(f"{directory}/model.safetensors cannot be read: {error}") from error
  encoder = names.encoder_to_flax(
    {name.removeprefix("bert."): np.asarray(array) for name, array in tensors.items()}
  )
  table = encoder["embeddings"]["word"]["embedding"].shape
  if table != (config["vocab_size"], config["hidden_size"]):
    raise UserError(
      f"{directory}: the word embedding is {table}, config.json says"
      f" {(config['vocab_size'], config['hidden_size'])}"
    )
  model = {
    "layers": config["num_hidden_layers"],
    "width": config["hidden_size"],
    "heads": config["num_attention_heads"],
    "mlp_width": config["intermediate_size"],
    "positions": config["max_position_embeddings"],
    "token_types": config["type_vocab_size"],
    "position_offset": 0,
    "norm_eps": config["layer_norm_eps"],
    "dropout": config["hidden_dropout_prob"],
    "pooling": chosen[0],
    "projection": False,
    "compute_dtype": "float32",
  }
  limit = read_json(directory / "sentence_bert_config.json")["max_seq_length"]
  return Imported(encoder, model, limit)
