"""Our model as a Hugging Face folder that sentence-transformers, old and new, loads as it is."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import safetensors
from etils import epath

from dap_jax.hub import configs, modules, names, tokenizer_files, weights
from dap_jax.hub.from_hf import ARCHITECTURE, DECODER, ENGLISH_IDS
from dap_jax.utils.errors import UserError


def encoder_tensors(encoder: Mapping[str, Any], section: Mapping[str, Any]) -> dict[str, Any]:
  """The tree `params["encoder"]` -> transformers' tensors, by the `model.encoder` section.

  BERT's classes have a pooler, which is no part of our model. It is written as zeros: without it
  transformers would make up a random one and warn, and ONNX export cannot leave it out.
  """
  table, width = names.TABLES[section["model_type"]], section["width"]
  tensors = names.to_torch(encoder, names.encoder_entries(table, section["layers"]))
  if any("pooler" in pattern for pattern in table.dropped):
    tensors["pooler.dense.weight"] = np.zeros((width, width), np.float32)
    tensors["pooler.dense.bias"] = np.zeros(width, np.float32)
  return tensors


def decoder_tensors(
  params: Mapping[str, Any], section: Mapping[str, Any], english_ids: np.ndarray | None
) -> dict[str, np.ndarray]:
  """What only training needs: the RTL decoder, its English ids, and the projection.

  Not its vectors of target languages: their numbers are those of one run's languages.
  """
  table, depth = names.TABLES[section["model_type"]], section["layers"]
  decoder = {name: tree for name, tree in params["decoder"].items() if name != "language"}
  layers, tied = names.decoder_layers(decoder), names.is_tied(decoder)
  if layers > depth:
    raise UserError(f"a decoder of {layers} layers beside an encoder of {depth} cannot be exported")
  entries = names.decoder_entries(table, depth=depth, layers=layers, tied=tied)
  tensors = names.to_torch(decoder, entries)
  if not tied:
    tensors[ENGLISH_IDS] = np.asarray(english_ids, np.int32)
  if "projection" in params:
    tensors |= names.to_torch(params["projection"], names.PROJECTION_ENTRIES)
  return tensors


@contextlib.contextmanager
def whole_folder(directory: epath.Path) -> Iterator[epath.Path]:
  """A neighbour to write into, which takes the place of `directory` once all is written.

  Raises:
    UserError: `directory` is there already, or something could not be written; nothing is left.
  """
  if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
    raise UserError(f"--output={directory} exists already: give a new folder, or remove it first")
  temporary = directory.parent / f".{directory.name}.{uuid.uuid4().hex[:8]}.tmp"
  try:
    yield temporary
    if directory.exists():
      directory.rmdir()
    temporary.rename(directory)
  except BaseException as error:
    if temporary.exists():
      temporary.rmtree()
    if isinstance(error, (OSError, safetensors.SafetensorError)):
      raise UserError(f"--output={directory} cannot be written: {error}") from error
    raise


def write_folder(
  directory: epath.PathLike,
  *,
  params: Mapping[str, Any],
  model: Mapping[str, Any],
  english_ids: np.ndarray | None,
  tokenizer_directory: epath.PathLike,
  special_ids: Mapping[str, int],
  max_tokens: int,
  readme: str,
) -> None:
  """Writes the folder, all of it or nothing.

  Args:
    directory: where to; it must not exist, or be an empty folder.
    params: encoder, dense if the model has one; decoder and projection if they go along.
    model: the config's `model` section, with `encoder.vocabulary_size` resolved.
    english_ids: the rows of the decoder's head; None if it is tied, or stays here.
    tokenizer_directory: holds the tokenizer's files.
    special_ids: "pad", "cls" and "sep" -> id.
    max_tokens: at which texts are cut.
    readme: the model card.

  Raises:
    UserError: the folder is there already, or the model has no equal in the layout.
  """
  section = model["encoder"]
  config = configs.hf_config(section, dropout=model["dropout"], special_ids=special_ids)
  files = {"config.json": config, **modules.module_files(model, max_tokens=max_tokens)}
  tensors = {weights.FILE: encoder_tensors(params["encoder"], section)}
  if "dense" in params:
    tensors[f"{modules.DENSE}/{weights.FILE}"] = names.to_torch(
      params["dense"], names.DENSE_ENTRIES
    )
  if "decoder" in params:
    files[f"{DECODER}/config.json"] = {**config, "architectures": [ARCHITECTURE]}
    tensors[f"{DECODER}/{weights.FILE}"] = decoder_tensors(params, section, english_ids)
  with whole_folder(epath.Path(directory)) as folder:
    for path, content in files.items():
      target = folder / path
      target.parent.mkdir(parents=True, exist_ok=True)
      target.write_text(json.dumps(content, indent=2) + "\n")
    (folder / "README.md").write_text(readme)
    for path, arrays in tensors.items():
      weights.write_tensors(folder / path, arrays)
    for file in epath.Path(tokenizer_directory).iterdir():
      (folder / file.name).write_bytes(file.read_bytes())
    tokenizer_files.limit(folder / "tokenizer_config.json", max_tokens=max_tokens)
