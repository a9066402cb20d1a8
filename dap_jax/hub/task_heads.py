"""Folders of fine-tuned models, as transformers' classes with heads load them.

`AutoModelForSequenceClassification`, `AutoModelForTokenClassification` and
`AutoModelForQuestionAnswering` read them with the same logits. `model/task_heads.py` has the heads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from dap_jax.hub import configs, names, tokenizer_files, weights
from dap_jax.hub.from_hf import HfFolder
from dap_jax.hub.model_types.tensor_names import DENSE, KERNEL, SCALE, TABLES, Module
from dap_jax.hub.to_hf import whole_folder
from dap_jax.hub.weights import Leaf
from dap_jax.utils import trees
from dap_jax.utils.errors import UserError

CLASSES = {  # kind of head -> the end of the class's name in transformers
  "sequence": "ForSequenceClassification",
  "tokens": "ForTokenClassification",
  "answer": "ForQuestionAnswering",
}
LOGITS: Module = ("logits", "classifier", DENSE)
OF_MODERNBERT: tuple[Module, ...] = (
  ("dense", "head.dense", (KERNEL,)),
  ("norm", "head.norm", (SCALE,)),
  LOGITS,
)
ROBERTA: tuple[Module, ...] = (
  ("dense", "classifier.dense", DENSE),
  ("logits", "classifier.out_proj", DENSE),
)
SEQUENCE: dict[str, tuple[Module, ...]] = {  # model type -> its modules
  "bert": (("dense", "bert.pooler.dense", DENSE), LOGITS),
  **dict.fromkeys(configs.OFFSET_TYPES, ROBERTA),
  "distilbert": (("dense", "pre_classifier", DENSE), LOGITS),
}
TYPE_IDS = "token_type_ids"
WITH_FIRST_TOKEN = ("bert", *configs.OFFSET_TYPES)  # whose own head is our head on their `cls`


def modules_of(kind: str, model_type: str) -> tuple[Module, ...]:
  """The modules of a head: our path below `classifier`, torch's name, the leaves."""
  if model_type == "modernbert":
    return OF_MODERNBERT
  if kind == "sequence":
    return SEQUENCE[model_type]
  return (LOGITS,) if kind == "tokens" else (("logits", "qa_outputs", DENSE),)


def kind_in_transformers(kind: str, model_config: Mapping[str, Any]) -> str:
  """The kind of a head as transformers has it: our own is its `sequence` on the state of [CLS].

  Raises:
    UserError: transformers has no class that computes it.
  """
  if kind in CLASSES:
    return kind
  pooling, model_type = model_config["pooling"] or "cls", model_config["encoder"]["model_type"]
  if pooling == "cls" and not model_config["dense"]["width"] and model_type in WITH_FIRST_TOKEN:
    return "sequence"
  raise UserError(
    f"a head on the {pooling} vector of a model of type {model_type} cannot be exported:"
    " transformers has no such class; fine-tune with --head=transformers"
  )


def start_leaves(checkpoint: HfFolder, kind: str) -> dict[str, Any]:
  """What a checkpoint has of a head before it is fine-tuned, a tree of `Leaf` like `classifier`.

  That is BERT's pooler, and of ModernBERT the masked-LM head's hidden layer: transformers' classes
  start from them too. dap_jax writes a pooler of zeros, which is none.
  """
  encoder = checkpoint.model_config["encoder"]
  table = TABLES[encoder["model_type"]]
  flat = {}
  for entry in names.expand(modules_of(kind, encoder["model_type"])):
    stored = checkpoint.tensors.get(entry.torch_name.removeprefix(table.prefixes[0]))
    if stored is not None and len(stored.shape) <= 2 and set(stored.shape) == {encoder["width"]}:
      flat[entry.path] = Leaf(stored, entry.transposed)
  if not any(leaf.stored.map().any() for leaf in flat.values()):
    return {}
  return trees.nest(flat)


def tensors_of(
  params: Mapping[str, Any], section: Mapping[str, Any], kind: str
) -> dict[str, np.ndarray]:
  """transformers' tensors of encoder and head; section: the config's `model.encoder` section."""
  table = TABLES[section["model_type"]]
  encoder = names.to_torch(params["encoder"], names.encoder_entries(table, section["layers"]))
  tensors = {f"{table.prefixes[0]}{name}": array for name, array in encoder.items()}
  entries = names.expand(modules_of(kind, section["model_type"]))
  return tensors | names.to_torch(params["classifier"], entries)


def config_of(
  model_config: Mapping[str, Any],
  kind: str,
  classes: Sequence[str],
  *,
  special_ids: Mapping[str, int],
  dtype: str,
) -> dict[str, Any]:
  """The content of config.json; arguments as of `write_task_folder`."""
  section, dropout = model_config["encoder"], model_config["dropout"]
  config = configs.hf_config(section, dropout=dropout, special_ids=special_ids)
  name = configs.ARCHITECTURES[section["model_type"]].replace("Model", CLASSES[kind])
  config |= {"architectures": [name], "dtype": dtype, "torch_dtype": dtype}
  if section["model_type"] == "distilbert":
    config |= {"qa_dropout": dropout, "seq_classif_dropout": dropout}
  else:
    config["classifier_dropout"] = dropout
  if section["model_type"] == "modernbert":
    config["classifier_pooling"] = "cls"
  if kind != "answer":
    config["id2label"] = {str(number): label for number, label in enumerate(classes)}
    config["label2id"] = {label: number for number, label in enumerate(classes)}
  return config


def write_task_folder(
  directory: epath.PathLike,
  *,
  params: Mapping[str, Any],
  model_config: Mapping[str, Any],
  kind: str,
  classes: Sequence[str],
  has_types: bool,
  tokenizer_directory: epath.PathLike,
  special_ids: Mapping[str, int],
  max_tokens: int,
  readme: str,
  dtype: str,
) -> None:
  """Writes the folder, all of it or nothing.

  Args:
    directory: the folder; it must not exist, or be empty.
    params: encoder and classifier.
    model_config: the config's `model` section, with `encoder.vocabulary_size` resolved.
    kind: of the head, see `model.task_heads`.
    classes: their names, in the order of the logits.
    has_types: whether the second text of a pair has token type 1.
    tokenizer_directory: with the tokenizer's files.
    special_ids: "pad", "cls" and "sep" -> id.
    max_tokens: where texts are cut.
    readme: the model card.
    dtype: of the weights, one of `weights.FLOATS`.

  Raises:
    UserError: the folder exists already, or transformers or the dtype cannot represent the model.
  """
  kind = kind_in_transformers(kind, model_config)
  config = config_of(model_config, kind, classes, special_ids=special_ids, dtype=dtype)
  tensors = weights.cast(tensors_of(params, model_config["encoder"], kind), dtype)
  with whole_folder(epath.Path(directory)) as folder:
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "README.md").write_text(readme)
    weights.write_tensors(folder / weights.FILE, tensors)
    for file in epath.Path(tokenizer_directory).iterdir():
      (folder / file.name).write_bytes(file.read_bytes())
    settings = folder / "tokenizer_config.json"
    tokenizer_files.set_limit(settings, max_tokens=max_tokens)
    if has_types:
      content = json.loads(settings.read_text())
      content["model_input_names"] = ["input_ids", TYPE_IDS, "attention_mask"]
      settings.write_text(json.dumps(content, indent=1, ensure_ascii=False))
