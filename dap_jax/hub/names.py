"""The weight names of each model type: our parameter paths <-> torch's names, in one table.

Only names, transposes and reshapes differ, so a round trip is byte-exact. Our kernel [in, ...out]
is torch's weight [prod(out), in].
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dap_jax.utils.errors import UserError
from dap_jax.utils.trees import flatten

# Leaves of modules: our name, torch's name, whether it is a kernel.
KERNEL = ("kernel", "weight", True)
DENSE = (KERNEL, ("bias", "bias", False))
SCALE = ("scale", "weight", False)
NORM = (SCALE, ("bias", "bias", False))
EMBEDDING = (("embedding", "weight", False),)

Leaves = tuple[tuple[str, str, bool], ...]  # our leaf, torch's leaf, whether it is a kernel
Module = tuple[str, str, Leaves]  # our path, torch's name, the leaves


class Entry(NamedTuple):
  """One tensor.

  Attributes:
    path: our path below encoder, decoder, ...
    torch_name: torch's name.
    transposed: whether it is a kernel, which torch has transposed.
  """

  path: str
  torch_name: str
  transposed: bool


class Table(NamedTuple):
  """The names of one model type.

  Attributes:
    prefix: of the encoder's names in torch's masked-LM class.
    embeddings, final: modules outside the layers.
    layer_name: torch's prefix of layer i, a format string.
    layer: the modules of a layer.
    first_layer_lacks: our paths of modules that layer 0 of an encoder does not have.
    head: modules of the masked-LM head.
    head_kernel, head_bias: torch's names of the head's projection onto ids.
    dropped: patterns of tensors that are left out of our model on purpose.
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
    ("embeddings/word", "embeddings.word_embeddings", EMBEDDING),
    ("embeddings/position", "embeddings.position_embeddings", EMBEDDING),
    ("embeddings/token_type", "embeddings.token_type_embeddings", EMBEDDING),
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
    ("embeddings/word", "embeddings.tok_embeddings", EMBEDDING),
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
WRAPPERS = ("_orig_mod.", "module.")
TABLES = {
  "bert": BERT,
  "roberta": ROBERTA,
  "xlm-roberta": ROBERTA,
  "distilbert": DISTILBERT,
  "modernbert": MODERNBERT,
}


def expand(modules: Iterable[Module], *, path: str = "", name: str = "") -> list[Entry]:
  """Modules -> one entry a tensor; `path` and `name` are prefixes of our path and torch's name."""
  return [
    Entry(f"{path}{module_path}/{leaf}", f"{name}{torch_module}.{torch_leaf}", transposed)
    for module_path, torch_module, leaves in modules
    for leaf, torch_leaf, transposed in leaves
  ]


def encoder_entries(table: Table, layers: int, *, first: int = 0) -> list[Entry]:
  """The entries of an encoder, without the prefix.

  Args:
    table: of the model type.
    layers: how many layers torch's encoder has.
    first: the first layer to take; it is layer 0 in our paths.
  """
  entries = expand((*table.embeddings, *table.final))
  for i in range(first, layers):
    lacks = table.first_layer_lacks if i == 0 else ()
    modules = [module for module in table.layer if module[0] not in lacks]
    entries += expand(modules, path=f"layers_{i - first}/", name=table.layer_name.format(i))
  return entries


def head_entries(table: Table, *, tied: bool) -> list[Entry]:
  """The entries of the masked-LM head; tied: its kernel is the word embeddings, so it has none."""
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
DENSE_ENTRIES = [entry._replace(path=entry.path.removeprefix("/")) for entry in DENSE_ENTRIES]
PROJECTION_ENTRIES = [
  entry._replace(torch_name=f"projection.{entry.torch_name}") for entry in DENSE_ENTRIES
]


def decoder_layers(decoder: Mapping[str, Any]) -> int:
  """The number of layers in the tree `params["decoder"]`."""
  return sum(name.startswith("layers_") for name in decoder)


def is_tied(decoder: Mapping[str, Any]) -> bool:
  """Whether the head of such a tree is its own word embeddings, and so covers all ids."""
  return "kernel" not in decoder["head"]["vocabulary"]


def without_wrappers(tensors: Mapping[str, Any], table: Table, *, where: str) -> dict[str, Any]:
  """Tensors less a prefix of a wrapper that all of their names have.

  torch.compile and DistributedDataParallel put their `WRAPPERS` before every name; they say nothing
  of the model, so they are taken off. Any other prefix may be one of several parts of a model.

  Args:
    tensors: torch's name -> anything.
    table: of the model type.
    where: the folder, for the message.

  Raises:
    UserError: all encoder's names have another prefix.
  """
  tensors = dict(tensors)
  while tensors:
    wrapper = next((w for w in WRAPPERS if all(name.startswith(w) for name in tensors)), "")
    if not wrapper:
      break
    tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
  word = f"{table.embeddings[0][1]}.{table.embeddings[0][2][0][1]}"
  prefixes = sorted(name.removesuffix(word) for name in tensors if name.endswith(f".{word}"))
  if word not in tensors and prefixes and table.prefix not in prefixes:
    raise UserError(
      f"{where}: the names of its tensors start with {prefixes[0]!r}, expected {table.prefix!r} or"
      " nothing: rename them"
    )
  return tensors


def standard_name(name: str, table: Table) -> str:
  """A tensor's name without prefix; gamma and beta of old checkpoints become weight and bias."""
  name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name.removeprefix(table.prefix))
  return re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)


def is_dropped(name: str, table: Table) -> bool:
  """Whether a tensor (its standard name) is left out on purpose."""
  return any(re.fullmatch(pattern, name) for pattern in table.dropped)


def torch_shapes(
  entries: Iterable[Entry], encoder: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
  """Torch's name -> torch's shape, of each entry; encoder: the `model.encoder` section."""
  width, mlp, ids = encoder["width"], encoder["mlp_width"], encoder["vocabulary_size"]
  rows = {"word": ids, "position": encoder["positions"], "token_type": encoder.get("token_types")}
  rows |= {"qkv": 3 * width, "mlp_in": mlp, "gated_in": 2 * mlp, "vocabulary": ids}
  shapes: dict[str, tuple[int, ...]] = {}
  for entry in entries:
    *_, module, leaf = ("", *entry.path.split("/"))  # the path of a dense layer is its leaf alone
    first = rows.get(module, width)
    last = mlp if module == "mlp_out" else width
    shapes[entry.torch_name] = (first, last) if leaf in ("kernel", "embedding") else (first,)
  return shapes


def leaf_from_torch(array: np.ndarray, shape: tuple[int, ...], *, transposed: bool) -> np.ndarray:
  """One of torch's tensors in our shape; a view where the shape has two axes."""
  return array.T.reshape(shape) if transposed else array


def leaf_to_torch(array: np.ndarray, *, transposed: bool) -> np.ndarray:
  """One of our arrays in torch's shape, contiguous."""
  array = np.asarray(array)
  return np.ascontiguousarray(array.reshape(len(array), -1).T if transposed else array)


def to_torch(tree: Mapping[str, Any], entries: Iterable[Entry]) -> dict[str, np.ndarray]:
  """Our nested dict, whose leaves are `entries` -> torch's tensors, name -> contiguous array."""
  flat, entries = flatten(tree), list(entries)
  known = {entry.path for entry in entries}
  assert known == set(flat), f"table and tree differ in {sorted(known ^ set(flat))}"
  return {
    entry.torch_name: leaf_to_torch(flat[entry.path], transposed=entry.transposed)
    for entry in entries
  }
