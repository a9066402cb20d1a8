"""transformers' config.json <-> the config's `model.encoder` section, one reader a family."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dap_jax.utils.errors import UserError

SIZES = {
  "layers": "num_hidden_layers",
  "width": "hidden_size",
  "heads": "num_attention_heads",
  "mlp_width": "intermediate_size",
  "positions": "max_position_embeddings",
  "vocabulary_size": "vocab_size",
}
DISTILBERT_SIZES = SIZES | {
  "layers": "n_layers",
  "width": "dim",
  "heads": "n_heads",
  "mlp_width": "hidden_dim",
}
ARCHITECTURES = {
  "bert": "BertModel",
  "roberta": "RobertaModel",
  "xlm-roberta": "XLMRobertaModel",
  "distilbert": "DistilBertModel",
  "modernbert": "ModernBertModel",
}
OFFSET_TYPES = ("roberta", "xlm-roberta")  # their positions start at the padding id + 1
# What our encoders do not do; a checkpoint that asks for it is refused, not approximated.
REQUIRED = {
  "modernbert": {
    "hidden_activation": "gelu",
    "classifier_activation": "gelu",
    "attention_bias": False,
    "mlp_bias": False,
    "norm_bias": False,
    "classifier_bias": False,
    "decoder_bias": True,
    "rope_scaling": None,
  },
  "distilbert": {"activation": "gelu"},
}
REQUIRED_OF_BERT = {
  "hidden_act": "gelu",
  "position_embedding_type": "absolute",
  "is_decoder": False,
  "add_cross_attention": False,
}


def number(
  config: Mapping[str, Any], key: str, default: float | None, *, where: str, least: int = 1
) -> Any:
  """A number of config.json: above 0 where the default is a float, else an int from `least` on.

  Raises:
    UserError: it is missing, of another type, or too small.
  """
  value = config.get(key)
  value = default if value is None else value
  is_float = isinstance(default, float)
  if isinstance(value, bool) or not isinstance(value, (int, float) if is_float else int):
    raise UserError(f"{where}: {key} is {value!r}, expected a number")
  if not (0 < value < math.inf if is_float else value >= least):
    said = "more than 0" if is_float else f"{least} or more"
    raise UserError(f"{where}: {key} is {value}, expected {said}")
  return value


def encoder_section(config: Mapping[str, Any], *, where: str) -> dict[str, Any]:
  """config.json -> `model.encoder`.

  Args:
    config: the content of config.json.
    where: the file's name, for errors.

  Raises:
    UserError: a model type or an option that our encoders do not have, or a value of another type.
  """
  kind = config.get("model_type")
  if kind not in ARCHITECTURES:
    raise UserError(f"{where}: model_type {kind!r} is none of {', '.join(ARCHITECTURES)}")
  for key, value in REQUIRED.get(kind, REQUIRED_OF_BERT).items():
    if config.get(key, value) != value:
      raise UserError(f"{where}: {key} is {config[key]!r}; dap_jax has only {value!r}")
  sizes = DISTILBERT_SIZES if kind == "distilbert" else SIZES
  section = {"model_type": kind}
  section |= {ours: number(config, theirs, None, where=where) for ours, theirs in sizes.items()}
  if section["width"] % section["heads"]:
    raise UserError(
      f"{where}: width {section['width']} is not divisible by {section['heads']} heads"
    )
  if kind == "modernbert":
    return section | attention_pattern(config, layers=section["layers"], where=where)
  if kind == "distilbert":
    return section | {"token_types": 0, "norm_eps": 1e-12, "position_offset": 0}
  section["token_types"] = number(config, "type_vocab_size", 2, where=where)
  section["norm_eps"] = number(config, "layer_norm_eps", 1e-12, where=where)
  offset = 0
  if kind in OFFSET_TYPES:
    offset = number(config, "pad_token_id", 1, where=where, least=0) + 1
  if offset >= section["positions"]:
    raise UserError(f"{where}: pad_token_id {offset - 1} leaves no positions")
  return section | {"position_offset": offset}


def attention_pattern(config: Mapping[str, Any], *, layers: int, where: str) -> dict[str, Any]:
  """ModernBERT's local and global layers; older files give a period, newer ones a list."""
  every = number(config, "global_attn_every_n_layers", 3, where=where)
  kinds = config.get("layer_types")
  if isinstance(kinds, list):
    every = next((i for i, kind in enumerate(kinds) if i and kind == "full_attention"), layers)
    if kinds != [layer_type(i, every) for i in range(layers)]:
      raise UserError(f"{where}: layer_types has no fixed period of full_attention")
  ropes = config.get("rope_parameters")
  ropes = ropes if isinstance(ropes, dict) else {}
  thetas, default = {}, 160_000.0
  for ours, kind, old in (
    ("global_theta", "full_attention", "global_rope_theta"),
    ("local_theta", "sliding_attention", "local_rope_theta"),
  ):
    rope = ropes.get(kind)
    rope = rope if isinstance(rope, dict) else {}
    if rope.get("rope_type", "default") != "default":
      raise UserError(f"{where}: dap_jax has only the default rotary positions, not {rope}")
    if old in config and config[old] is None:  # as in the global layers
      default = thetas.get("global_theta", default)
    theta = number({**config, **rope}, "rope_theta" if rope else old, default, where=where)
    thetas[ours] = float(theta)
    default = 10_000.0
  window = number(config, "local_attention", 128, where=where) // 2
  return {
    "norm_eps": number(config, "norm_eps", 1e-5, where=where),
    "global_every": every,
    "window": window,
    **thetas,
  }


def layer_type(index: int, every: int) -> str:
  """transformers' name of what layer `index` attends to."""
  return "sliding_attention" if index % every else "full_attention"


def hf_config(
  encoder: Mapping[str, Any], *, dropout: float, special_ids: Mapping[str, int]
) -> dict[str, Any]:
  """The config's `model.encoder` section -> transformers' config.json of an encoder.

  Args:
    encoder: the section, with `vocabulary_size` resolved.
    dropout: of the `model` section.
    special_ids: "pad", "cls" and "sep" -> id.

  Raises:
    UserError: the type cannot say what the section says.
  """
  kind = encoder["model_type"]
  sizes = DISTILBERT_SIZES if kind == "distilbert" else SIZES
  own = modernbert_config if kind == "modernbert" else bert_config
  return {
    "architectures": [ARCHITECTURES[kind]],
    "model_type": kind,
    **{theirs: encoder[ours] for ours, theirs in sizes.items()},
    "pad_token_id": special_ids["pad"],
    **own(encoder, dropout=dropout, special_ids=special_ids),
    "dtype": "float32",
    "torch_dtype": "float32",  # the name before transformers 5
  }


def bert_config(
  encoder: Mapping[str, Any], *, dropout: float, special_ids: Mapping[str, int]
) -> dict[str, Any]:
  """What the BERT family adds to the sizes."""
  kind = encoder["model_type"]
  expected = special_ids["pad"] + 1 if kind in OFFSET_TYPES else 0
  if encoder["position_offset"] != expected:
    raise UserError(
      f"model.encoder.position_offset={encoder['position_offset']} cannot be exported as {kind}:"
      f" with this tokenizer its positions start at {expected}"
    )
  if kind == "distilbert":
    return {"activation": "gelu", "dropout": dropout, "attention_dropout": dropout}
  config = {
    "type_vocab_size": encoder["token_types"],
    "layer_norm_eps": encoder["norm_eps"],
    "hidden_act": "gelu",  # transformers' name of the exact, erf form
    "hidden_dropout_prob": dropout,
    "attention_probs_dropout_prob": dropout,
  }
  if kind in OFFSET_TYPES:
    config |= {"bos_token_id": special_ids["cls"], "eos_token_id": special_ids["sep"]}
  return config


def modernbert_config(
  encoder: Mapping[str, Any], *, dropout: float, special_ids: Mapping[str, int]
) -> dict[str, Any]:
  """What ModernBERT adds to the sizes, as transformers 4 and 5 read it."""
  every = encoder["global_every"]
  thetas = {
    "full_attention": encoder["global_theta"],
    "sliding_attention": encoder["local_theta"],
  }
  cls, sep = special_ids["cls"], special_ids["sep"]
  return {
    "norm_eps": encoder["norm_eps"],
    "layer_types": [layer_type(i, every) for i in range(encoder["layers"])],
    "rope_parameters": {
      kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in thetas.items()
    },
    "global_attn_every_n_layers": every,
    "global_rope_theta": encoder["global_theta"],
    "local_rope_theta": encoder["local_theta"],
    "local_attention": 2 * encoder["window"],
    "hidden_activation": "gelu",
    **dict.fromkeys(("embedding_dropout", "attention_dropout", "mlp_dropout"), dropout),
    **dict.fromkeys(("cls_token_id", "bos_token_id"), cls),
    **dict.fromkeys(("sep_token_id", "eos_token_id"), sep),
  }
