"""The sentence-transformers side of a folder: modules.json and the modules it lists.

The classic layout, which all versions read: a Transformer, a Pooling, and optionally a Dense and a
Normalize. Without modules.json sentence-transformers would silently fall back to mean pooling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from etils import epath

from dap_jax.hub import keys, limits
from dap_jax.hub.configs import read_number
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json
from dap_jax.utils.prompts import Prompts, check_texts

# Pooling -> its key in 1_Pooling/config.json, as every version of sentence-transformers reads it.
POOLING_KEYS = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}
OTHER_KEYS = (
  "pooling_mode_max_tokens",
  "pooling_mode_mean_sqrt_len_tokens",
  "pooling_mode_weightedmean_tokens",
  "pooling_mode_lasttoken",
)
KINDS = ("Transformer", "Pooling", "Dense", "Normalize")
CLASS = rf"sentence_transformers\.(?:\w+\.)*({'|'.join(KINDS)})"
DENSE = "2_Dense"  # its folder, where there is one
ACTIVATIONS = {
  "identity": "torch.nn.modules.linear.Identity",
  "tanh": "torch.nn.modules.activation.Tanh",
}


class Modules(NamedTuple):
  """How a model gets from token states to a sentence vector.

  Attributes:
    transformer: the folder with config.json and the weights.
    pooling: a key of `POOLING_KEYS`.
    dense: the folder of the Dense module; None = there is none.
    dense_width: D of its output, 0 where there is none.
    dense_activation: a key of `ACTIVATIONS`.
    normalize: whether sentence vectors have unit length.
    max_tokens: where texts are cut; None where the folder does not say.
    prompts: what may go before texts.
  """

  transformer: epath.Path
  pooling: str
  dense: epath.Path | None
  dense_width: int
  dense_activation: str
  normalize: bool
  max_tokens: int | None
  prompts: Prompts


def inside(folder: epath.Path, path: Any) -> epath.Path:
  """The folder of a module, which must lie in the model's."""
  parts = str(path).split("/")
  if not isinstance(path, str) or path.startswith("/") or ".." in parts:
    raise UserError(f"{folder}/modules.json names {path!r}: expected a folder of the model")
  return folder / path if path else folder


def read_modules(folder: epath.Path) -> Modules | None:
  """Reads modules.json; None where there is none, as in a plain transformers folder.

  Raises:
    UserError: a module or a setting that our models do not have; nothing is skipped silently.
  """
  if not (folder / "modules.json").exists():
    return None
  kinds = read_kinds(folder)
  settings, pooling = folder / "config_sentence_transformers.json", kinds["Pooling"] / "config.json"
  prompts = read_prompts(settings) if settings.exists() else Prompts()
  width, activation = read_dense(kinds["Dense"]) if "Dense" in kinds else (0, "identity")
  normalize = kinds.get("Normalize")
  if normalize and (normalize / "config.json").exists():
    path = normalize / "config.json"
    keys.check_keys(read_json(path), keys.NORMALIZE, where=str(path))
  return Modules(
    transformer=kinds["Transformer"],
    pooling=read_pooling(pooling),
    dense=kinds.get("Dense"),
    dense_width=width,
    dense_activation=activation,
    normalize=normalize is not None,
    max_tokens=limits.stated_limit(kinds["Transformer"]),
    prompts=prompts._replace(are_pooled=read_json(pooling).get("include_prompt") is not False),
  )


def read_kinds(folder: epath.Path) -> dict[str, epath.Path]:
  """The modules that modules.json lists, kind -> folder. Raises UserError."""
  path = folder / "modules.json"
  kinds: dict[str, epath.Path] = {}
  names = []
  for module in read_json(path, list):
    module = module if isinstance(module, dict) else {}
    keys.check_keys(module, keys.MODULE, where=str(path))
    known = re.fullmatch(CLASS, str(module.get("type")))
    if not known or known[1] in kinds:
      raise UserError(
        f"{path}: a module of type {keys.shown(module.get('type'))}; dap_jax has"
        " sentence_transformers' Transformer and Pooling, and at most one Dense and one Normalize"
      )
    kinds[known[1]] = inside(folder, module.get("path", ""))
    names += [str(module["name"])] if "name" in module else []
  if list(kinds) != [kind for kind in KINDS if kind in kinds] or not kinds.keys() >= set(KINDS[:2]):
    raise UserError(f"{path}: expected Transformer, Pooling, [Dense], [Normalize]")
  if len(set(names)) < len(names):
    raise UserError(f"{path}: two modules of one name, of which only the last would count")
  return kinds


def read_prompts(path: epath.Path) -> Prompts:
  """The prompts in config_sentence_transformers.json; a null is an empty text there."""
  content = read_json(path)
  keys.check_keys(content, keys.SENTENCE_TRANSFORMERS, where=str(path))
  texts, default = content.get("prompts") or {}, content.get("default_prompt_name") or ""
  if isinstance(texts, dict):
    texts = {name: "" if text is None else text for name, text in texts.items()}
  prompts = Prompts(check_texts(texts, where=f"{path}: prompts"), default)
  if not isinstance(default, str) or default and default not in prompts.texts:
    raise UserError(
      f"{path}: default_prompt_name is {keys.shown(default)}; expected one of"
      f" {', '.join(map(repr, prompts.texts)) or 'its prompts, of which it has none'}"
    )
  return prompts


def read_pooling(path: epath.Path) -> str:
  """The pooling in a Pooling module's config, which has a flag each (old form) or a name (new)."""
  config = read_json(path)
  keys.check_keys(config, keys.POOLING, where=str(path))
  chosen = config.get("pooling_mode")
  if chosen is None:
    names = {key: name for name, key in POOLING_KEYS.items()} | {key: key for key in OTHER_KEYS}
    chosen = [name for key, name in names.items() if config.get(key)]
  chosen = chosen if isinstance(chosen, list) else [chosen]
  if len(chosen) != 1 or chosen[0] not in tuple(POOLING_KEYS):
    raise UserError(f"{path}: pooling {chosen}; expected one of {', '.join(POOLING_KEYS)}")
  return str(chosen[0])


def read_dense(folder: epath.Path) -> tuple[int, str]:
  """The width and the activation of a Dense module."""
  path = folder / "config.json"
  config = read_json(path)
  keys.check_keys(config, keys.DENSE, where=str(path))
  torch_name = config.get("activation_function", ACTIVATIONS["tanh"])
  names = {long: name for name, long in ACTIVATIONS.items()}
  names |= {f"torch.nn.{long.rsplit('.', 1)[-1]}": name for long, name in names.items()}
  if not isinstance(torch_name, str) or torch_name not in names:
    raise UserError(
      f"{path}: activation_function {torch_name!r}; expected one of {', '.join(names)}"
    )
  return read_number(config, "out_features", None, where=str(path)), names[torch_name]


def module_files(
  model_config: Mapping[str, Any], *, max_tokens: int, prompts: Prompts
) -> dict[str, Any]:
  """The files of the layout, name -> JSON content, for the config's `model` section."""
  pooling, width = model_config["pooling"], model_config["encoder"]["width"]
  if pooling not in POOLING_KEYS:
    raise UserError(
      f"model.pooling={pooling!r} cannot be exported: sentence-transformers' classic layout has"
      f" no such pooling; train with one of {', '.join(POOLING_KEYS)}, or use dap_jax.embed"
    )
  chain = ["Transformer", "Pooling"]
  content: dict[str, Any] = {
    "sentence_bert_config.json": {
      "max_seq_length": max_tokens,
      "do_lower_case": False,
    },
    "config_sentence_transformers.json": {
      "prompts": dict(prompts.texts),
      "default_prompt_name": prompts.default or None,
      "similarity_fn_name": "cosine",
    },
    "1_Pooling/config.json": {
      "word_embedding_dimension": width,
      **{key: name == pooling for name, key in POOLING_KEYS.items()},
      **dict.fromkeys(OTHER_KEYS[:2], False),
    },
  }
  if model_config["dense"]["width"]:
    chain.append("Dense")
    content[f"{DENSE}/config.json"] = {
      "in_features": width,
      "out_features": model_config["dense"]["width"],
      "bias": True,
      "activation_function": ACTIVATIONS[model_config["dense"]["activation"]],
    }
  if model_config["normalize"]:
    chain.append("Normalize")
    content[f"{len(chain) - 1}_Normalize/config.json"] = {}
  content["modules.json"] = [
    {
      "idx": i,
      "name": str(i),
      "path": f"{i}_{kind}" if i else "",
      "type": f"sentence_transformers.models.{kind}",
    }
    for i, kind in enumerate(chain)
  ]
  return content
