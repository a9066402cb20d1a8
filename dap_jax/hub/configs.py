"""transformers' config.json <-> the config's `model.encoder` section, one reader a family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dap_jax.errors import UserError

# transformers' own defaults where config.json may be silent; None = the key must be there.
BERT_KEYS = {
  "layers": ("num_hidden_layers", None),
  "width": ("hidden_size", None),
  "heads": ("num_attention_heads", None),
  "mlp_width": ("intermediate_size", None),
  "positions": ("max_position_embeddings", None),
  "token_types": ("type_vocab_size", 2),
  "norm_eps": ("layer_norm_eps", 1e-12),
  "vocabulary_size": ("vocab_size", None),
}
DISTILBERT_KEYS = {
  "layers": ("n_layers", None),
  "width": ("dim", None),
  "heads": ("n_heads", None),
  "mlp_width": ("hidden_dim", None),
  "positions": ("max_position_embeddings", None),
  "vocabulary_size": ("vocab_size", None),
}
MODERNBERT_KEYS = {
  "layers": ("num_hidden_layers", None),
  "width": ("hidden_size", None),
  "heads": ("num_attention_heads", None),
  "mlp_width": ("intermediate_size", None),
  "positions": ("max_position_embeddings", None),
  "norm_eps": ("norm_eps", 1e-5),
  "vocabulary_size": ("vocab_size", None),
}
KEYS = {
  "bert": BERT_KEYS,
  "roberta": BERT_KEYS,
  "xlm-roberta": BERT_KEYS,
  "distilbert": DISTILBERT_KEYS,
  "modernbert": MODERNBERT_KEYS,
}
# What our encoders do not do; a checkpoint that asks for it is refused, not approximated.
REQUIRED = {
  "hidden_act": "gelu",
  "activation": "gelu",
  "hidden_activation": "gelu",
  "classifier_activation": "gelu",
  "position_embedding_type": "absolute",
  "is_decoder": False,
  "add_cross_attention": False,
  "attention_bias": False,
  "mlp_bias": False,
  "norm_bias": False,
  "classifier_bias": False,
  "decoder_bias": True,
}
ARCHITECTURES = {
  "bert": "BertModel",
  "roberta": "RobertaModel",
  "xlm-roberta": "XLMRobertaModel",
  "distilbert": "DistilBertModel",
  "modernbert": "ModernBertModel",
}


def encoder_section(config: Mapping[str, Any], *, where: str) -> dict[str, Any]:
  """config.json -> `model.encoder`.

  Args:
    config: the content of config.json.
    where: the file's name, for errors.

  Raises:
    UserError: a model type or an option that our encoders do not have, or a value of another type.
  """
  kind = config.get("model_type")
  if kind not in KEYS:
    raise UserError(f"{where}: model_type {kind!r} is none of {', '.join(KEYS)}")
  for key, value in REQUIRED.items():
    if config.get(key, value) != value:
      raise UserError(f"{where}: {key} is {config[key]!r}; dap_jax has only {value!r}")
  section = {"model_type": kind}
  for ours, (theirs, default) in KEYS[kind].items():
    value = config.get(theirs, default)
    is_size = ours != "norm_eps"
    if isinstance(value, bool) or not isinstance(value, int if is_size else (int, float)):
      raise UserError(f"{where}: {theirs} is {value!r}, expected a number")
    if is_size and value < 1:
      raise UserError(f"{where}: {theirs} is {value}, expected 1 or more")
    section[ours] = value
  if section["width"] % section["heads"]:
    raise UserError(
      f"{where}: width {section['width']} is not divisible by {section['heads']} heads"
    )
  if kind == "modernbert":
    return section | attention_pattern(config, layers=section["layers"], where=where)
  if kind == "distilbert":
    section |= {"token_types": 0, "norm_eps": 1e-12}
  rises = kind in ("roberta", "xlm-roberta")
  return section | {"position_offset": config.get("pad_token_id", 1) + 1 if rises else 0}


def attention_pattern(config: Mapping[str, Any], *, layers: int, where: str) -> dict[str, Any]:
  """ModernBERT's local and global layers; older files give a period, newer ones a list."""
  every = config.get("global_attn_every_n_layers", 3)
  kinds = config.get("layer_types")
  if kinds is not None:
    period = next((i for i, kind in enumerate(kinds) if i and kind == "full_attention"), layers)
    every = max(period, 1)
    expected = ["full_attention" if i % every == 0 else "sliding_attention" for i in range(layers)]
    if list(kinds) != expected:
      raise UserError(f"{where}: layer_types has no fixed period of full_attention")
  ropes = config.get("rope_parameters") or {}
  thetas = {}
  for ours, kind, old, default in (
    ("global_theta", "full_attention", "global_rope_theta", 160_000.0),
    ("local_theta", "sliding_attention", "local_rope_theta", 10_000.0),
  ):
    rope = ropes.get(kind) or {}
    if rope.get("rope_type", "default") != "default" or config.get("rope_scaling"):
      raise UserError(f"{where}: dap_jax has only the default rotary positions, not {rope}")
    thetas[ours] = float(rope.get("rope_theta", config.get(old, default)))
  return {"global_every": every, "window": config.get("local_attention", 128) // 2, **thetas}


def dropout_of(config: Mapping[str, Any]) -> float:
  """The dropout that the checkpoint names for its residual branches."""
  for key in ("hidden_dropout_prob", "dropout", "mlp_dropout"):
    if key in config:
      return float(config[key])
  return 0.0


def hf_config(
  encoder: Mapping[str, Any], *, dropout: float, special_ids: Mapping[str, int]
) -> dict[str, Any]:
  """The config's `model.encoder` section -> transformers' config.json of an encoder.

  Args:
    encoder: the section, with `vocabulary_size` resolved.
    dropout: of the `model` section.
    special_ids: "pad", "cls" and "sep" -> id.
  """
  kind = encoder["model_type"]
  config = {"architectures": [ARCHITECTURES[kind]], "model_type": kind}
  config |= {theirs: encoder[ours] for ours, (theirs, _) in KEYS[kind].items()}
  config |= {"pad_token_id": special_ids["pad"]}
  if kind == "modernbert":
    kinds = ("full_attention", "sliding_attention")
    every, count = encoder["global_every"], encoder["layers"]
    thetas = (encoder["global_theta"], encoder["local_theta"])
    config |= {
      "layer_types": [kinds[i % every != 0] for i in range(count)],
      "global_attn_every_n_layers": every,  # as transformers 4 reads it
      "global_rope_theta": thetas[0],
      "local_rope_theta": thetas[1],
      "rope_parameters": {
        name: {"rope_type": "default", "rope_theta": theta}
        for name, theta in zip(kinds, thetas, strict=True)
      },
      "local_attention": 2 * encoder["window"],
      "hidden_activation": "gelu",
      **dict.fromkeys(("embedding_dropout", "attention_dropout", "mlp_dropout"), dropout),
      **{f"{role}_token_id": special_ids[role] for role in ("cls", "sep")},
      **{f"{role}_token_id": special_ids[like] for role, like in (("bos", "cls"), ("eos", "sep"))},
    }
  elif kind == "distilbert":
    config |= {"activation": "gelu", "dropout": dropout, "attention_dropout": dropout}
  else:
    config |= {
      "hidden_act": "gelu",  # transformers' name of the exact, erf form
      "hidden_dropout_prob": dropout,
      "attention_probs_dropout_prob": dropout,
    }
    if kind != "bert":
      config |= {"bos_token_id": special_ids["cls"], "eos_token_id": special_ids["sep"]}
      offset = special_ids["pad"] + 1
      if encoder["position_offset"] != offset:
        raise UserError(
          f"model.encoder.position_offset={encoder['position_offset']} cannot be exported as"
          f" {kind}: there positions start at the padding id + 1, which is {offset}"
        )
  if kind in ("bert", "distilbert", "modernbert") and encoder.get("position_offset"):
    raise UserError(
      f"model.encoder.position_offset={encoder['position_offset']} cannot be exported as {kind}:"
      " its positions start at 0"
    )
  # `torch_dtype` is the name before transformers 5.
  return config | {"dtype": "float32", "torch_dtype": "float32"}
