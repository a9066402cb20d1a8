"""A checkpoint's folder -> our config sections, and parameters that are still in their files.

Read are transformers folders of the types in `names.TABLES`, with or without a masked-LM head, and
sentence-transformers folders around them; with `decoder/`, if `export --include_decoder` wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from dap_jax import trees
from dap_jax.errors import UserError
from dap_jax.hub import configs, modules, names, weights
from dap_jax.hub.weights import Leaf, Stored

DECODER = "decoder"  # the folder that export adds for those who train on
ENGLISH_IDS = "english_ids"
NO_LIMIT = 1 << 20  # transformers writes 1e30 where a tokenizer has no limit


class Imported(NamedTuple):
  """A checkpoint, nothing of it loaded yet.

  Attributes:
    folder: where it lies.
    model: sections of the config's `model`: encoder, dense, normalize, and pooling where the
      folder names one.
    dropout: as its config.json names it.
    max_tokens: where texts are cut.
    tensors: of the encoder and the masked-LM head, by standard name.
    dense, decoder: tensors of those modules; empty where there are none.
  """

  folder: epath.Path
  model: dict[str, Any]
  dropout: float
  max_tokens: int
  tensors: dict[str, Stored]
  dense: dict[str, Stored]
  decoder: dict[str, Stored]

  @property
  def table(self) -> names.Table:
    return names.TABLES[self.model["encoder"]["model_type"]]


def read(directory: epath.PathLike) -> Imported:
  """Reads the JSON files and the headers of a folder.

  Raises:
    UserError: something is missing, unknown or damaged.
  """
  folder = epath.Path(directory)
  found = modules.read(folder)
  inner = found.transformer if found else folder
  if not (inner / "config.json").exists():
    raise UserError(
      f"{inner} has no config.json: give a workdir of train, or a checkpoint's folder"
    )
  config = weights.read_json(inner / "config.json")
  encoder = configs.encoder_section(config, where=str(inner / "config.json"))
  table = names.TABLES[encoder["model_type"]]
  tensors = {
    names.standard_name(name, table): stored for name, stored in weights.find(inner).items()
  }
  model = {"encoder": encoder, "dense": {"width": 0, "activation": "identity"}, "normalize": True}
  if found:
    model |= {
      "pooling": found.pooling,
      "dense": {"width": found.dense_width, "activation": found.dense_activation},
      "normalize": found.normalize,
    }
  rooms = encoder["positions"] - encoder.get("position_offset", 0)
  said = found.max_tokens if found and found.max_tokens else tokenizer_limit(inner)
  decoder = folder / DECODER
  return Imported(
    folder=inner,
    model=model,
    dropout=configs.dropout_of(config),
    max_tokens=min(said or rooms, rooms),
    tensors=tensors,
    dense=weights.find(found.dense) if found and found.dense else {},
    decoder=weights.find(decoder) if decoder.exists() else {},
  )


def tokenizer_limit(folder: epath.Path) -> int | None:
  """model_max_length of the tokenizer, where it has one."""
  path = folder / "tokenizer_config.json"
  limit = weights.read_json(path).get("model_max_length") if path.exists() else None
  return int(limit) if isinstance(limit, (int, float)) and 2 <= limit < NO_LIMIT else None


def shapes(abstract: Mapping[str, Any], entries: list[names.Entry]) -> dict[str, tuple[int, ...]]:
  """name -> the torch shape of each entry, by our abstract tree."""
  flat = trees.flatten(abstract)
  return {
    entry.theirs: names.torch_shape(flat[entry.ours].shape, transposed=entry.transposed)
    for entry in entries
    if entry.ours in flat
  }


def encoder_leaves(imported: Imported, abstract: Mapping[str, Any]) -> dict[str, Any]:
  """The tree of `Leaf` of `params`: encoder, and dense where there is one.

  Args:
    imported: the checkpoint.
    abstract: the model's parameters, with shapes.

  Raises:
    UserError: tensors are missing, unknown or misshapen; all are listed.
  """
  table, layers = imported.table, imported.model["encoder"]["layers"]
  entries = names.encoder_entries(table, layers)
  weights.check(
    imported.tensors,
    shapes(abstract["encoder"], entries) | head_shapes(imported),
    where=str(imported.folder),
    known=lambda name: names.is_dropped(name, table),
  )
  tree = {"encoder": weights.leaves(imported.tensors, entries)}
  if imported.dense:
    wanted = shapes(abstract["dense"], names.DENSE_ENTRIES)
    weights.check(imported.dense, wanted, where=f"{imported.folder}, its Dense")
    tree["dense"] = weights.leaves(imported.dense, names.DENSE_ENTRIES)
  return tree


def has_head(imported: Imported) -> bool:
  """Whether the checkpoint has a masked-LM head."""
  return imported.table.head_bias in imported.tensors


def head_shapes(imported: Imported) -> dict[str, tuple[int, ...]]:
  """name -> the torch shape of the masked-LM head's tensors; empty where there is no head."""
  table, encoder = imported.table, imported.model["encoder"]
  width, ids = encoder["width"], encoder["vocabulary_size"]
  expected = {
    entry.theirs: (width, width) if entry.transposed else (width,)
    for entry in names.head_entries(table, tied=True)
  }
  expected |= {table.head_bias: (ids,), table.head_kernel: (ids, width)}
  if not set(expected) & set(imported.tensors):
    return {}
  if table.head_kernel not in imported.tensors:  # tied to the word embeddings
    del expected[table.head_kernel]
  return expected


def decoder_from_checkpoint(
  imported: Imported, *, layers: int, english_ids: np.ndarray | None
) -> dict[str, Any]:
  """An RTL decoder out of the checkpoint's own parts, as DAP starts it (section 3.2).

  Its embeddings, its last `layers` layers, its masked-LM head with the rows of the English ids.
  Without a head the projection starts from the word embeddings, and the rest is left out.

  Args:
    imported: the checkpoint.
    layers: K of the decoder.
    english_ids: rows of the head; None = all, tied to the word embeddings.

  Returns:
    A tree of `Leaf`, below `params["decoder"]`.
  """
  table, depth = imported.table, imported.model["encoder"]["layers"]
  if layers > depth:
    raise UserError(f"decoder.layers={layers}: {imported.folder} has only {depth} to start from")
  entries = names.encoder_entries(table, depth, first=depth - layers)
  if has_head(imported):
    entries += names.head_entries(table, tied=True)
  flat = trees.flatten(weights.leaves(imported.tensors, entries))
  if english_ids is not None:
    kernel = imported.tensors.get(table.head_kernel) or flat["embeddings/word/embedding"].stored
    flat["head/vocabulary/kernel"] = Leaf(kernel, True, english_ids)
    bias = flat.get("head/vocabulary/bias")
    if bias is not None:
      flat["head/vocabulary/bias"] = bias._replace(rows=english_ids)
  return trees.nest(flat)


class Continued(NamedTuple):
  """What `export --include_decoder` wrote beside the encoder.

  Attributes:
    params: trees of `Leaf`: decoder, whose head has a row for each of `english_ids`, and the
      projection if there was one.
    english_ids: int32 [V_en], sorted; None for a tied head over all ids.
  """

  params: dict[str, Any]
  english_ids: np.ndarray | None


def continued(imported: Imported, abstract: Mapping[str, Any]) -> Continued | None:
  """The trained decoder of a folder; None where there is none, or one of another make.

  Args:
    imported: the checkpoint.
    abstract: the model's parameters, with shapes; its decoder has as many layers, and a head of
      the same kind, or else it starts anew.

  Raises:
    UserError: tensors are missing, unknown or misshapen; all are listed.
  """
  wanted, table = abstract["decoder"], imported.table
  english = imported.decoder.get(ENGLISH_IDS)
  depth = imported.model["encoder"]["layers"]
  layers = sum(name.startswith("layers_") for name in wanted)
  tied = "kernel" not in wanted["head"]["vocabulary"]
  if layers > depth:
    return None
  entries = names.decoder_entries(table, depth=depth, layers=layers, tied=tied)
  stored = {name.rsplit(".", 1)[0] for name in imported.decoder}
  ours = {entry.theirs.rsplit(".", 1)[0] for entry in entries if entry.ours.startswith("layers_")}
  of_layers = {name for name in stored if name.startswith(table.layer_name.split("{}")[0])}
  if not imported.decoder or tied != (english is None) or ours != of_layers:
    return None
  tensors = {name: tensor for name, tensor in imported.decoder.items() if name != ENGLISH_IDS}
  expected = shapes(wanted, entries)
  if english is not None:
    expected[table.head_kernel] = (*english.shape, imported.model["encoder"]["width"])
    expected[table.head_bias] = english.shape
  projection = [
    entry._replace(theirs=f"projection.{entry.theirs}") for entry in names.DENSE_ENTRIES
  ]
  if f"projection.{names.DENSE_ENTRIES[0].theirs}" in tensors:
    expected |= shapes(abstract.get("projection", {}), projection)
  ignored = {entry.theirs for entry in projection}
  where = f"{imported.folder}/{DECODER}"
  weights.check(tensors, expected, where=where, known=ignored.__contains__)
  params = {"decoder": weights.leaves(tensors, entries)}
  if "projection" in abstract and ignored <= set(tensors):
    params["projection"] = weights.leaves(tensors, projection)
  return Continued(params, None if english is None else np.array(english.map()))
