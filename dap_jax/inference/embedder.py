"""A trained model ready to encode texts, in JAX: what evaluate, embed, mine and report share."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dap_jax.core.inference_step import embed_step, layer_means_step, layer_states_step
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.distributed import multihost, sharding
from dap_jax.evals import Pieces
from dap_jax.hub import download, from_hf, tokenizer_files
from dap_jax.inference import batching
from dap_jax.model.dual_alignment import DualAlignment
from dap_jax.model.from_config import DEFAULT_POOLING, ENCODER_ALONE, init_params, make_model
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.utils.binding import bind
from dap_jax.utils.errors import UserError
from dap_jax.workdir import layout, restore

BATCH_SIZE = 128  # texts
STATES_BATCH_SIZE = 32  # texts whose states in every layer are on the device at once
# The config's `model` section for what a checkpoint's folder does not say.
PLAIN = {
  "pooling": DEFAULT_POOLING,
  "dense": {"width": 0, "activation": "identity"},
  "normalize": True,
  "dropout": 0.0,
  "projection": False,
  "compute_dtype": "float32",
}


@dataclasses.dataclass(frozen=True)
class Embedder:
  """A model ready to encode, on all devices: each takes a share of every batch.

  Attributes:
    network: the model; of its parts only encoder and dense layer are used.
    params: its parameters, on the mesh.
    model: the config's `model` section.
    tokenizer, max_tokens: how texts become ids.
    step: of the checkpoint; None for an exported folder.
    mesh: `sharding.make_mesh`; the processes it lies on encode the same texts together.
    changed: what was asked for that is not the model's own: max_tokens, compute_dtype.
  """

  network: DualAlignment
  params: dict[str, Any]
  model: dict[str, Any]
  tokenizer: Tokenizer
  max_tokens: int
  step: int | None
  mesh: Mesh
  changed: Mapping[str, Any]

  def encode(
    self,
    texts: Sequence[str],
    *,
    batch_size: int = BATCH_SIZE,
    advance: batching.Advance | None = None,
  ) -> np.ndarray:
    """Sentence vectors, float32 [len(texts), D]; `advance` hears how many texts are done."""
    return self.collect(texts, embed_step, batch_size=batch_size, advance=advance)

  def layer_vectors(self, texts: Sequence[str]) -> np.ndarray:
    """The mean of the real tokens' states in each layer, float32 [len(texts), layers + 1, D]."""
    return self.collect(texts, layer_means_step)

  def word_states(self, sentences: Sequence[Sequence[str]]) -> list[Pieces]:
    """Sentences as lists of words -> the pieces of each; all of them are held at once."""
    self._same(sentences)
    pieces = self.tokenizer.encode_words(sentences)
    found: list[Pieces | None] = [None] * len(sentences)
    shapes = self._shapes(STATES_BATCH_SIZE)
    sequences, run = [ids for ids, _ in pieces], self._network(layer_states_step)
    for rows, states in batching.outputs(sequences, run, **shapes):
      for row, own in zip(rows, states, strict=True):
        words = np.asarray(pieces[row][1])
        inside = np.flatnonzero(words >= 0)
        found[row] = Pieces(own[:, inside], words[inside])
    return found

  @property
  def width(self) -> int:
    """D of the sentence vectors."""
    return self.network.dense_width or self.network.encoder.family.width

  def describe(self) -> dict[str, Any]:
    """What its vectors depend on, beside its name and the texts."""
    return {
      "step": self.step,
      "pooling": self.model["pooling"] or DEFAULT_POOLING,
      "max_tokens": self.max_tokens,
      "compute_dtype": self.model["compute_dtype"],
    }

  def digest(self) -> str:
    """A name for all that its vectors depend on, parameters included: 40 hexadecimal digits."""
    settings: dict[str, Any] = {**self.describe(), "model": self.model}
    sha = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    sha.update(self.tokenizer.definition().encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(self.params):
      sha.update(sharding.path_name(path).encode())
      sha.update(np.ascontiguousarray(leaf))
    return sha.hexdigest()[:40]

  def collect(
    self,
    texts: Sequence[str | tuple[str, str]],
    step: Callable,
    *,
    batch_size: int = BATCH_SIZE,
    advance: batching.Advance | None = None,
  ) -> np.ndarray:
    """What a step of `inference_step` makes of texts, float32 [len(texts), ...], in their order."""
    self._same(texts)
    sequences, run = self.tokenizer.encode_ragged(texts), self._network(step)
    return batching.collect(sequences, run, advance=advance, **self._shapes(batch_size))

  def _same(self, texts: Sequence) -> None:
    """Raises UserError where a process has others: they would make one batch of both."""
    if self.mesh.is_multi_process:
      content = json.dumps(list(texts)).encode()
      multihost.same({"text to encode": content}, cure="give all the same data")

  def _shapes(self, batch_size: int) -> dict[str, int]:
    """The arguments of `text_batches.batches`."""
    return {
      "pad_id": self.tokenizer.pad_id,
      "max_tokens": self.max_tokens,
      "batch_size": batch_size,
      "full_tokens": batching.full_tokens_of_here(),
      "multiple": sharding.row_shards(self.mesh),
    }

  def _network(self, step: Callable) -> batching.Network:
    """A step of `inference_step` as a function of ids and mask alone."""
    run = program(step, self.network, self.mesh)

    def network(ids, mask):
      rows = sharding.local_rows(self.mesh, len(ids))
      batch = {"ids": ids[rows], "mask": mask[rows]}
      return run(self.params, **sharding.put_batch(batch, self.mesh, batch_size=len(ids)))

    return network


@functools.cache
def program(step: Callable, network: DualAlignment, mesh: Mesh) -> Callable:
  """The jitted step; parameters stay an argument, so that a run's evaluations share one program."""
  everywhere = NamedSharding(mesh, PartitionSpec())
  return jax.jit(functools.partial(step, model=network), out_shardings=everywhere)


def encoder_of(model: Mapping[str, Any], *, tokenizer: Tokenizer, max_tokens: int) -> DualAlignment:
  """The network without what only training needs."""
  rows = model["encoder"]["vocabulary_size"]
  vocabulary = vocabulary_of(tokenizer, rows=rows, english_ids=None)
  return bind(
    make_model,
    {**model, "projection": False},
    where="model",
    vocabulary=vocabulary,
    max_tokens=max_tokens,
    **ENCODER_ALONE,
  )()


def abstract_params(network: DualAlignment, mesh: Mesh) -> dict[str, Any]:
  """Shapes of the parameters, each whole on every device of the mesh."""
  shapes = jax.eval_shape(lambda: init_params(network, jax.random.key(0)))
  whole = NamedSharding(mesh, PartitionSpec())
  return jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=whole), shapes)


def load(
  model: str, *, step: str = "newest", max_tokens: int | None = None, compute_dtype: str = ""
) -> Embedder:
  """A workdir, a checkpoint's folder or a hub id -> a model.

  Args:
    model: which.
    step: of a workdir: newest, best or a number.
    max_tokens: where texts are cut; None = where the model says.
    compute_dtype: float32 or bfloat16; "" = the one it was trained with.

  Raises:
    UserError: it is none of these, or something in it is missing or damaged.
  """
  other = {"compute_dtype": compute_dtype} if compute_dtype else {}
  mesh = sharding.make_mesh()
  if layout.is_workdir(model):
    given = {"step": step, "max_tokens": max_tokens, "other": other, "mesh": mesh}
    return load_workdir(epath.Path(model), **given)
  if step != "newest":
    raise UserError(f"step={step}: {model} is no workdir, it has no checkpoints to choose from")
  folder = download.local_folder(str(model))
  found = from_hf.read_folder(folder)
  limit = max_tokens or found.max_tokens
  files = tokenizer_files.convert_tokenizer(found.folder)
  tokens = Tokenizer.from_files(files, where=str(found.folder), max_tokens=limit)
  section = {**PLAIN, **found.model, **other}
  network = encoder_of(section, tokenizer=tokens, max_tokens=limit)
  params = sharding.place(from_hf.encoder_leaves(found), abstract_params(network, mesh))
  changed = differing({**PLAIN, **found.model}, other, max_tokens, found.max_tokens)
  return Embedder(network, params, section, tokens, limit, None, mesh, changed)


def load_workdir(
  folder: epath.Path, *, step: str, max_tokens: int | None, other: Mapping[str, Any], mesh: Mesh
) -> Embedder:
  """See `load`; `other` takes the place of settings of its config's `model` section."""
  config = layout.read_config(folder)
  limit = max_tokens or config["max_tokens"]
  tokens = Tokenizer.load(folder / "tokenizer", max_tokens=limit)
  section = {**config["model"], **other}
  network = encoder_of(section, tokenizer=tokens, max_tokens=limit)
  found = restore.restore(folder, abstract_params(network, mesh), step=step)
  changed = differing(config["model"], other, max_tokens, config["max_tokens"])
  return Embedder(network, found.state, section, tokens, limit, found.step, mesh, changed)


def differing(
  own: Mapping[str, Any], other: Mapping[str, Any], max_tokens: int | None, own_tokens: int
) -> dict[str, Any]:
  """What was asked for and is not the model's own."""
  changed = {name: value for name, value in other.items() if value != own[name]}
  return changed | ({} if max_tokens in (None, own_tokens) else {"max_tokens": max_tokens})
