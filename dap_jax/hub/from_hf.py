"""Reads a Hugging Face folder: our config sections, and parameters that are still in their files.

It may be a transformers folder of a type in `TABLES`, with or without a masked-LM head, or a
sentence-transformers folder around one; with `decoder/` where `export --include_decoder` wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from dap_jax.hub import configs, limits, modules, names, weights
from dap_jax.hub.model_types.tensor_names import TABLES, Table
from dap_jax.hub.weights import Leaf, StoredTensor
from dap_jax.utils import trees
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json
from dap_jax.utils.prompts import Prompts

DECODER = "decoder"  # the folder that `export --include_decoder` adds, to train on from
ARCHITECTURE = "dap_jax RTL decoder"  # in that folder's config.json
ENGLISH_IDS = "english_ids"
# Files that make another model of the folder, or another reader of its texts.
OTHER_MODELS = ("adapter_config.json", "processor_config.json", "preprocessor_config.json")


class HfFolder(NamedTuple):
  """A checkpoint of Hugging Face's layout, of which no tensor has been read yet.

  Attributes:
    folder: the folder with the encoder's config.json.
    model_config: the part of the config's `model` section that the folder determines: `encoder`,
      and with sentence-transformers `pooling`, `dense` and `normalize`; m2m_100 has a `pooling`.
    max_tokens: where texts are cut.
    tensors: of the encoder and the masked-LM head, by `names.standard_name`.
    dense: tensors of the Dense module; empty where there is none.
    decoder: tensors of the exported RTL decoder; empty where there is none.
    prompts: what may go before texts.
  """

  folder: epath.Path
  model_config: dict[str, Any]
  max_tokens: int
  tensors: dict[str, StoredTensor]
  dense: dict[str, StoredTensor]
  decoder: dict[str, StoredTensor]
  prompts: Prompts

  @property
  def table(self) -> Table:
    """The weight names of the model's type."""
    return TABLES[self.model_config["encoder"]["model_type"]]


def read_folder(directory: epath.PathLike) -> HfFolder:
  """Reads the JSON files of a folder and the headers of its tensor files.

  Raises:
    UserError: something is missing, unknown or damaged.
  """
  folder = epath.Path(directory)
  layout = modules.read_modules(folder)
  inner = layout.transformer if layout else folder
  encoder = encoder_of(inner)
  table = TABLES[encoder["model_type"]]
  tensors = standard_tensors(inner, table, model_folder=folder)
  model_config: dict[str, Any] = {"encoder": encoder}
  if layout:
    model_config |= {
      "pooling": layout.pooling,
      "dense": {"width": layout.dense_width, "activation": layout.dense_activation},
      "normalize": layout.normalize,
    }
  elif encoder["model_type"] == "m2m_100":  # SONAR's pooling; the first token is a language's code
    model_config["pooling"] = "mean"
  decoder = folder / DECODER
  path = decoder / "config.json"
  is_ours = path.exists() and read_json(path).get("architectures") == [ARCHITECTURE]
  dense = layout.dense if layout else None
  checkpoint = HfFolder(
    folder=inner,
    model_config=model_config,
    max_tokens=limits.max_tokens(inner, encoder, stated=layout.max_tokens if layout else None),
    tensors=tensors,
    dense=weights.find_tensors(dense, model_folder=folder) if dense else {},
    decoder=weights.find_tensors(decoder, model_folder=folder) if is_ours else {},
    prompts=layout.prompts if layout else Prompts(),
  )
  check_folder(checkpoint)
  return checkpoint


def read_encoder(directory: epath.PathLike) -> dict[str, Any]:
  """The `encoder` section of a folder, see `HfFolder`; its weights are not looked at.

  Raises:
    UserError: something is missing, unknown or damaged.
  """
  folder = epath.Path(directory)
  layout = modules.read_modules(folder)
  return encoder_of(layout.transformer if layout else folder)


def encoder_of(folder: epath.Path) -> dict[str, Any]:
  """The `encoder` section of a folder of transformers."""
  path = folder / "config.json"
  if not path.exists():
    raise UserError(
      f"{folder} has no config.json: give a workdir of train, or a checkpoint's folder"
    )
  for name in OTHER_MODELS:
    if (folder / name).exists():
      raise UserError(
        f"{folder / name}: dap_jax reads no adapters and no processors but tokenizers"
      )
  return configs.encoder_section(read_json(path), where=str(path))


def standard_tensors(
  folder: epath.Path, table: Table, *, model_folder: epath.Path
) -> dict[str, StoredTensor]:
  """The tensors of a folder by `names.standard_name`; model_folder: the whole model's folder."""
  tensors = weights.find_tensors(folder, model_folder=model_folder)
  return names.by_standard_name(tensors, table, where=str(folder))


def check_folder(checkpoint: HfFolder) -> None:
  """Raises UserError that lists all tensors which are missing, unknown or of a wrong shape."""
  table, encoder = checkpoint.table, checkpoint.model_config["encoder"]
  layers = min(encoder["layers"], len(checkpoint.tensors))  # a config may claim any number
  expected = names.torch_shapes(names.encoder_entries(table, layers), encoder)
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
    rows = checkpoint.model_config["dense"]["width"]
    width = encoder["width"] * len(checkpoint.model_config["pooling"].split("+"))
    expected = {"linear.weight": (rows, width), "linear.bias": (rows,)}
    weights.check_tensors(checkpoint.dense, expected, where=f"{checkpoint.folder}, its Dense")


def encoder_leaves(checkpoint: HfFolder) -> dict[str, Any]:
  """A tree of `Leaf` like `params`: `encoder`, and `dense` where there is one."""
  entries = names.encoder_entries(checkpoint.table, checkpoint.model_config["encoder"]["layers"])
  tree = {"encoder": weights.leaves(checkpoint.tensors, entries)}
  if checkpoint.dense:
    tree["dense"] = weights.leaves(checkpoint.dense, names.DENSE_ENTRIES)
  return tree


def has_head(checkpoint: HfFolder) -> bool:
  """Whether the checkpoint has a masked-LM head."""
  return checkpoint.table.head_bias in checkpoint.tensors


def has_tied_head(checkpoint: HfFolder) -> bool:
  """Whether the checkpoint has a masked-LM head whose projection is the word embeddings."""
  kernel = checkpoint.tensors.get(checkpoint.table.head_kernel)
  if not has_head(checkpoint) or kernel is None:
    return has_head(checkpoint)
  leaves = trees.flatten(encoder_leaves(checkpoint))
  words = leaves["encoder/embeddings/word/embedding"].stored
  return bool(np.array_equal(kernel.map(), words.map()))


def decoder_from_checkpoint(
  checkpoint: HfFolder, *, layers: int, english_ids: np.ndarray | None
) -> dict[str, Any]:
  """An RTL decoder out of the encoder's parts, as DAP initialises it (section 3.2).

  It consists of the embeddings, the last `layers` layers, and the masked-LM head with the rows of
  the English ids. In a checkpoint without a head the projection starts from the word embeddings,
  and the rest of the head is left out.

  Args:
    checkpoint: the checkpoint.
    layers: of the decoder.
    english_ids: int [V_en], the rows of the head; None = all, tied to the word embeddings.

  Returns:
    A tree of `Leaf` like `params["decoder"]`.

  Raises:
    UserError: the checkpoint has fewer layers.
  """
  table, depth = checkpoint.table, checkpoint.model_config["encoder"]["layers"]
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
  """The checkpoint's masked-LM head, a tree of `Leaf` like `params["masked_lm"]`.

  Its projection is left out: ours is the encoder's word embeddings, and so is that of nearly every
  checkpoint.
  """
  entries = names.head_entries(checkpoint.table, tied=True)
  return weights.leaves(checkpoint.tensors, entries)


class ExportedDecoder(NamedTuple):
  """What `export --include_decoder` wrote beside the encoder.

  Attributes:
    params: trees of `Leaf`: `decoder`, whose head has a row for each of `english_ids`, and
      `projection` if there was one.
    english_ids: int32 [V_en], rising; None for a tied head over all ids.
  """

  params: dict[str, Any]
  english_ids: np.ndarray | None


def exported_decoder(checkpoint: HfFolder, abstract: Mapping[str, Any]) -> ExportedDecoder | None:
  """The trained decoder of a folder.

  Args:
    checkpoint: the checkpoint.
    abstract: shapes of the parameters of the model to be trained.

  Returns:
    None where the folder has no decoder, or one with another number of layers or another kind of
    head than in `abstract`.

  Raises:
    UserError: tensors are missing, unknown or of a wrong shape; all are listed.
  """
  decoder, table = abstract["decoder"], checkpoint.table
  encoder = checkpoint.model_config["encoder"]
  tensors, depth = dict(checkpoint.decoder), encoder["layers"]
  english = tensors.pop(ENGLISH_IDS, None)
  layers, tied = names.decoder_layers(decoder), names.is_tied(decoder)
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
  """The id of each row of the head, int [V_en].

  Args:
    stored: the tensor `ENGLISH_IDS`.
    rows: size of the vocabulary.
    where: the decoder's folder, for the message.

  Raises:
    UserError: these are no rising ids of the vocabulary.
  """
  ids = (
    np.array(stored.map()) if stored.dtype.kind == "i" and np.prod(stored.shape) else np.array([])
  )
  if ids.ndim != 1 or not len(ids) or (np.diff(ids) <= 0).any() or ids[0] < 0 or ids[-1] >= rows:
    raise UserError(f"{where}: {ENGLISH_IDS} are not rising ids below {rows}")
  return ids
