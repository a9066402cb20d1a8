"""A trained model ready to encode texts, in JAX; evaluate, embed, mine and report all use it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from dap_jax.core import inference_step
from dap_jax.data import manifest
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.distributed import multihost, parameters, sharding
from dap_jax.evals import Pieces
from dap_jax.hub import download, from_hf, limits, tokenizer_files
from dap_jax.inference import batching
from dap_jax.inference.encoder_network import abstract_params, encoder_of, jitted
from dap_jax.model.dual_alignment import DualAlignment
from dap_jax.model.from_config import DEFAULT_POOLING
from dap_jax.utils.errors import UserError
from dap_jax.utils.prompts import Prompts, of_section
from dap_jax.workdir import layout, restore

BATCH_SIZE = 128  # texts
STATES_BATCH_SIZE = 32  # texts whose states of every layer are on the devices at a time
# Settings of the config's `model` section that a Hugging Face folder does not determine.
MODEL_DEFAULTS = {
  "pooling": DEFAULT_POOLING,
  "dense": {"width": 0, "activation": "identity"},
  "normalize": True,
  "dropout": 0.0,
  "projection": False,
  "compute_dtype": "float32",
}


@dataclasses.dataclass(frozen=True)
class Embedder:
  """A model ready to encode on all devices: every batch is sharded over them.

  Attributes:
    network: the model; only its encoder and its dense layer are used.
    params: its parameters, on the mesh.
    model_config: the config's `model` section.
    tokenizer: turns texts into ids.
    max_tokens: where texts are cut.
    step: of the checkpoint; None for a Hugging Face folder.
    mesh: see `sharding.make_mesh`; the processes of its devices encode the same texts together.
    changed: options of `load` that differ from the model's own: max_tokens, compute_dtype, prompt.
    prompts: that it has.
    prompt: what goes before every text, of `prompts` or not; "" = nothing.
  """

  network: DualAlignment
  params: dict[str, Any]
  model_config: dict[str, Any]
  tokenizer: Tokenizer
  max_tokens: int
  step: int | None
  mesh: Mesh
  changed: Mapping[str, Any]
  prompts: Prompts
  prompt: str

  def with_prompt(self, name: str = "", *, given: str | None = None) -> Embedder:
    """The same model with another prompt before its texts, see `Prompts.text`."""
    return dataclasses.replace(self, prompt=self.prompts.text(name, given=given))

  def encode(
    self,
    texts: Sequence[str],
    *,
    batch_size: int = BATCH_SIZE,
    advance: batching.Advance | None = None,
  ) -> np.ndarray:
    """Sentence vectors, float32 [N, D].

    Args:
      texts: N of them.
      batch_size: see `batching.batches`.
      advance: see `batching.Advance`.
    """
    prompted = self._prompted(texts)
    return self.collect(prompted, inference_step.embed_step, batch_size=batch_size, advance=advance)

  def layer_vectors(self, texts: Sequence[str]) -> np.ndarray:
    """The mean of each text's token states in each layer, float32 [N, layers + 1, D]."""
    return self.collect(self._prompted(texts), inference_step.layer_means_step)

  def vectors_of_layer(self, texts: Sequence[str], *, layer: int, pooling: str) -> np.ndarray:
    """The states of one layer pooled, float32 [N, D]; layer 0 is the embeddings."""
    return self.collect(self._prompted(texts), inference_step.layer_vector_step(layer, pooling))

  def word_states(self, sentences: Sequence[Sequence[str]]) -> list[Pieces]:
    """The pieces of each sentence, which is a list of words. All states are in memory at once."""
    self._check_same(sentences)
    encoded = self.tokenizer.encode_words(sentences, prompt=self.prompt)
    sequences, run = [ids for ids, _ in encoded], self._network(inference_step.layer_states_step)
    pieces: dict[int, Pieces] = {}
    for rows, states in batching.outputs(sequences, run, **self._shapes(STATES_BATCH_SIZE)):
      for row, of_row in zip(rows.tolist(), states, strict=True):
        words = np.asarray(encoded[row][1])
        inside = np.flatnonzero(words >= 0)  # [CLS], [SEP] and padding belong to no word
        pieces[row] = Pieces(of_row[:, inside], words[inside])
    return [pieces[row] for row in range(len(sentences))]

  @property
  def width(self) -> int:
    """D of the sentence vectors."""
    return self.network.vector_width

  def describe(self) -> dict[str, Any]:
    """Everything its vectors depend on beside its name and the texts: name -> value."""
    description = {
      "step": self.step,
      "pooling": self.model_config["pooling"] or DEFAULT_POOLING,
      "max_tokens": self.max_tokens,
      "compute_dtype": self.model_config["compute_dtype"],
    }
    return description | ({"prompt": self.prompt} if self.prompt else {})

  def digest(self) -> str:
    """A digest of all that its vectors depend on, parameters included: 40 hexadecimal digits."""
    settings: dict[str, Any] = {**self.describe(), "model": self.model_config}
    sha = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    sha.update(self.tokenizer.definition().encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(self.params):
      sha.update(parameters.path_name(path).encode())
      sha.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()[:40]

  def collect(
    self,
    texts: Sequence[str | tuple[str, str]],
    step: Callable,
    *,
    batch_size: int = BATCH_SIZE,
    advance: batching.Advance | None = None,
  ) -> np.ndarray:
    """The outputs of a step for each text, float32 [N, ...].

    Args:
      texts: N texts, or pairs of texts, which become one sequence; no prompt goes before them.
      step: a function of `core.inference_step`.
      batch_size: see `batching.batches`.
      advance: see `batching.Advance`.
    """
    self._check_same(texts)
    sequences = batching.tokenised(texts, self.tokenizer.encode_ragged)
    shapes = self._shapes(batch_size)
    return batching.collect(sequences, self._network(step), advance=advance, **shapes)

  def _prompted(self, texts: Sequence[str]) -> Sequence[str]:
    """The texts behind the prompt."""
    return [f"{self.prompt}{text}" for text in texts] if self.prompt else texts

  def _check_same(self, texts: Sequence) -> None:
    """Raises UserError where processes have different texts, which would end up in one batch."""
    if self.mesh.is_multi_process:
      content = json.dumps(list(texts)).encode()
      multihost.check_same({"text to encode": content}, cure="give all the same data")

  def _shapes(self, batch_size: int) -> dict[str, int]:
    """The arguments of `batching.batches`."""
    return {
      "pad_id": self.tokenizer.pad_id,
      "max_tokens": self.max_tokens,
      "batch_size": batch_size,
      "full_tokens": batching.full_tokens_of_backend(),
      "multiple": sharding.row_shards(self.mesh),
    }

  def _network(self, step: Callable) -> batching.Network:
    """A step of `core.inference_step` as a function of ids and mask alone."""
    run = jitted(step, self.network, self.mesh)

    def network(ids: np.ndarray, mask: np.ndarray) -> jax.Array:
      rows = sharding.local_rows(self.mesh, len(ids))
      batch = {"ids": ids[rows], "mask": mask[rows]}
      return run(self.params, **sharding.put_batch(batch, self.mesh, batch_size=len(ids)))

    return network


def load(
  model_path: epath.PathLike,
  *,
  step: str = "newest",
  max_tokens: int | None = None,
  compute_dtype: str = "",
  prompt_name: str = "",
  prompt: str | None = None,
) -> Embedder:
  """A workdir, a Hugging Face folder or a hub id -> a model.

  Args:
    model_path: which.
    step: of a workdir: newest, best or a number.
    max_tokens: where texts are cut; None = the model's own limit.
    compute_dtype: float32 or bfloat16; "" = the one it was trained with.
    prompt_name: the model's prompt that goes before every text; "" = its default, if it has one.
    prompt: the text itself, in place of a prompt of the model's.

  Raises:
    UserError: it is none of these, has no such prompt, or something in it is missing or damaged.
  """
  options: Options = {"max_tokens": max_tokens, "compute_dtype": compute_dtype}
  if layout.is_workdir(model_path):
    loaded = load_workdir(epath.Path(model_path), step=step, **options)
    return prompted(loaded, prompt_name, prompt)
  if step != "newest":
    raise UserError(
      f"step={step}: {model_path} is no workdir, it has no checkpoints to choose from"
    )
  loaded = load_folder(download.local_folder(str(model_path)), **options)
  return prompted(loaded, prompt_name, prompt)


def prompted(model: Embedder, name: str, text: str | None) -> Embedder:
  """The model as the options of `load` want it: with its default prompt, or with another."""
  default, chosen = model.prompts.text(), model.with_prompt(name, given=text)
  changed = {} if chosen.prompt == default else {"prompt": chosen.prompt}
  return dataclasses.replace(chosen, changed={**model.changed, **changed})


def most_tokens(model_path: epath.PathLike) -> int:
  """The longest sequence for which a model, named as in `load`, has positions."""
  if layout.is_workdir(model_path):
    encoder = layout.read_config(model_path)["model"]["encoder"]
  else:
    encoder = from_hf.read_encoder(download.local_folder(str(model_path)))
  return int(encoder["positions"] - encoder.get("position_offset", 0))


class Options(TypedDict):
  """Arguments of `load`."""

  max_tokens: int | None
  compute_dtype: str


def load_folder(folder: epath.Path, **options: Unpack[Options]) -> Embedder:
  """The model of a Hugging Face folder, see `load`."""
  checkpoint, mesh = from_hf.read_folder(folder), sharding.make_mesh()
  trained_config = {**MODEL_DEFAULTS, **checkpoint.model_config}
  model_config, limit, changed = apply_options(trained_config, checkpoint.max_tokens, **options)
  files = tokenizer_files.convert_tokenizer(checkpoint.folder)
  tokenizer = Tokenizer.from_files(files, where=str(checkpoint.folder), max_tokens=limit)
  encoder = model_config["encoder"]
  limits.check_padding(checkpoint.folder, encoder, max_tokens=limit, pad_id=tokenizer.pad_id)
  network = encoder_of(model_config, tokenizer=tokenizer, max_tokens=limit)
  params = parameters.place(from_hf.encoder_leaves(checkpoint), abstract_params(network, mesh))
  built = network, params, model_config, tokenizer, limit, None, mesh, changed
  return Embedder(*built, prompts=checkpoint.prompts, prompt="")


def load_workdir(folder: epath.Path, *, step: str, **options: Unpack[Options]) -> Embedder:
  """The model of a checkpoint in a workdir, see `load`."""
  config, mesh = layout.read_config(folder), sharding.make_mesh()
  model_config, limit, changed = apply_options(config["model"], config["max_tokens"], **options)
  manifest.check_tokenizer(folder)
  tokenizer = Tokenizer.load(folder / "tokenizer", max_tokens=limit)
  network = encoder_of(model_config, tokenizer=tokenizer, max_tokens=limit)
  checkpoint = restore.restore(folder, abstract_params(network, mesh), step=step)
  built = network, checkpoint.state, model_config, tokenizer, limit, checkpoint.step, mesh, changed
  return Embedder(*built, prompts=of_section(**config["prompts"])[0], prompt="")


def apply_options(
  trained_config: Mapping[str, Any], trained_tokens: int, **options: Unpack[Options]
) -> tuple[dict[str, Any], int, dict[str, Any]]:
  """Puts the options of `load` in the place of the model's own settings.

  Args:
    trained_config: the `model` section that the model was trained with.
    trained_tokens: where the model cuts texts.
    **options: see `load`.

  Returns:
    The `model` section and the limit of tokens to use, and the options that differ from the
    model's own, name -> value.
  """
  max_tokens, compute_dtype = options["max_tokens"], options["compute_dtype"]
  changed: dict[str, Any] = {}
  if compute_dtype not in ("", trained_config["compute_dtype"]):
    changed["compute_dtype"] = compute_dtype
  model_config = {**trained_config, **changed}
  if max_tokens not in (None, trained_tokens):
    changed["max_tokens"] = max_tokens
  return model_config, max_tokens or trained_tokens, changed
