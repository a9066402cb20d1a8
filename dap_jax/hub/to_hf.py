"""Writes a Hugging Face folder, which all versions of sentence-transformers load as it is.

M2M-100's encoder loads from 5.4 on: older ones would take the folder for a translation model.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from etils import epath

from dap_jax.hub import configs, modules, names, tokenizer_files, weights
from dap_jax.hub.from_hf import ARCHITECTURE, DECODER, ENGLISH_IDS
from dap_jax.hub.model_types.tensor_names import TABLES
from dap_jax.utils import locks
from dap_jax.utils.errors import UserError, writing
from dap_jax.utils.prompts import NO_PROMPTS, Prompts


def encoder_tensors(params: Mapping[str, Any], section: Mapping[str, Any]) -> dict[str, Any]:
  """transformers' tensors of the encoder and, where it was trained, of its masked-LM head.

  The head is left out where transformers has no class with one (`configs.WITHOUT_MASKED_LM`).
  Without a head they are those of the bare model, `BertModel`; with one of `BertForMaskedLM`, which
  the bare model reads too. The head's projection is the word embeddings, so it has no tensor.
  BERT's classes have a pooler, which our model does not. It is written as zeros: without it
  transformers would add a random one and warn, and ONNX export cannot leave it out.

  Args:
    params: the trees `encoder` and perhaps `masked_lm`.
    section: the config's `model.encoder` section.
  """
  table, width = TABLES[section["model_type"]], section["width"]
  tensors = names.to_torch(params["encoder"], names.encoder_entries(table, section["layers"]))
  if any("pooler" in pattern for pattern in table.dropped):
    tensors["pooler.dense.weight"] = np.zeros((width, width), np.float32)
    tensors["pooler.dense.bias"] = np.zeros(width, np.float32)
  if not has_head(params, section):
    return tensors
  tensors = {f"{table.prefixes[0]}{name}": array for name, array in tensors.items()}
  return tensors | names.to_torch(params["masked_lm"], names.head_entries(table, tied=True))


def has_head(params: Mapping[str, Any], section: Mapping[str, Any]) -> bool:
  """Whether the folder of such a model has a masked-LM head; see `encoder_tensors`."""
  return "masked_lm" in params and section["model_type"] not in configs.WITHOUT_MASKED_LM


def decoder_tensors(
  params: Mapping[str, Any], section: Mapping[str, Any], english_ids: np.ndarray | None
) -> dict[str, np.ndarray]:
  """The tensors that only training needs: RTL decoder, its English ids, projection.

  The decoder's vectors of target languages are left out: they belong to the languages of one run.

  Args:
    params: the parameters, `decoder` among them.
    section: the config's `model.encoder` section.
    english_ids: int [V_en], the rows of the decoder's head; None if it is tied.

  Raises:
    UserError: the decoder has more layers than the encoder.
  """
  table, depth = TABLES[section["model_type"]], section["layers"]
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
  """Yields an empty folder to write into, which is renamed to `directory` at the end.

  Its name is always the same, so that what a killed export left is removed by the next one.

  Raises:
    UserError: `directory` exists already, or something could not be written; nothing is left then.
  """
  if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
    raise UserError(f"--output={directory} exists already: give a new folder, or remove it first")
  temporary = directory.parent / f".{directory.name}.tmp"
  with (
    writing(f"--output={directory}", cure=""),
    locks.building(temporary, f"--output={directory}"),
  ):
    try:
      yield temporary
    except safetensors.SafetensorError as error:
      raise OSError(error) from error
    if directory.exists():
      directory.rmdir()
    temporary.rename(directory)
    (directory / locks.FILE).unlink(missing_ok=True)


def contents(
  params: Mapping[str, Any],
  model_config: Mapping[str, Any],
  *,
  special_ids: Mapping[str, int],
  english_ids: np.ndarray | None,
  dtype: str,
) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
  """Path -> JSON content of a folder's configs, and path -> tensors; see `write_folder`."""
  section = model_config["encoder"]
  config = configs.hf_config(
    section,
    dropout=model_config["dropout"],
    special_ids=special_ids,
    masked_lm=has_head(params, section),
  )
  config |= {"dtype": dtype, "torch_dtype": dtype}  # the second: before transformers 5
  files = {"config.json": config}
  tensors = {weights.FILE: encoder_tensors(params, section)}
  if "dense" in params:
    tensors[f"{modules.DENSE}/{weights.FILE}"] = names.to_torch(
      params["dense"], names.DENSE_ENTRIES
    )
  if "decoder" in params:
    files[f"{DECODER}/config.json"] = {**config, "architectures": [ARCHITECTURE]}
    tensors[f"{DECODER}/{weights.FILE}"] = decoder_tensors(params, section, english_ids)
  return files, tensors


def write_folder(
  directory: epath.PathLike,
  *,
  params: Mapping[str, Any],
  model_config: Mapping[str, Any],
  english_ids: np.ndarray | None,
  tokenizer_directory: epath.PathLike,
  special_ids: Mapping[str, int],
  max_tokens: int,
  readme: str,
  dtype: str,
  prompts: Prompts = NO_PROMPTS,
  beside: Callable[[Path], None] | None = None,
) -> None:
  """Writes the folder, all of it or nothing.

  Args:
    directory: the folder; it must not exist, or be empty.
    params: encoder, and dense if the model has one; masked_lm, decoder and projection to export
      them too.
    model_config: the config's `model` section, with `encoder.vocabulary_size` resolved.
    english_ids: int [V_en], the rows of the decoder's head; None if it is tied or not exported.
    tokenizer_directory: with the tokenizer's files.
    special_ids: "pad", "cls" and "sep" -> id.
    max_tokens: where texts are cut.
    readme: the model card.
    dtype: of the weights, one of `weights.FLOATS`; PyTorch computes in it too.
    prompts: what may go before texts.
    beside: writes more into the folder, once all else is there.

  Raises:
    UserError: the folder exists already, or the layout or the dtype cannot represent the model.
  """
  files, tensors = contents(
    params, model_config, special_ids=special_ids, english_ids=english_ids, dtype=dtype
  )
  files |= modules.module_files(model_config, max_tokens=max_tokens, prompts=prompts)
  with whole_folder(epath.Path(directory)) as folder:
    for path, content in files.items():
      target = folder / path
      target.parent.mkdir(parents=True, exist_ok=True)
      target.write_text(json.dumps(content, indent=2) + "\n")
    (folder / "README.md").write_text(readme)
    for path, arrays in tensors.items():
      weights.write_tensors(folder / path, weights.cast(arrays, dtype))
    for file in epath.Path(tokenizer_directory).iterdir():
      (folder / file.name).write_bytes(file.read_bytes())
    tokenizer_files.set_limit(folder / "tokenizer_config.json", max_tokens=max_tokens)
    if beside:
      beside(Path(folder))
