"""One table between our parameter paths and BERT's torch names; it serves both directions.

Every tensor is used exactly once: what is missing, unknown or misshapen is listed all at once.
Only names and transposes change, so a round trip is byte-exact. numpy only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from dap_jax.errors import UserError

DENSE = (("kernel", "weight", True), ("bias", "bias", False))
NORM = (("scale", "weight", False), ("bias", "bias", False))
TABLE = (("embedding", "weight", False),)

EMBEDDINGS = (
  ("embeddings/word", "embeddings.word_embeddings", TABLE),
  ("embeddings/position", "embeddings.position_embeddings", TABLE),
  ("embeddings/token_type", "embeddings.token_type_embeddings", TABLE),
  ("embeddings/norm", "embeddings.LayerNorm", NORM),
)
LAYER = (
  ("attention/query", "attention.self.query", DENSE),
  ("attention/key", "attention.self.key", DENSE),
  ("attention/value", "attention.self.value", DENSE),
  ("attention/output", "attention.output.dense", DENSE),
  ("attention_norm", "attention.output.LayerNorm", NORM),
  ("mlp_in", "intermediate.dense", DENSE),
  ("mlp_out", "output.dense", DENSE),
  ("mlp_norm", "output.LayerNorm", NORM),
)
HEAD = (
  ("head/dense", "cls.predictions.transform.dense", DENSE),
  ("head/norm", "cls.predictions.transform.LayerNorm", NORM),
)
HEAD_KERNEL = ("head/vocabulary/kernel", "cls.predictions.decoder.weight", True)
HEAD_BIAS = ("head/vocabulary/bias", "cls.predictions.bias", False)

# In BertModel checkpoints, but no part of our encoder: the pooler is trained for BERT's
# next-sentence task, position_ids is a constant 0, 1, 2, ...
DROPPED = ("pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids")

Entry = tuple[str, str, bool]  # our path, torch's name, whether it is transposed


def expand(modules, *, path: str = "", name: str = "") -> list[Entry]:
  """Modules -> one entry a tensor, with prefixes."""
  return [
    (f"{path}{ours}/{leaf}", f"{name}{theirs}.{torch_leaf}", transposed)
    for ours, theirs, leaves in modules
    for leaf, torch_leaf, transposed in leaves
  ]


def encoder_entries(layers: int, *, name: str = "") -> list[Entry]:
  """The table of an encoder of `layers` layers; torch names get the prefix `name`."""
  entries = expand(EMBEDDINGS, name=name)
  for i in range(layers):
    entries += expand(LAYER, path=f"layers_{i}/", name=f"{name}encoder.layer.{i}.")
  return entries


def decoder_entries(layers: int, *, tied: bool) -> list[Entry]:
  """The table of an RTL decoder, as transformers' BertForMaskedLM names it."""
  kernel = [] if tied else [HEAD_KERNEL]
  return [*encoder_entries(layers, name="bert."), *expand(HEAD), HEAD_BIAS, *kernel]


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
  """{"a/b": x} -> {"a": {"b": x}}."""
  tree: dict[str, Any] = {}
  for path, leaf in flat.items():
    *parents, last = path.split("/")
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[last] = leaf
  return tree


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """{"a": {"b": x}} -> {"a/b": x}."""
  flat = {}
  for key, value in tree.items():
    path = f"{prefix}{key}"
    flat |= flatten(value, f"{path}/") if isinstance(value, Mapping) else {path: value}
  return flat


def to_flax(tensors: Mapping[str, np.ndarray], entries: list[Entry]) -> dict[str, Any]:
  """Torch tensors -> our tree, by `entries`."""
  known = {theirs for _, theirs, _ in entries}
  missing = sorted(known - set(tensors))
  unused = sorted(set(tensors) - known - set(DROPPED))
  if missing or unused:
    raise UserError(
      f"the tensors are not those of a BERT of this shape: missing {missing or 'none'},"
      f" unknown {unused or 'none'}; check the folder's config.json against its weights"
    )
  return nest(
    {
      ours: tensors[theirs].T if transposed else tensors[theirs]
      for ours, theirs, transposed in entries
    }
  )


def to_torch(tree: Mapping[str, Any], entries: list[Entry]) -> dict[str, np.ndarray]:
  """Our tree -> torch tensors, by `entries`; contiguous arrays."""
  flat = flatten(tree)
  known = {ours for ours, _, _ in entries}
  assert known == set(flat), f"table and tree differ in {sorted(known ^ set(flat))}"
  return {
    theirs: np.ascontiguousarray(np.asarray(flat[ours]).T if transposed else flat[ours])
    for ours, theirs, transposed in entries
  }


def depth(names: Mapping[str, Any], pattern: str) -> int:
  """The number of layers: one more than the largest index that `pattern` captures."""
  found = [int(match[1]) for name in names if (match := re.match(pattern, name))]
  return max(found, default=-1) + 1


def encoder_to_flax(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """BertModel tensors (names without `bert.`) -> the tree `params["encoder"]`."""
  return to_flax(tensors, encoder_entries(depth(tensors, r"encoder\.layer\.(\d+)\.")))


def encoder_to_torch(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The tree `params["encoder"]` -> BertModel tensors."""
  return to_torch(tree, encoder_entries(depth(tree, r"layers_(\d+)$")))


def decoder_to_flax(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """BertForMaskedLM tensors -> the tree `params["decoder"]`; untied where the kernel is there."""
  layers = depth(tensors, r"bert\.encoder\.layer\.(\d+)\.")
  return to_flax(tensors, decoder_entries(layers, tied=HEAD_KERNEL[1] not in tensors))


def decoder_to_torch(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The tree `params["decoder"]` -> BertForMaskedLM tensors."""
  tied = "kernel" not in tree["head"]["vocabulary"]
  return to_torch(tree, decoder_entries(depth(tree, r"layers_(\d+)$"), tied=tied))
