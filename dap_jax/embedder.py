"""Texts -> sentence vectors, in JAX: what evaluate, embed and the evaluation in training share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import SingleDeviceSharding

from dap_jax import build, checkpoint, sharding, workdir
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.errors import UserError
from dap_jax.hub import download, from_hf
from dap_jax.hub import tokenizer as tokenizer_files
from dap_jax.model.dual_alignment import DualAlignment
from dap_jax.settings import bind
from dap_jax.train_step import embed_step


def encode_texts(
  texts: Sequence[str],
  embed: Callable[[np.ndarray, np.ndarray], jax.Array],
  *,
  tokenizer: Tokenizer,
  max_tokens: int,
  batch_size: int,
  multiple: int = 1,
) -> np.ndarray:
  """Encodes in order of length, longest first, in batches of one of a few shapes.

  Args:
    texts: any strings; the empty one too.
    embed: (ids int32 [N, L], mask bool [N, L]) -> vectors [N, D].
    tokenizer: text -> ids.
    max_tokens: longest sequence; a batch is padded to the next multiple of 16 of its longest.
    batch_size: N of a call whose texts have up to `FULL_BATCH_TOKENS`; of longer ones fewer, since
      attention takes memory as N L^2. The last batch is filled with padding rows.
    multiple: N is a multiple of it, so that a mesh can share it.

  Returns:
    float32 [len(texts), D], in the order of `texts`.
  """
  if not texts:
    raise UserError("there are no texts to encode: the input is empty")
  sequences = tokenizer.encode_ragged(texts)
  order = np.argsort([-len(ids) for ids in sequences], kind="stable")
  pieces, start = [], 0
  while start < len(order):
    length = min(max_tokens, -(-len(sequences[order[start]]) // 16) * 16)
    rows = int(batch_size * min(1.0, (FULL_BATCH_TOKENS / length) ** 2))
    rows = max(1, -(-rows // multiple)) * multiple
    chosen = [sequences[i] for i in order[start : start + rows]]
    ids = np.full((rows, length), tokenizer.pad_id, np.int32)
    mask = np.zeros((rows, length), bool)
    mask[:, 0] = True  # filling rows have one token, so that their mean is defined
    for row, sequence in enumerate(chosen):
      ids[row, : len(sequence)] = sequence
      mask[row, : len(sequence)] = True
    pieces.append(np.asarray(embed(ids, mask))[: len(chosen)])
    start += rows
  vectors = np.empty((len(texts), pieces[0].shape[1]), np.float32)
  vectors[order] = np.concatenate(pieces)
  return vectors


FULL_BATCH_TOKENS = 256
# The config's `model` section for what a checkpoint's folder does not say.
PLAIN = {
  "pooling": build.DEFAULT_POOLING,
  "dense": {"width": 0, "activation": "identity"},
  "normalize": True,
  "dropout": 0.0,
  "projection": False,
  "compute_dtype": "float32",
}


class Loaded(NamedTuple):
  """A model ready to encode.

  Attributes:
    params: those of the encoder, and of the dense layer if it has one, on the first device.
    embed: (ids, mask) -> vectors, jitted.
    model: the config's `model` section.
    tokenizer, max_tokens: how texts become ids.
    step: of the checkpoint; None for an exported folder.
  """

  params: dict[str, Any]
  embed: Callable[[np.ndarray, np.ndarray], jax.Array]
  model: dict[str, Any]
  tokenizer: Tokenizer
  max_tokens: int
  step: int | None

  def encode(self, texts: Sequence[str], *, batch_size: int = 128) -> np.ndarray:
    """Vectors float32 [len(texts), D]."""
    return encode_texts(
      texts,
      self.embed,
      tokenizer=self.tokenizer,
      max_tokens=self.max_tokens,
      batch_size=batch_size,
    )


def jitted(network: DualAlignment, params: dict[str, Any]) -> Callable:
  """`embed_step` of one model; the parameters stay an argument, not constants of the program."""
  return functools.partial(jax.jit(functools.partial(embed_step, model=network)), params)


def encoder_of(model: Mapping[str, Any], *, tokenizer: Tokenizer, max_tokens: int) -> DualAlignment:
  """The network without what only training needs."""
  rows = model["encoder"]["vocabulary_size"]
  vocabulary = build.vocabulary_of(tokenizer, rows=rows, english_ids=None)
  return bind(
    build.make_model,
    {**model, "projection": False},
    where="model",
    vocabulary=vocabulary,
    max_tokens=max_tokens,
    decoder=None,
  )()


def abstract_params(network: DualAlignment) -> dict[str, Any]:
  """Shapes of the parameters, on the first device."""
  ids = jnp.zeros((1, 2, 2), jnp.int32)  # no shape depends on the length
  shapes = jax.eval_shape(
    lambda: network.init(jax.random.key(0), ids, ids == 0, method="initialise")["params"]
  )
  here = SingleDeviceSharding(jax.local_devices()[0])
  return jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=here), shapes)


def load(model: str, *, step: str = "newest", max_tokens: int | None = None) -> Loaded:
  """A workdir (`step`: newest, best or a number), a checkpoint's folder or a hub id -> a model.

  `max_tokens`: where texts are cut; None = where the model says.

  Raises:
    UserError: it is none of these, or something in it is missing or damaged.
  """
  if workdir.is_workdir(model):
    return load_workdir(epath.Path(model), step=step, max_tokens=max_tokens)
  folder = download.local_folder(str(model))
  found = from_hf.read(folder)
  limit = max_tokens or found.max_tokens
  files = tokenizer_files.convert(found.folder)
  tokens = Tokenizer.from_files(files, where=str(found.folder), max_tokens=limit)
  section = {**PLAIN, **found.model}
  network = encoder_of(section, tokenizer=tokens, max_tokens=limit)
  abstract = abstract_params(network)
  params = sharding.place(from_hf.encoder_leaves(found), abstract)
  return Loaded(params, jitted(network, params), section, tokens, limit, None)


def load_workdir(folder: epath.Path, *, step: str, max_tokens: int | None) -> Loaded:
  """See `load`."""
  config = workdir.read_config(folder)
  limit = max_tokens or config["max_tokens"]
  tokens = Tokenizer.load(folder / "tokenizer", max_tokens=limit)
  network = encoder_of(config["model"], tokenizer=tokens, max_tokens=limit)
  abstract = abstract_params(network)
  found = checkpoint.restore_params(folder, abstract, step=step)
  params = found.state
  return Loaded(params, jitted(network, params), config["model"], tokens, limit, found.step)
