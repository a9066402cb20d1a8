"""`init_from`: where a run's first weights, sizes and vocabulary come from.

A source is a checkpoint's folder, a hub id, or another workdir. It offers

    model               the keys of the config's `model` that it decides
    tokenizer_files     the vocabulary that its weights were trained with, name -> content
    params(...)         its parameters on the current mesh, and what to say of them

What a source lacks (a projection, a masked-LM head) is drawn from the seed. This is not how a run
resumes: `workdir.checkpointing` does that, optimizer state and step included.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import NamedSharding, PartitionSpec

from dap_jax.data import store
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.distributed import sharding
from dap_jax.hub import download, from_hf, names
from dap_jax.hub import tokenizer_files as hub_tokenizer
from dap_jax.model.from_config import DEFAULT_POOLING
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.training import vocabulary_rows
from dap_jax.utils.errors import UserError
from dap_jax.utils.trees import overlay
from dap_jax.workdir import layout, restore
from dap_jax.workdir.checkpointing import leaf_shapes

DECIDED = ("encoder", "dense", "normalize", "pooling")


def head_rows(
  kernel: jax.Array, bias: jax.Array, words: jax.Array, *, theirs: np.ndarray, wanted: np.ndarray
) -> dict[str, jax.Array]:
  """A trained head for other English ids; an id it has not starts from its word embedding.

  Args:
    kernel, bias: [D, V_theirs], [V_theirs].
    words: [V, D], the decoder's word embeddings.
    theirs, wanted: int [V_theirs], [V_en], sorted.

  Returns:
    "kernel" [D, V_en] and "bias" [V_en].
  """
  where = np.searchsorted(theirs, wanted).clip(max=len(theirs) - 1)
  known = theirs[where] == wanted
  return {
    "kernel": jnp.where(known[None], kernel[:, where], words[wanted].T),
    "bias": jnp.where(known, bias[where], 0),
  }


def match_rows(
  params: dict[str, Any], *, theirs: np.ndarray | None, wanted: np.ndarray
) -> dict[str, Any]:
  """The parameters with a head for the wanted ids; as they are if it has just those, or all."""
  decoder = params.get("decoder")
  if decoder is None or theirs is None or np.array_equal(theirs, wanted):
    return params
  head, words = decoder["head"]["vocabulary"], decoder["embeddings"]["word"]["embedding"]
  choose = jax.jit(functools.partial(head_rows, theirs=theirs, wanted=wanted))
  rows = choose(head["kernel"], head["bias"], words)
  return overlay(params, {"decoder": {"head": {"vocabulary": rows}}})


def with_head_of(abstract: Mapping[str, Any], ids: int) -> dict[str, Any]:
  """The abstract parameters with a decoder's head for another number of ids, on every device."""
  head = abstract["decoder"]["head"]["vocabulary"]

  def like(leaf, shape):
    return jax.ShapeDtypeStruct(
      shape, leaf.dtype, sharding=NamedSharding(leaf.sharding.mesh, PartitionSpec())
    )

  kernel, bias = head["kernel"], head["bias"]
  vocabulary = {"kernel": like(kernel, (kernel.shape[0], ids)), "bias": like(bias, (ids,))}
  return overlay(abstract, {"decoder": {"head": {"vocabulary": vocabulary}}})


class FromFolder:
  """A checkpoint's folder, as transformers, sentence-transformers or our `export` wrote it."""

  def __init__(self, name: str):
    self._imported = from_hf.read_folder(download.local_folder(name))
    self._name = name
    self.model = self._imported.model
    self.tokenizer_files = hub_tokenizer.convert_tokenizer(self._imported.folder)

  def params(
    self, abstract: Mapping[str, Any], *, english_ids: np.ndarray
  ) -> tuple[dict[str, Any], str]:
    """The parameters that the folder has, placed, and a sentence for the log.

    `abstract`: the model's parameters, ShapeDtypeStructs with shardings.
    """
    found, said, theirs = self._imported, f"weights of {self._name}", None
    tree = from_hf.encoder_leaves(found)
    if "decoder" in abstract:
      trained = from_hf.exported_decoder(found, abstract)
      if trained is not None:
        tree |= trained.params
        said += ", its RTL decoder included"
        theirs = trained.english_ids
      else:
        layers = names.decoder_layers(abstract["decoder"])
        ids = None if names.is_tied(abstract["decoder"]) else english_ids
        tree["decoder"] = from_hf.decoder_from_checkpoint(found, layers=layers, english_ids=ids)
        said += f"; the RTL decoder starts from its last {layers} layers and " + (
          "its masked-LM head"
          if from_hf.has_head(found)
          else "its word embeddings, since it has no masked-LM head"
        )
    if "masked_lm" in abstract:
      if from_hf.has_head(found):
        tree["masked_lm"] = from_hf.head_from_checkpoint(found)
        said += "; the masked-LM head is its own"
      else:
        said += "; the masked-LM head starts anew, since it has none"
    if "unmasking" in abstract:  # new in the paper too
      said += "; the unmasking head starts anew"
    if theirs is not None:
      abstract = with_head_of(abstract, len(theirs))
    placed = sharding.place(tree, abstract)
    return match_rows(placed, theirs=theirs, wanted=english_ids), said


class FromWorkdir:
  """Another run: its newest checkpoint's parameters, not its optimizer state."""

  def __init__(self, name: str):
    self._folder = epath.Path(name)
    self._shapes = restore.shapes(self._folder)
    config = layout.read_config(name)["model"]
    absent = [key for key in DECIDED if key not in config]
    if absent or not store.complete(self._folder / "data"):
      raise UserError(
        f"init_from={name}: its config lacks model.{absent[0]}: another version wrote it"
        if absent
        else f"init_from={name}: its data/ is gone, which says what the decoder's rows stand for"
      )
    self.model = {key: config[key] for key in DECIDED}
    files = (self._folder / "tokenizer").glob("*.json")
    self.tokenizer_files = {file.name: file.read_text() for file in files}

  def params(
    self, abstract: Mapping[str, Any], *, english_ids: np.ndarray
  ) -> tuple[dict[str, Any], str]:
    """See `FromFolder.params`."""
    theirs, abstract = None, without_languages(abstract)
    if "decoder" in abstract and not names.is_tied(abstract["decoder"]):
      theirs = store.english_ids(self._folder / "data")
      abstract = with_head_of(abstract, len(theirs))
    written = without_languages(self._shapes)
    anew = [
      name
      for name in ("projection", "decoder", "masked_lm", "unmasking")
      if name in abstract and leaf_shapes(written.get(name, {})) != leaf_shapes(abstract[name])
    ]
    wanted = {name: tree for name, tree in abstract.items() if name not in anew}
    found = restore.restore(self._folder, wanted, step="newest")
    said = f"weights of {self._folder} at step {found.step}"
    if anew:
      said += f"; {' and '.join(anew)} start anew"
    return match_rows(found.state, theirs=theirs, wanted=english_ids), said


def without_languages(params: Mapping[str, Any]) -> dict[str, Any]:
  """Parameters less the decoder's vectors of languages, whose numbers are those of one run."""
  if "decoder" not in params:
    return dict(params)
  decoder = {name: tree for name, tree in params["decoder"].items() if name != "language"}
  return {**params, "decoder": decoder}


Source = FromFolder | FromWorkdir


def open_source(name: str) -> Source:
  """A hub id, a folder or a workdir -> a source, all of it checked that can be without loading it.

  Raises:
    UserError: it is none of these, or something in it is missing or damaged.
  """
  source = FromWorkdir(name) if layout.is_workdir(name) else FromFolder(name)
  tokens = Tokenizer.from_files(source.tokenizer_files, where=name, max_tokens=2)
  rows = source.model["encoder"]["vocabulary_size"]
  vocabulary_of(tokens, rows=rows, english_ids=None)  # the tokenizer fits the embedding
  return source


def decide(model: Mapping[str, Any], decided: Mapping[str, Any]) -> dict[str, Any]:
  """The config's `model` section with what a source decides in its place.

  Args:
    model: as the config has it.
    decided: `model` of a source; empty without one.

  Raises:
    UserError: both have a dense layer, and not the same.
  """
  ours, theirs = model["dense"], decided.get("dense", model["dense"])
  if ours["width"] and ours != theirs:
    raise UserError(f"model.dense={dict(ours)}, but init_from has {dict(theirs)}: leave ours out")
  pooling = model["pooling"] or decided.get("pooling") or DEFAULT_POOLING
  encoder = decided.get("encoder", model["encoder"])
  rows = max(section["vocabulary_size"] for section in (model["encoder"], encoder))
  encoder = {**encoder, "vocabulary_size": rows}  # more than a source has: `vocabulary_rows`
  return {**model, **decided, "encoder": encoder, "pooling": pooling}


def first_params(
  source: Source, abstract: Mapping[str, Any], *, english_ids: np.ndarray, rows: int
) -> tuple[dict[str, Any], str]:
  """A source's parameters as a run takes them, and a sentence for the log.

  Args:
    source: where from.
    abstract: the model's parameters, ShapeDtypeStructs with shardings.
    english_ids: of the data.
    rows: of the model's word embedding, as many as the source has, or more.
  """
  own = source.model["encoder"]["vocabulary_size"] or rows
  narrow = vocabulary_rows.narrowed(abstract, rows=own, wanted=rows)
  params, said = source.params(narrow, english_ids=english_ids)
  if own < rows:
    said += f"; {rows - own} rows of no id after its {own:,}"
  return vocabulary_rows.widened(params, abstract), said
