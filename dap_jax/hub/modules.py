"""The sentence-transformers side of a folder: modules.json and the modules it lists.

The classic layout, which all versions read: a Transformer, a Pooling, and optionally a Dense and a
Normalize. Without modules.json sentence-transformers would silently fall back to mean pooling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from dap_jax.hub import keys, limits
from dap_jax.hub.configs import read_number
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json
from dap_jax.utils.prompts import Prompts, check_texts

# Pooling -> its flag in 1_Pooling/config.json, in the order in which their vectors are joined.
POOLING_FLAGS = {
  "cls": "pooling_mode_cls_token",
  "max": "pooling_mode_max_tokens",
  "mean": "pooling_mode_mean_tokens",
  "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
  "weightedmean": "pooling_mode_weightedmean_tokens",
  "lasttoken": "pooling_mode_lasttoken",
}
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
    pooling: one of `POOLING_FLAGS`, or several, joined by +.
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
    chosen = [name for name, flag in POOLING_FLAGS.items() if config.get(flag)] or ["mean"]
  chosen = chosen if isinstance(chosen, list) else [chosen]
  if not all(name in list(POOLING_FLAGS) for name in chosen) or len(set(chosen)) < len(chosen):
    raise UserError(
      f"{path}: pooling {keys.shown(chosen)}; expected one of {', '.join(POOLING_FLAGS)}, or"
      " several of them, each once"
    )
  return "+".join(chosen)


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
  width = model_config["encoder"]["width"]
  poolings = model_config["pooling"].split("+")
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
      **pooling_config(poolings, width=width),
      **({} if prompts.are_pooled else {"include_prompt": False}),
    },
  }
  if model_config["dense"]["width"]:
    chain.append("Dense")
    content[f"{DENSE}/config.json"] = {
      "in_features": width * len(poolings),
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


def pooling_config(poolings: Sequence[str], *, width: int) -> dict[str, Any]:
  """1_Pooling/config.json: flags, as every version of sentence-transformers reads them.

  Raises:
    UserError: the flags cannot say it.
  """
  if list(poolings) != [name for name in POOLING_FLAGS if name in poolings]:
    raise UserError(
      f"model.pooling={'+'.join(poolings)!r} cannot be exported: sentence-transformers' classic"
      f" layout has {', '.join(POOLING_FLAGS)}, and several of them in this order; train with"
      " these, or use dap_jax.embed"
    )
  flags = {flag: name in poolings for name, flag in POOLING_FLAGS.items()}
  new = [POOLING_FLAGS["weightedmean"], POOLING_FLAGS["lasttoken"]]  # old versions do not know them
  flags = {flag: is_on for flag, is_on in flags.items() if is_on or flag not in new}
  return {"word_embedding_dimension": width, **flags}
