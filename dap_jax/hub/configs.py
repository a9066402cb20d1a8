"""transformers' config.json <-> the `model.encoder` section of our config, in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dap_jax.hub import keys
from dap_jax.utils.errors import UserError

# Keys of `model.encoder` -> keys of config.json.
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
M2M100_SIZES = SIZES | {
  "layers": "encoder_layers",
  "width": "d_model",
  "heads": "encoder_attention_heads",
  "mlp_width": "encoder_ffn_dim",
}
SIZES_OF = {"distilbert": DISTILBERT_SIZES, "m2m_100": M2M100_SIZES}  # the others: `SIZES`
ARCHITECTURES = {  # with "ForMaskedLM" in place of "Model" the class that has a masked-LM head
  "bert": "BertModel",
  "roberta": "RobertaModel",
  "xlm-roberta": "XLMRobertaModel",
  "xlm-roberta-xl": "XLMRobertaXLModel",
  "distilbert": "DistilBertModel",
  "modernbert": "ModernBertModel",
  "m2m_100": "M2M100Encoder",
}
WITHOUT_MASKED_LM = ("m2m_100",)  # transformers has no class of it with such a head
LARGEST = 10**15  # no size of a model is larger
OFFSET_TYPES = ("roberta", "xlm-roberta", "xlm-roberta-xl")  # positions start at the padding id + 1


def read_number(
  config: Mapping[str, Any], key: str, default: float | None, *, where: str, least: int = 1
) -> Any:
  """A number in config.json: above 0 where the default is a float, else an int from `least` on.

  Args:
    config: the content of config.json.
    key: the number's key.
    default: where the key is missing or null; None = it is required.
    where: the file's name, for errors.
    least: the smallest int allowed.

  Raises:
    UserError: the number is missing, of another type, or too small.
  """
  value = config.get(key)
  value = default if value is None else value
  is_float = isinstance(default, float)
  if isinstance(value, bool) or not isinstance(value, (int, float) if is_float else int):
    raise UserError(f"{where}: {key} is {keys.shown(value)}, expected a number")
  if not (0 < value < LARGEST if is_float else least <= value < LARGEST):
    bound = "more than 0" if is_float else f"{least} or more"
    raise UserError(f"{where}: {key} is {value}, expected {bound}, below {LARGEST:.0e}")
  return value


def encoder_section(config: Mapping[str, Any], *, where: str) -> dict[str, Any]:
  """config.json -> `model.encoder`.

  Args:
    config: the content of config.json.
    where: the file's name, for errors.

  Raises:
    UserError: a model type or an option that our encoders do not have, or a value of a wrong type.
  """
  kind = config.get("model_type")
  if not isinstance(kind, str) or kind not in ARCHITECTURES:
    raise UserError(f"{where}: model_type {kind!r} is none of {', '.join(ARCHITECTURES)}")
  keys.check_keys(config, keys.CONFIGS[kind], where=where)
  sizes = SIZES_OF.get(kind, SIZES)
  section: dict[str, Any] = {"model_type": kind}
  section |= {key: read_number(config, hf_key, None, where=where) for key, hf_key in sizes.items()}
  if section["width"] % section["heads"]:
    raise UserError(
      f"{where}: width {section['width']} is not divisible by {section['heads']} heads"
    )
  if kind == "modernbert":
    return section | attention_pattern(config, layers=section["layers"], where=where)
  if kind == "m2m_100":
    return section | m2m100_options(config, section, where=where)
  if kind == "distilbert":
    return section | {"token_types": 0, "norm_eps": 1e-12, "position_offset": 0}
  section["token_types"] = read_number(config, "type_vocab_size", 2, where=where)
  section["norm_eps"] = read_number(config, "layer_norm_eps", 1e-12, where=where)
  offset = 0
  if kind in OFFSET_TYPES:
    offset = read_number(config, "pad_token_id", 1, where=where, least=0) + 1
  if offset >= section["positions"]:
    raise UserError(f"{where}: pad_token_id {offset - 1} leaves no positions")
  return section | {"position_offset": offset}


def m2m100_options(
  config: Mapping[str, Any], sizes: Mapping[str, Any], *, where: str
) -> dict[str, Any]:
  """The keys of M2M-100's encoder that are not `sizes` as they stand in config.json."""
  for key in ("layers", "width", "heads"):  # transformers has two names for each
    value = config.get(SIZES[key])
    if value not in (None, sizes[key]):
      raise UserError(
        f"{where}: {SIZES[key]} is {keys.shown(value)}, but {M2M100_SIZES[key]} is {sizes[key]}"
      )
  scale = config.get("scale_embedding")
  if not isinstance(scale, bool | None):
    raise UserError(f"{where}: scale_embedding is {keys.shown(scale)}, expected true or false")
  offset = read_number(config, "pad_token_id", 1, where=where, least=0) + 1
  return {
    "positions": sizes["positions"] + offset,  # there the offset is not counted
    "position_offset": offset,
    "scale_embedding": scale is not False,
  }


def attention_pattern(config: Mapping[str, Any], *, layers: int, where: str) -> dict[str, Any]:
  """ModernBERT's local and global layers. Older files have a period, newer ones list the layers."""
  every = read_number(config, "global_attn_every_n_layers", 3, where=where)
  kinds = config.get("layer_types")
  if kinds is not None:
    listed = kinds if isinstance(kinds, list) and len(kinds) == layers else []
    every = next((i for i, kind in enumerate(listed) if i and kind == "full_attention"), layers)
    if listed != [layer_type(i, every) for i in range(len(listed))] or not listed:
      raise UserError(f"{where}: layer_types has no fixed period of full_attention")
  thetas = rotary_bases(config, where=where)
  half = config.get("sliding_window")  # what newer code calls half the window; it goes first
  if half is None:
    window = read_number(config, "local_attention", 128, where=where) // 2
  else:
    window = read_number(config, "sliding_window", None, where=where)
  return {
    "norm_eps": read_number(config, "norm_eps", 1e-5, where=where),
    "global_every": every,
    "window": window,
    **thetas,
  }


def rotary_bases(config: Mapping[str, Any], *, where: str) -> dict[str, float]:
  """The bases of ModernBERT's rotary positions; newer files have them by the kind of layer."""
  ropes = {} if config.get("rope_parameters") is None else config["rope_parameters"]
  known = ("full_attention", "sliding_attention")
  if not isinstance(ropes, dict) or not set(ropes) <= set(known):
    raise UserError(
      f"{where}: rope_parameters is {keys.shown(ropes)}; expected {' and '.join(known)}"
    )
  thetas: dict[str, float] = {}
  default = 160_000.0
  for key, kind, old_key in (
    ("global_theta", "full_attention", "global_rope_theta"),
    ("local_theta", "sliding_attention", "local_rope_theta"),
  ):
    rope = {} if ropes.get(kind) is None else ropes[kind]
    if not isinstance(rope, dict) or rope.keys() - {"rope_type", "type", "rope_theta"}:
      raise UserError(f"{where}: rope_parameters of {kind} are {keys.shown(rope)}")
    if any(rope.get(name, "default") != "default" for name in ("rope_type", "type")):
      raise UserError(f"{where}: dap_jax has only the default rotary positions, not {rope}")
    if old_key in config and config[old_key] is None:  # the same as in the global layers
      default = thetas.get("global_theta", default)
    base = read_number(config, old_key, default, where=where)
    thetas[key] = float(read_number(rope, "rope_theta", float(base), where=where))
    default = 10_000.0
  return thetas


def layer_type(index: int, every: int) -> str:
  """transformers' name for what layer `index` attends to."""
  return "sliding_attention" if index % every else "full_attention"


def hf_config(
  encoder: Mapping[str, Any],
  *,
  dropout: float,
  special_ids: Mapping[str, int],
  masked_lm: bool = False,
) -> dict[str, Any]:
  """`model.encoder` -> the content of transformers' config.json.

  Args:
    encoder: the section of the config, with `vocabulary_size` resolved.
    dropout: of the config's `model` section.
    special_ids: "pad", "cls" and "sep" -> id.
    masked_lm: whether the weights have a masked-LM head.

  Raises:
    UserError: the model type has no option for a setting of the section.
  """
  kind = encoder["model_type"]
  sizes = SIZES_OF.get(kind, SIZES)
  families = {"modernbert": modernbert_config, "m2m_100": m2m100_config}
  family_config = families.get(kind, bert_config)
  architecture = ARCHITECTURES[kind]
  return {
    "architectures": [architecture.replace("Model", "ForMaskedLM") if masked_lm else architecture],
    "model_type": kind,
    **{hf_key: encoder[key] for key, hf_key in sizes.items()},
    "pad_token_id": special_ids["pad"],
    **family_config(encoder, dropout=dropout, special_ids=special_ids),
  }


def check_offset(encoder: Mapping[str, Any], expected: int) -> None:
  """Raises UserError where transformers' positions would start elsewhere."""
  if encoder["position_offset"] != expected:
    raise UserError(
      f"model.encoder.position_offset={encoder['position_offset']} cannot be exported as"
      f" {encoder['model_type']}: with this tokenizer its positions start at {expected}"
    )


def bert_config(
  encoder: Mapping[str, Any], *, dropout: float, special_ids: Mapping[str, int]
) -> dict[str, Any]:
  """The BERT family's keys beside the sizes."""
  kind = encoder["model_type"]
  check_offset(encoder, special_ids["pad"] + 1 if kind in OFFSET_TYPES else 0)
  if kind == "distilbert":
    return {"activation": "gelu", "dropout": dropout, "attention_dropout": dropout}
  config: dict[str, Any] = {
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
  """ModernBERT's keys beside the sizes, for transformers 4 and 5."""
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


def m2m100_config(
  encoder: Mapping[str, Any], *, dropout: float, special_ids: Mapping[str, int]
) -> dict[str, Any]:
  """The keys of M2M-100's encoder beside the sizes; what is of a decoder stays at its default."""
  check_offset(encoder, special_ids["pad"] + 1)
  return {
    "max_position_embeddings": encoder["positions"] - encoder["position_offset"],
    "scale_embedding": encoder["scale_embedding"],
    "activation_function": "relu",
    **dict.fromkeys(("dropout", "attention_dropout"), dropout),
    **dict.fromkeys(("activation_dropout", "encoder_layerdrop"), 0.0),
    "is_encoder_decoder": True,  # as transformers writes it for the encoder alone
    "eos_token_id": special_ids["sep"],
  }
