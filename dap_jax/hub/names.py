"""One table a model type between our parameter paths and torch's names; it serves both directions.

Only names, transposes and reshapes change, so a round trip is byte-exact. A kernel [in, ...out] of
ours is torch's weight [prod(out), in]. Nothing is imported but numpy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dap_jax.utils.trees import flatten

KERNEL = ("kernel", "weight", True)
DENSE = (KERNEL, ("bias", "bias", False))
SCALE = ("scale", "weight", False)
NORM = (SCALE, ("bias", "bias", False))
TABLE = (("embedding", "weight", False),)

Module = tuple[str, str, tuple]  # our path, torch's name, its leaves


class Entry(NamedTuple):
  """ours: path below encoder, decoder, ...; theirs: torch's name; transposed: a kernel."""

  ours: str
  theirs: str
  transposed: bool


class Table(NamedTuple):
  """The names of one model type.

  Attributes:
    prefix: what torch's masked-LM class puts before the names of its encoder.
    embeddings, final: modules outside the layers.
    layer_name: torch's name of layer i, a format.
    layer: the modules of a layer.
    first_layer_lacks: our modules that layer 0 of an encoder has not.
    head: modules of the masked-LM head; `head_kernel`, `head_bias`: its projection onto ids.
    dropped: patterns of tensors that are no part of our model, on purpose.
  """

  prefix: str
  embeddings: tuple[Module, ...]
  final: tuple[Module, ...]
  layer_name: str
  layer: tuple[Module, ...]
  first_layer_lacks: tuple[str, ...]
  head: tuple[Module, ...]
  head_kernel: str
  head_bias: str
  dropped: tuple[str, ...]


BERT = Table(
  prefix="bert.",
  embeddings=(
    ("embeddings/word", "embeddings.word_embeddings", TABLE),
    ("embeddings/position", "embeddings.position_embeddings", TABLE),
    ("embeddings/token_type", "embeddings.token_type_embeddings", TABLE),
    ("embeddings/norm", "embeddings.LayerNorm", NORM),
  ),
  final=(),
  layer_name="encoder.layer.{}.",
  layer=(
    ("attention/query", "attention.self.query", DENSE),
    ("attention/key", "attention.self.key", DENSE),
    ("attention/value", "attention.self.value", DENSE),
    ("attention/output", "attention.output.dense", DENSE),
    ("attention_norm", "attention.output.LayerNorm", NORM),
    ("mlp_in", "intermediate.dense", DENSE),
    ("mlp_out", "output.dense", DENSE),
    ("mlp_norm", "output.LayerNorm", NORM),
  ),
  first_layer_lacks=(),
  head=(
    ("head/dense", "cls.predictions.transform.dense", DENSE),
    ("head/norm", "cls.predictions.transform.LayerNorm", NORM),
  ),
  head_kernel="cls.predictions.decoder.weight",
  head_bias="cls.predictions.bias",
  dropped=(
    r"pooler\.dense\.(weight|bias)",  # trained for the next-sentence task
    r"cls\.seq_relationship\.(weight|bias)",  # that task's head
    r"embeddings\.position_ids",  # the constant 0, 1, 2, ...
    r"cls\.predictions\.decoder\.bias",  # an alias of the bias
  ),
)
ROBERTA = BERT._replace(
  prefix="roberta.",
  head=(("head/dense", "lm_head.dense", DENSE), ("head/norm", "lm_head.layer_norm", NORM)),
  head_kernel="lm_head.decoder.weight",
  head_bias="lm_head.bias",
  dropped=(
    r"pooler\.dense\.(weight|bias)",
    r"embeddings\.position_ids",
    r"lm_head\.decoder\.bias",
  ),
)
DISTILBERT = BERT._replace(
  prefix="distilbert.",
  embeddings=tuple(module for module in BERT.embeddings if "token_type" not in module[0]),
  layer_name="transformer.layer.{}.",
  layer=(
    ("attention/query", "attention.q_lin", DENSE),
    ("attention/key", "attention.k_lin", DENSE),
    ("attention/value", "attention.v_lin", DENSE),
    ("attention/output", "attention.out_lin", DENSE),
    ("attention_norm", "sa_layer_norm", NORM),
    ("mlp_in", "ffn.lin1", DENSE),
    ("mlp_out", "ffn.lin2", DENSE),
    ("mlp_norm", "output_layer_norm", NORM),
  ),
  head=(("head/dense", "vocab_transform", DENSE), ("head/norm", "vocab_layer_norm", NORM)),
  head_kernel="vocab_projector.weight",
  head_bias="vocab_projector.bias",
  dropped=(r"embeddings\.position_ids",),
)
MODERNBERT = Table(
  prefix="model.",
  embeddings=(
    ("embeddings/word", "embeddings.tok_embeddings", TABLE),
    ("embeddings/norm", "embeddings.norm", (SCALE,)),
  ),
  final=(("final_norm", "final_norm", (SCALE,)),),
  layer_name="layers.{}.",
  layer=(
    ("attention_norm", "attn_norm", (SCALE,)),
    ("qkv", "attn.Wqkv", (KERNEL,)),
    ("output", "attn.Wo", (KERNEL,)),
    ("mlp_norm", "mlp_norm", (SCALE,)),
    ("gated_in", "mlp.Wi", (KERNEL,)),
    ("mlp_out", "mlp.Wo", (KERNEL,)),
  ),
  first_layer_lacks=("attention_norm",),
  head=(("head/dense", "head.dense", (KERNEL,)), ("head/norm", "head.norm", (SCALE,))),
  head_kernel="decoder.weight",
  head_bias="decoder.bias",
  dropped=(),
)
TABLES = {
  "bert": BERT,
  "roberta": ROBERTA,
  "xlm-roberta": ROBERTA,
  "distilbert": DISTILBERT,
  "modernbert": MODERNBERT,
}


def expand(modules: Iterable[Module], *, path: str = "", name: str = "") -> list[Entry]:
  """Modules -> one entry a tensor, with prefixes."""
  return [
    Entry(f"{path}{ours}/{leaf}", f"{name}{theirs}.{torch_leaf}", transposed)
    for ours, theirs, leaves in modules
    for leaf, torch_leaf, transposed in leaves
  ]


def encoder_entries(table: Table, layers: int, *, first: int = 0) -> list[Entry]:
  """The entries of an encoder; ours are numbered from 0, theirs from `first`, without prefix."""
  entries = expand((*table.embeddings, *table.final))
  for i in range(first, layers):
    lacks = table.first_layer_lacks if i == 0 else ()
    modules = [module for module in table.layer if module[0] not in lacks]
    entries += expand(modules, path=f"layers_{i - first}/", name=table.layer_name.format(i))
  return entries


def head_entries(table: Table, *, tied: bool) -> list[Entry]:
  """The entries of the masked-LM head."""
  bias = Entry("head/vocabulary/bias", table.head_bias, False)
  kernel = Entry("head/vocabulary/kernel", table.head_kernel, True)
  return [*expand(table.head), bias, *([] if tied else [kernel])]


def decoder_entries(table: Table, *, depth: int, layers: int, tied: bool) -> list[Entry]:
  """The entries of an RTL decoder: the last `layers` of `depth` layers, and a masked-LM head."""
  return [
    *encoder_entries(table, depth, first=depth - layers),
    *head_entries(table, tied=tied),
  ]


DENSE_ENTRIES = expand([("", "linear", DENSE)])
DENSE_ENTRIES = [entry._replace(ours=entry.ours.removeprefix("/")) for entry in DENSE_ENTRIES]
PROJECTION_ENTRIES = [
  entry._replace(theirs=f"projection.{entry.theirs}") for entry in DENSE_ENTRIES
]


def decoder_layers(decoder: Mapping[str, Any]) -> int:
  """K of a tree `params["decoder"]`."""
  return sum(name.startswith("layers_") for name in decoder)


def is_tied(decoder: Mapping[str, Any]) -> bool:
  """Whether the head of such a tree is its own word embeddings, so that it has all ids."""
  return "kernel" not in decoder["head"]["vocabulary"]


def standard_name(name: str, table: Table) -> str:
  """A tensor's name without its class's prefix; LayerNorm's gamma and beta of old checkpoints."""
  name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name.removeprefix(table.prefix))
  return re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)


def is_dropped(name: str, table: Table) -> bool:
  """Whether a tensor (its standard name) is left out on purpose."""
  return any(re.fullmatch(pattern, name) for pattern in table.dropped)


def torch_shapes(
  entries: Iterable[Entry], encoder: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
  """Torch's name -> torch's shape of each entry, by the sizes of the `model.encoder` section."""
  width, mlp, ids = encoder["width"], encoder["mlp_width"], encoder["vocabulary_size"]
  rows = {"word": ids, "position": encoder["positions"], "token_type": encoder.get("token_types")}
  rows |= {"qkv": 3 * width, "mlp_in": mlp, "gated_in": 2 * mlp, "vocabulary": ids}
  expected = {}
  for entry in entries:
    *_, module, leaf = ("", *entry.ours.split("/"))  # a dense layer's path is its leaf alone
    first = rows.get(module, width)
    last = mlp if module == "mlp_out" else width
    expected[entry.theirs] = (first, last) if leaf in ("kernel", "embedding") else (first,)
  return expected


def to_ours(array: np.ndarray, shape: tuple[int, ...], *, transposed: bool) -> np.ndarray:
  """A torch tensor in our shape; a view where the shape has two axes."""
  return array.T.reshape(shape) if transposed else array


def to_theirs(array: np.ndarray, *, transposed: bool) -> np.ndarray:
  """One of our arrays as torch has it, contiguous."""
  array = np.asarray(array)
  return np.ascontiguousarray(array.reshape(len(array), -1).T if transposed else array)


def to_torch(tree: Mapping[str, Any], entries: Iterable[Entry]) -> dict[str, np.ndarray]:
  """Our tree -> torch tensors, by `entries`; contiguous arrays."""
  flat, entries = flatten(tree), list(entries)
  known = {entry.ours for entry in entries}
  assert known == set(flat), f"table and tree differ in {sorted(known ^ set(flat))}"
  return {
    entry.theirs: to_theirs(flat[entry.ours], transposed=entry.transposed) for entry in entries
  }
