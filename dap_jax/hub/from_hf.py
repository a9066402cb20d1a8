"""A checkpoint's folder -> our config sections, and parameters that are still in their files.

Read are transformers folders of the types in `names.TABLES`, with or without a masked-LM head, and
sentence-transformers folders around them; with `decoder/`, if `export --include_decoder` wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from dap_jax.hub import configs, modules, names, weights
from dap_jax.hub.weights import Leaf, StoredTensor
from dap_jax.utils import trees
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json

DECODER = "decoder"  # the folder that export adds for those who train on
ARCHITECTURE = "dap_jax RTL decoder"  # in that folder's config.json
ENGLISH_IDS = "english_ids"
NO_LIMIT = 1 << 20  # transformers writes 1e30 where a tokenizer has no limit


class HfFolder(NamedTuple):
  """A checkpoint, nothing of it loaded yet.

  Attributes:
    folder: where it lies.
    model: keys of the config's `model`: encoder; and of a sentence-transformers folder pooling,
      dense and normalize.
    max_tokens: where texts are cut.
    tensors: of the encoder and the masked-LM head, by standard name.
    dense, decoder: tensors of those modules; empty where there are none.
  """

  folder: epath.Path
  model: dict[str, Any]
  max_tokens: int
  tensors: dict[str, StoredTensor]
  dense: dict[str, StoredTensor]
  decoder: dict[str, StoredTensor]

  @property
  def table(self) -> names.Table:
    return names.TABLES[self.model["encoder"]["model_type"]]


def read_folder(directory: epath.PathLike) -> HfFolder:
  """Reads the JSON files and the headers of a folder.

  Raises:
    UserError: something is missing, unknown or damaged.
  """
  folder = epath.Path(directory)
  found = modules.read_modules(folder)
  inner = found.transformer if found else folder
  if not (inner / "config.json").exists():
    raise UserError(
      f"{inner} has no config.json: give a workdir of train, or a checkpoint's folder"
    )
  config = read_json(inner / "config.json")
  encoder = configs.encoder_section(config, where=str(inner / "config.json"))
  table = names.TABLES[encoder["model_type"]]
  tensors = standard_tensors(inner, table, model=folder)
  model: dict[str, Any] = {"encoder": encoder}
  if found:
    model |= {
      "pooling": found.pooling,
      "dense": {"width": found.dense_width, "activation": found.dense_activation},
      "normalize": found.normalize,
    }
  rooms = encoder["positions"] - encoder.get("position_offset", 0)
  said = found.max_tokens if found and found.max_tokens else tokenizer_limit(inner)
  decoder = folder / DECODER
  path = decoder / "config.json"
  is_ours = path.exists() and read_json(path).get("architectures") == [ARCHITECTURE]
  checkpoint = HfFolder(
    folder=inner,
    model=model,
    max_tokens=min(said or rooms, rooms),
    tensors=tensors,
    dense=weights.find_tensors(found.dense, model=folder) if found and found.dense else {},
    decoder=weights.find_tensors(decoder, model=folder) if is_ours else {},
  )
  check_folder(checkpoint)
  return checkpoint


def standard_tensors(
  folder: epath.Path, table: names.Table, *, model: epath.Path
) -> dict[str, StoredTensor]:
  """The tensors of a folder by their standard names."""
  tensors: dict[str, StoredTensor] = {}
  for name, stored in weights.find_tensors(folder, model=model).items():
    standard = names.standard_name(name, table)
    if standard in tensors:
      raise UserError(f"{folder}: two tensors for {standard}, one of them {name}")
    tensors[standard] = stored
  return tensors


def check_folder(checkpoint: HfFolder) -> None:
  """Refuses missing, unknown and misshapen tensors, all of them in one message."""
  table, encoder = checkpoint.table, checkpoint.model["encoder"]
  expected = names.torch_shapes(names.encoder_entries(table, encoder["layers"]), encoder)
  head = names.torch_shapes(names.head_entries(table, tied=False), encoder)
  if set(head) & set(checkpoint.tensors):
    if table.head_kernel not in checkpoint.tensors:  # tied to the word embeddings
      del head[table.head_kernel]
    expected |= head
  weights.check_tensors(
    checkpoint.tensors,
    expected,
    where=str(checkpoint.folder),
    known=lambda name: names.is_dropped(name, table),
  )
  if checkpoint.dense:
    rows = checkpoint.model["dense"]["width"]
    wanted = {"linear.weight": (rows, encoder["width"]), "linear.bias": (rows,)}
    weights.check_tensors(checkpoint.dense, wanted, where=f"{checkpoint.folder}, its Dense")


def tokenizer_limit(folder: epath.Path) -> int | None:
  """model_max_length of the tokenizer, where it has one."""
  path = folder / "tokenizer_config.json"
  limit = read_json(path).get("model_max_length") if path.exists() else None
  return int(limit) if isinstance(limit, (int, float)) and 2 <= limit < NO_LIMIT else None


def encoder_leaves(checkpoint: HfFolder) -> dict[str, Any]:
  """The tree of `Leaf` of `params`: encoder, and dense where there is one."""
  entries = names.encoder_entries(checkpoint.table, checkpoint.model["encoder"]["layers"])
  tree = {"encoder": weights.leaves(checkpoint.tensors, entries)}
  if checkpoint.dense:
    tree["dense"] = weights.leaves(checkpoint.dense, names.DENSE_ENTRIES)
  return tree


def has_head(checkpoint: HfFolder) -> bool:
  """Whether the checkpoint has a masked-LM head."""
  return checkpoint.table.head_bias in checkpoint.tensors


def decoder_from_checkpoint(
  checkpoint: HfFolder, *, layers: int, english_ids: np.ndarray | None
) -> dict[str, Any]:
  """An RTL decoder out of the checkpoint's own parts, as DAP starts it (section 3.2).

  Its embeddings, its last `layers` layers, its masked-LM head with the rows of the English ids.
  Without a head the projection starts from the word embeddings, and the rest is left out.

  Args:
    checkpoint: the checkpoint.
    layers: K of the decoder.
    english_ids: rows of the head; None = all, tied to the word embeddings.

  Returns:
    A tree of `Leaf`, below `params["decoder"]`.
  """
  table, depth = checkpoint.table, checkpoint.model["encoder"]["layers"]
  if layers > depth:
    raise UserError(f"decoder.layers={layers}: {checkpoint.folder} has only {depth} to start from")
  entries = names.encoder_entries(table, depth, first=depth - layers)
  if has_head(checkpoint):
    entries += names.head_entries(table, tied=True)
  flat = trees.flatten(weights.leaves(checkpoint.tensors, entries))
  if english_ids is not None:
    kernel = checkpoint.tensors.get(table.head_kernel) or flat["embeddings/word/embedding"].stored
    flat["head/vocabulary/kernel"] = Leaf(kernel, True, english_ids)
    bias = flat.get("head/vocabulary/bias")
    if bias is not None:
      flat["head/vocabulary/bias"] = bias._replace(rows=english_ids)
  return trees.nest(flat)


def head_from_checkpoint(checkpoint: HfFolder) -> dict[str, Any]:
  """The checkpoint's masked-LM head, a tree of `Leaf` below `params["masked_lm"]`.

  Without its projection: ours is the encoder's word embeddings, and so is that of nearly every
  checkpoint.
  """
  entries = names.head_entries(checkpoint.table, tied=True)
  return weights.leaves(checkpoint.tensors, entries)


class ExportedDecoder(NamedTuple):
  """What `export --include_decoder` wrote beside the encoder.

  Attributes:
    params: trees of `Leaf`: decoder, whose head has a row for each of `english_ids`, and the
      projection if there was one.
    english_ids: int32 [V_en], sorted; None for a tied head over all ids.
  """

  params: dict[str, Any]
  english_ids: np.ndarray | None


def exported_decoder(checkpoint: HfFolder, abstract: Mapping[str, Any]) -> ExportedDecoder | None:
  """The trained decoder of a folder; None where there is none, or one of another make.

  Args:
    checkpoint: the checkpoint.
    abstract: the model's parameters, with shapes; its decoder has as many layers, and a head of
      the same kind, or else it starts anew.

  Raises:
    UserError: tensors are missing, unknown or misshapen; all are listed.
  """
  wanted, table, encoder = abstract["decoder"], checkpoint.table, checkpoint.model["encoder"]
  tensors, depth = dict(checkpoint.decoder), encoder["layers"]
  english = tensors.pop(ENGLISH_IDS, None)
  layers, tied = names.decoder_layers(wanted), names.is_tied(wanted)
  if not tensors or layers > depth or tied != (english is None):
    return None
  entries = names.decoder_entries(table, depth=depth, layers=layers, tied=tied)
  prefix = table.layer_name.split("{}")[0]
  numbers = {name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)}
  if numbers != {str(i) for i in range(depth - layers, depth)}:
    return None  # another number of layers
  where = f"{checkpoint.folder}/{DECODER}"
  ids = (
    None if english is None else english_rows(english, rows=encoder["vocabulary_size"], where=where)
  )
  expected = names.torch_shapes(entries, encoder)
  if ids is not None:
    expected[table.head_kernel] = (len(ids), encoder["width"])
    expected[table.head_bias] = (len(ids),)
  projection = names.torch_shapes(names.PROJECTION_ENTRIES, encoder)
  has_projection = bool(set(projection) & set(tensors))
  if has_projection:
    expected |= projection
  weights.check_tensors(tensors, expected, where=where)
  params = {"decoder": weights.leaves(tensors, entries)}
  if has_projection and "projection" in abstract:
    params["projection"] = weights.leaves(tensors, names.PROJECTION_ENTRIES)
  return ExportedDecoder(params, ids)


def english_rows(stored: StoredTensor, *, rows: int, where: str) -> np.ndarray:
  """The ids that the head's rows stand for, checked."""
  ids = (
    np.array(stored.map()) if stored.dtype.kind == "i" and np.prod(stored.shape) else np.array([])
  )
  if ids.ndim != 1 or not len(ids) or (np.diff(ids) <= 0).any() or ids[0] < 0 or ids[-1] >= rows:
    raise UserError(f"{where}: {ENGLISH_IDS} are not rising ids below {rows}")
  return ids
