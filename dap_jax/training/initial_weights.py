"""`init_from`: where a run's first weights, sizes and vocabulary come from.

A source is a checkpoint's folder, a hub id, or another workdir. What it lacks (a projection, a
masked-LM head) is drawn from the seed. This is not how a run resumes: `workdir.checkpointing` does
that, optimizer state and step included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np
from etils import epath

from dap_jax.data import manifest, tokenizer_pruning
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.distributed import parameters
from dap_jax.hub import download, from_hf, names
from dap_jax.hub import tokenizer_files as hub_tokenizer
from dap_jax.model.from_config import DEFAULT_POOLING
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.training import decoder_start
from dap_jax.training.vocabulary_rows import (
  StoredRows,
  stored_shapes,
  with_rows_of_run,
  word_rows,
)
from dap_jax.utils.errors import UserError
from dap_jax.utils.prompts import Prompts, of_section
from dap_jax.workdir import layout, restore
from dap_jax.workdir.checkpointing import leaf_shapes

# Of the run's own objectives: no checkpoint has them.
NEW_HEADS = ("unmasking", "bag_of_tokens", "vector_decoder")
DECIDED = ("encoder", "dense", "normalize", "pooling")  # keys of the config's `model` section


class WeightSource(Protocol):
  """Where first weights come from.

  Attributes:
    model: the keys of the config's `model` section that it decides, `DECIDED` at most.
    tokenizer_files: the vocabulary that its weights were trained with, name -> content.
    prompts: that it has.
  """

  model: dict[str, Any]
  tokenizer_files: dict[str, str]
  prompts: Prompts

  def stored_rows(self, abstract: Mapping[str, Any]) -> StoredRows:
    """What the rows of its parameters stand for, for a run with these abstract parameters."""
    ...

  def load(
    self, abstract: Mapping[str, Any], *, english_ids: np.ndarray | None
  ) -> tuple[dict[str, Any], str]:
    """Its parameters on the current mesh, and a sentence for the log.

    Args:
      abstract: ShapeDtypeStructs with shardings, and with the rows of `stored_rows`.
      english_ids: int32 [V_en] of the run's data, for a decoder's head that is made anew.
    """
    ...


class CheckpointFolder:
  """A `WeightSource`: a folder that transformers, sentence-transformers or our `export` wrote."""

  def __init__(self, name: str):
    self._checkpoint = from_hf.read_folder(download.local_folder(name))
    self._name = name
    self.model, self.prompts = self._checkpoint.model_config, self._checkpoint.prompts
    self.tokenizer_files = hub_tokenizer.convert_tokenizer(self._checkpoint.folder)

  def stored_rows(self, abstract: Mapping[str, Any]) -> StoredRows:
    decoder = (
      from_hf.exported_decoder(self._checkpoint, abstract) if "decoder" in abstract else None
    )
    ids = self.model["encoder"]["vocabulary_size"] or word_rows(abstract)
    return StoredRows(ids, decoder.english_ids if decoder else None)

  def load(
    self, abstract: Mapping[str, Any], *, english_ids: np.ndarray | None
  ) -> tuple[dict[str, Any], str]:
    checkpoint, description = self._checkpoint, f"weights of {self._name}"
    tree = from_hf.encoder_leaves(checkpoint)
    if "decoder" in abstract:
      decoder, words = self._decoder(abstract, english_ids=english_ids)
      tree |= decoder
      description += words
    if "masked_lm" in abstract:
      if from_hf.has_head(checkpoint):
        tree["masked_lm"] = from_hf.head_from_checkpoint(checkpoint)
        description += "; the masked-LM head is its own"
      else:
        description += "; the masked-LM head starts anew, since it has none"
    for head in NEW_HEADS:
      if head in abstract:  # new in the papers too
        description += f"; the {head} head starts anew"
    return parameters.place(tree, abstract), description

  def _decoder(
    self, abstract: Mapping[str, Any], *, english_ids: np.ndarray | None
  ) -> tuple[dict[str, Any], str]:
    """The leaves of the RTL decoder, trained or made of the encoder's; and words for the log."""
    trained = from_hf.exported_decoder(self._checkpoint, abstract)
    if trained is not None:
      return trained.params, ", its RTL decoder included"
    layers = names.decoder_layers(abstract["decoder"])
    ids = None if names.is_tied(abstract["decoder"]) else english_ids
    decoder = from_hf.decoder_from_checkpoint(self._checkpoint, layers=layers, english_ids=ids)
    words = decoder_start.description(layers, has_head=from_hf.has_head(self._checkpoint))
    return {"decoder": decoder}, words


class OtherWorkdir:
  """A `WeightSource`: the parameters in another run's newest checkpoint."""

  def __init__(self, name: str):
    self._folder = epath.Path(name)
    self._shapes = restore.shapes(self._folder)
    whole = layout.read_config(name)
    config, (self.prompts, _) = whole["model"], of_section(**whole["prompts"])
    absent = [key for key in DECIDED if key not in config]
    if absent or not manifest.complete(self._folder / "data"):
      raise UserError(
        f"init_from={name}: its config lacks model.{absent[0]}: another version wrote it"
        if absent
        else f"init_from={name}: its data/ is gone, which says what the decoder's rows stand for"
      )
    self.model = {key: config[key] for key in DECIDED}
    manifest.check_tokenizer(self._folder)
    files = (self._folder / "tokenizer").glob("*.json")
    self.tokenizer_files = {file.name: file.read_text() for file in files}

  def stored_rows(self, abstract: Mapping[str, Any]) -> StoredRows:
    ids = word_rows(self._shapes)
    if not self._has_decoder_of(abstract) or names.is_tied(abstract["decoder"]):
      return StoredRows(ids, None)
    return StoredRows(ids, manifest.english_ids(self._folder / "data"))

  def load(
    self, abstract: Mapping[str, Any], *, english_ids: np.ndarray | None
  ) -> tuple[dict[str, Any], str]:
    abstract, stored = without_languages(abstract), without_languages(self._shapes)
    anew = [
      name
      for name in ("projection", "decoder", "masked_lm", *NEW_HEADS)
      if name in abstract and leaf_shapes(stored.get(name, {})) != leaf_shapes(abstract[name])
    ]
    wanted = {name: tree for name, tree in abstract.items() if name not in anew}
    if "decoder" in anew and "masked_lm" in stored:
      wanted.setdefault("masked_lm", shapes_like(stored["masked_lm"], abstract))
    stored_params, step = restore.restore(self._folder, wanted, step="newest")
    params = {name: tree for name, tree in stored_params.items() if name in abstract}
    description = f"weights of {self._folder} at step {step}"
    if "decoder" in anew:
      anew.remove("decoder")
      decoder = abstract["decoder"]
      layers, ids = names.decoder_layers(decoder), None if names.is_tied(decoder) else english_ids
      head = stored_params.get("masked_lm", {}).get("head")
      params["decoder"] = decoder_start.decoder_of(
        stored_params["encoder"], head, layers=layers, english_ids=ids
      )
      description += decoder_start.description(layers, has_head=head is not None)
    if anew:
      description += f"; {' and '.join(anew)} start anew"
    return params, description

  def _has_decoder_of(self, abstract: Mapping[str, Any]) -> bool:
    """Whether it trained a decoder of as many layers and with the same kind of head."""
    ours, stored = abstract.get("decoder"), self._shapes.get("decoder")
    if ours is None or stored is None:
      return False
    return names.is_tied(ours) == names.is_tied(stored) and (
      names.decoder_layers(ours) == names.decoder_layers(stored)
    )


def shapes_like(stored: Mapping[str, Any], abstract: Mapping[str, Any]) -> Any:
  """Shapes of stored parameters -> ShapeDtypeStructs on the mesh of a run's, float32."""
  mesh = jax.tree.leaves(abstract)[0].sharding.mesh
  tree = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, np.float32),
    stored,
    is_leaf=lambda leaf: hasattr(leaf, "shape"),
  )
  return parameters.with_shardings(tree, mesh)


def without_languages(params: Mapping[str, Any]) -> dict[str, Any]:
  """Parameters less the heads' vectors of languages, whose numbers are those of one run."""
  return {
    part: {name: leaf for name, leaf in tree.items() if name != "language"}
    for part, tree in params.items()
  }


def open_source(name: str) -> WeightSource:
  """A hub id, a folder or a workdir -> a source, all of it checked that can be without loading it.

  Raises:
    UserError: it is none of these, or something in it is missing or damaged.
  """
  source = OtherWorkdir(name) if layout.is_workdir(name) else CheckpointFolder(name)
  tokens = Tokenizer.from_files(source.tokenizer_files, where=name, max_tokens=2)
  rows = source.model["encoder"]["vocabulary_size"]
  vocabulary_of(tokens, rows=rows, english_ids=None)  # the tokenizer fits the embedding
  return source


def decided_by(source: WeightSource, *, prunes: bool) -> dict[str, Any]:
  """`model` of a source; prunes: then its number of rows is none of the run's."""
  if not prunes:
    return source.model
  return {**source.model, "encoder": {**source.model["encoder"], "vocabulary_size": 0}}


def kept_ids(source: WeightSource, tokenizer: Tokenizer) -> np.ndarray:
  """The numbers that the tokens of a run have in its source: int32 [ids of the run], rising.

  Raises:
    UserError: the source lacks one of them.
  """
  whole = Tokenizer.from_files(source.tokenizer_files, where="init_from", max_tokens=2)
  return tokenizer_pruning.ids_in_whole(tokenizer, whole)


def decide(model: Mapping[str, Any], decided: Mapping[str, Any]) -> dict[str, Any]:
  """The config's `model` section with what a source decides in its place.

  Args:
    model: as the config has it.
    decided: what `decided_by` says; empty without a source.

  Raises:
    UserError: both have a dense layer, and not the same.
  """
  dense, stored_dense = model["dense"], decided.get("dense", model["dense"])
  if dense["width"] and dense != stored_dense:
    raise UserError(
      f"model.dense={dict(dense)}, but init_from has {dict(stored_dense)}: leave ours out"
    )
  pooling = model["pooling"] or decided.get("pooling") or DEFAULT_POOLING
  encoder = decided.get("encoder", model["encoder"])
  rows = max(section["vocabulary_size"] for section in (model["encoder"], encoder))
  encoder = {**encoder, "vocabulary_size": rows}  # more than a source has: `vocabulary_rows`
  return {**model, **decided, "encoder": encoder, "pooling": pooling}


def first_params(
  source: WeightSource,
  abstract: Mapping[str, Any],
  *,
  english_ids: np.ndarray | None,
  new_decoder: bool = False,
  kept: np.ndarray | None = None,
) -> tuple[dict[str, Any], str]:
  """A source's parameters as a run takes them, and a sentence for the log.

  Args:
    source: where from.
    abstract: the run's parameters, ShapeDtypeStructs with shardings; its word embedding has as many
      rows as the source's (of `kept`: as there are of these), or more.
    english_ids: int32 [V_en] of the run's data; None where no decoder needs them.
    new_decoder: whether the RTL decoder is left out, to be drawn from the seed.
    kept: see `kept_ids`; None = the run has all ids of the source.
  """
  has_decoder = "decoder" in abstract
  if new_decoder:
    abstract = {name: tree for name, tree in abstract.items() if name != "decoder"}
  stored, rows = source.stored_rows(abstract)._replace(kept=kept), word_rows(abstract)
  params, description = source.load(
    stored_shapes(abstract, stored), english_ids=stored.numbers_of(english_ids)
  )
  if new_decoder and has_decoder:
    description += "; the RTL decoder starts anew, as decoder.start asks"
  ids = stored.ids if kept is None else len(kept)
  if kept is not None:
    description += f"; {ids:,} of its {stored.ids:,} rows are kept"
  if ids < rows:
    description += f"; {rows - ids} rows of no id after its {ids:,}"
  return with_rows_of_run(params, abstract, stored, english_ids=english_ids), description
