"""What `export` writes of a model: its parameters with the heads, its tokenizer, a part of both."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from dap_jax.data import manifest, tokenizer_pruning
from dap_jax.data.pair_encoder import UNCUT
from dap_jax.data.texts import text_files
from dap_jax.data.tokenizer import FILES, Tokenizer
from dap_jax.distributed import parameters
from dap_jax.hub import configs, download, from_hf, tokenizer_files
from dap_jax.inference.embedder import Embedder
from dap_jax.inference.encoder_network import abstract_params, encoder_of
from dap_jax.utils.errors import UserError
from dap_jax.utils.progress import Progress
from dap_jax.utils.trees import flatten, nest
from dap_jax.workdir import layout, records, restore

logger = logging.getLogger(__name__)

BLOCK = 10_000  # texts that are tokenised at a time
PER_ID = ("word/embedding", "head/vocabulary/bias")  # ends of names: a row for each id


class Export(NamedTuple):
  """A model on its way to a folder.

  Attributes:
    params: encoder, and dense, masked_lm, decoder and projection where there are such; arrays.
    tokenizer: name of a JSON file -> content.
    sentencepiece: the same vocabulary as a sentencepiece model, name -> content; or nothing.
    english_ids: int32 [V_en], the rows of the decoder's head; None without one.
  """

  params: dict[str, Any]
  tokenizer: dict[str, str]
  sentencepiece: dict[str, bytes]
  english_ids: np.ndarray | None

  @property
  def rows(self) -> int:
    """Of the word embedding."""
    return len(self.params["encoder"]["embeddings"]["word"]["embedding"])


def of_workdir(folder: epath.Path, loaded: Embedder, *, with_decoder: bool) -> Export:
  """A run's model at the step that is loaded.

  All processes call it.

  Raises:
    UserError: `with_decoder`, and there is none.
  """
  heads = ["masked_lm", *(["decoder", "projection"] if with_decoder else [])]
  params = loaded.params | restore.restore_parts(folder, heads, step=str(loaded.step))
  model_type = loaded.model_config["encoder"]["model_type"]
  if "masked_lm" in params and model_type in configs.WITHOUT_MASKED_LM:
    logger.warning("its masked-LM head is left out: transformers has none for %s", model_type)
  if with_decoder and "decoder" not in params:
    raise UserError(f"--include_decoder: {folder} trained no RTL decoder; leave the flag out")
  files = (folder / "tokenizer").glob("*.json")
  models = (folder / "tokenizer").glob("*.model")
  return Export(
    params,
    {path.name: path.read_text() for path in files},
    {path.name: path.read_bytes() for path in models},
    manifest.english_ids(folder / "data") if with_decoder else None,
  )


def about_step(folder: epath.Path, step: int) -> str:
  """A step of a run for the log: its score, and the newest checkpoint where that is another.

  The report measures the newest, so its numbers are another model's then. "" where the run chose
  no best step.
  """
  metric = layout.read_config(folder).get("checkpoint", {}).get("best_metric", "").lstrip("-")

  def score(at: int) -> str:
    value = records.scores_at(folder, at).get(metric)
    return "was not evaluated" if value is None else f"has {metric} {value:.3f}"

  if not metric:  # no checkpoint is better than another
    return ""
  newest = restore.newest_step(folder)
  more = "" if newest == step else f"; the newest, {newest}, {score(newest)}"
  return f"step {step} {score(step)}{more}"


def of_folder(name: str, loaded: Embedder) -> Export:
  """A checkpoint's folder or hub id, with its masked-LM head where that is tied, as ours are."""
  checkpoint = from_hf.read_folder(download.local_folder(name))
  files = tokenizer_files.convert_tokenizer(checkpoint.folder)
  params = dict(loaded.params)
  if from_hf.has_tied_head(checkpoint):
    network = encoder_of(
      loaded.model_config,
      tokenizer=loaded.tokenizer,
      max_tokens=loaded.max_tokens,
      masked_lm=True,
    )
    abstract = {"masked_lm": abstract_params(network, loaded.mesh)["masked_lm"]}
    params |= parameters.place({"masked_lm": from_hf.head_from_checkpoint(checkpoint)}, abstract)
  elif from_hf.has_head(checkpoint):
    logger.warning("its masked-LM head has a projection of its own, and is left out")
  return Export(params, files, {}, None)


def used_ids(paths: Sequence[str], files: Mapping[str, str]) -> set[int]:
  """The ids of the texts in some files, of whole texts: none is cut.

  Args:
    paths: text files, plain or compressed, a text a line.
    files: of the tokenizer, name -> content.

  Raises:
    UserError: a file cannot be read.
  """
  tokens = Tokenizer.from_files(files, where="export", max_tokens=UNCUT)
  used: set[int] = set()
  for path in paths:
    lines = text_files.lines(epath.Path(path))
    with Progress(f"reading {path}", total=None, unit="line") as progress:
      while block := list(itertools.islice(lines, BLOCK)):
        used.update(number for ids in tokens.encode_ragged(block) for number in ids)
        progress.advance(len(block))
  return used


def prune(export: Export, used: Collection[int], *, position_offset: int) -> Export:
  """The model with a part of its vocabulary: its texts have the vectors of before.

  Args:
    export: the whole model; no decoder.
    used: the ids to keep, see `tokenizer_pruning` for what stays beside them.
    position_offset: of the encoder: so many first ids keep their numbers.

  Raises:
    UserError: the tokenizer is of a kind that cannot be pruned.
  """
  whole = Tokenizer.from_files(export.tokenizer, where="export", max_tokens=2)
  specials = {number for number in whole.special_ids if number is not None}
  definition = tokenizer_pruning.prune(
    export.tokenizer[FILES[0]], specials | set(used), fixed_ids=position_offset
  )
  files = export.tokenizer | {FILES[0]: definition}
  part = Tokenizer.from_files(files, where="export", max_tokens=2)
  kept, rows = tokenizer_pruning.ids_in_whole(part, whole), export.rows
  flat = {
    path: leaf[kept] if path.endswith(PER_ID) and len(leaf) == rows else leaf
    for path, leaf in flatten(jax.device_get(export.params)).items()
  }
  logger.info("the vocabulary: %s of %s ids are kept", f"{part.size:,}", f"{whole.size:,}")
  return Export(nest(flat), files, {}, export.english_ids)
