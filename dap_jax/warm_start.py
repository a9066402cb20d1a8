"""`init_from`: where a run's first weights, sizes and vocabulary come from.

A source is a checkpoint's folder, a hub id, or another workdir. It offers

    model               the sections of the config's `model` that it decides
    tokenizer_files     the vocabulary that its weights were trained with, name -> content
    params(...)         its parameters on the current mesh, and what to say of them

What a source lacks (a projection, a masked-LM head) is drawn from the seed. This is not how a run
resumes: `checkpoint` does that, optimizer state and step included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from dap_jax import checkpoint, sharding, workdir
from dap_jax.data import store
from dap_jax.hub import download, from_hf
from dap_jax.hub import tokenizer as hub_tokenizer
from dap_jax.trees import overlay

DECIDED = ("encoder", "dense", "normalize", "pooling")


class InMemory(NamedTuple):
  """A parameter for `sharding.place` that is an array already, in our shape."""

  array: np.ndarray

  def read(self, shape: tuple[int, ...]) -> np.ndarray:
    del shape
    return self.array


def head_rows(
  *, kernel: np.ndarray, bias: np.ndarray, words: np.ndarray, theirs: np.ndarray, wanted: np.ndarray
) -> dict[str, InMemory]:
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
    "kernel": InMemory(np.where(known[None], kernel[:, where], words[wanted].T)),
    "bias": InMemory(np.where(known, bias[where], 0)),
  }


class FromFolder:
  """A checkpoint's folder, as transformers, sentence-transformers or our `export` wrote it."""

  def __init__(self, name: str):
    self._imported = from_hf.read(download.local_folder(name))
    self._name = name
    self.model = self._imported.model

  def tokenizer_files(self) -> dict[str, str]:
    return hub_tokenizer.convert(self._imported.folder)

  def params(
    self, abstract: Mapping[str, Any], *, english_ids: np.ndarray
  ) -> tuple[dict[str, Any], str]:
    """The parameters that the folder has, placed, and a sentence for the log.

    `abstract`: the model's parameters, ShapeDtypeStructs with shardings.
    """
    found, said = self._imported, f"weights of {self._name}"
    tree = from_hf.encoder_leaves(found, abstract)
    if "decoder" in abstract:
      trained = from_hf.continued(found, abstract)
      if trained is not None:
        tree |= trained.params
        said += ", its RTL decoder included"
        if trained.english_ids is not None:
          tree["decoder"] = self._with_rows(tree["decoder"], trained.english_ids, english_ids)
      else:
        layers = sum(name.startswith("layers_") for name in abstract["decoder"])
        tied = "kernel" not in abstract["decoder"]["head"]["vocabulary"]
        tree["decoder"] = from_hf.decoder_from_checkpoint(
          found, layers=layers, english_ids=None if tied else english_ids
        )
        said += f"; the RTL decoder starts from its last {layers} layers and " + (
          "its masked-LM head"
          if from_hf.has_head(found)
          else "its word embeddings, since it has no masked-LM head"
        )
    return sharding.place(tree, abstract), said

  @staticmethod
  def _with_rows(decoder: dict[str, Any], theirs: np.ndarray, wanted: np.ndarray) -> dict[str, Any]:
    """A decoder whose head is in a file, with rows for the wanted ids."""
    if np.array_equal(theirs, wanted):
      return decoder
    head, words = decoder["head"]["vocabulary"], decoder["embeddings"]["word"]["embedding"]
    rows = head_rows(
      kernel=head["kernel"].read((words.stored.shape[1], len(theirs))),
      bias=head["bias"].read((len(theirs),)),
      words=words.stored.map(),
      theirs=theirs,
      wanted=wanted,
    )
    return overlay(decoder, {"head": {"vocabulary": rows}})


class FromWorkdir:
  """Another run: its newest checkpoint's parameters, not its optimizer state."""

  def __init__(self, name: str):
    self._folder = epath.Path(name)
    self.model = {key: workdir.read_config(name)["model"][key] for key in DECIDED}

  def tokenizer_files(self) -> dict[str, str]:
    return {file.name: file.read_text() for file in (self._folder / "tokenizer").glob("*.json")}

  def params(
    self, abstract: Mapping[str, Any], *, english_ids: np.ndarray
  ) -> tuple[dict[str, Any], str]:
    """See `FromFolder.params`."""
    wanted = {
      name: tree for name, tree in abstract.items() if name not in ("decoder", "projection")
    }
    stored = checkpoint.stored_params(self._folder)
    theirs = store.english_ids(self._folder / "data")
    anew = []
    for name in ("projection", "decoder"):
      if name in abstract:
        like = resized(abstract[name], len(theirs)) if name == "decoder" else abstract[name]
        if checkpoint.leaf_shapes(stored.get(name, {})) == checkpoint.leaf_shapes(like):
          wanted[name] = like
        else:
          anew.append(name)
    found = checkpoint.restore_params(self._folder, wanted, step="newest")
    params = found.state
    head = params.get("decoder", {}).get("head", {}).get("vocabulary", {})
    if "kernel" in head and not np.array_equal(theirs, english_ids):
      rows = head_rows(
        kernel=np.asarray(head["kernel"]),
        bias=np.asarray(head["bias"]),
        words=np.asarray(params["decoder"]["embeddings"]["word"]["embedding"]),
        theirs=theirs,
        wanted=english_ids,
      )
      rows = sharding.place(rows, abstract["decoder"]["head"]["vocabulary"])
      params = overlay(params, {"decoder": {"head": {"vocabulary": rows}}})
    also = f"; {' and '.join(anew)} start anew" if anew else ""
    return params, f"weights of {self._folder} at step {found.step}{also}"


def resized(decoder: Mapping[str, Any], ids: int) -> Mapping[str, Any]:
  """The abstract decoder with a head for another number of English ids, not sharded."""
  head = decoder["head"]["vocabulary"]
  if "kernel" not in head:
    return decoder
  everywhere = jax.sharding.NamedSharding(head["bias"].sharding.mesh, jax.sharding.PartitionSpec())

  def like(leaf, shape):
    return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=everywhere)

  vocabulary = {
    "kernel": like(head["kernel"], (head["kernel"].shape[0], ids)),
    "bias": like(head["bias"], (ids,)),
  }
  return overlay(decoder, {"head": {"vocabulary": vocabulary}})


def open_source(name: str) -> FromFolder | FromWorkdir:
  """A hub id, a folder or a workdir -> a source. Raises UserError where it is none of them."""
  return FromWorkdir(name) if workdir.is_workdir(name) else FromFolder(name)
