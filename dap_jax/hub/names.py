"""Our parameter paths <-> torch's names, by the one table of a model type (`model_types/`).

Only names, transposes and reshapes differ, so a round trip is byte-exact. Our kernel [in, ...out]
is torch's weight [prod(out), in].
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from dap_jax.hub.model_types.tensor_names import DENSE, Module, Table
from dap_jax.utils.errors import UserError
from dap_jax.utils.trees import flatten

T = TypeVar("T")
WRAPPERS = ("_orig_mod.", "module.")


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


def without_wrappers(tensors: Mapping[str, T], table: Table, *, where: str) -> dict[str, T]:
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
  word = word_name(table)
  prefixes = sorted(name.removesuffix(word) for name in tensors if name.endswith(f".{word}"))
  if word not in tensors and prefixes and not {*table.prefixes} & {*prefixes}:
    expected = " or ".join(map(repr, table.prefixes))
    raise UserError(
      f"{where}: the names of its tensors start with {prefixes[0]!r}, expected {expected} or"
      " nothing: rename them"
    )
  return tensors


def word_name(table: Table) -> str:
  """The standard name of the word embeddings."""
  return expand(table.embeddings[:1])[0].torch_name


def standard_name(name: str, table: Table) -> str:
  """A tensor's name without prefix; gamma and beta of old checkpoints become weight and bias."""
  name = name.removeprefix(next(filter(name.startswith, table.prefixes), ""))
  name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
  return re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)


def by_standard_name(tensors: Mapping[str, T], table: Table, *, where: str) -> dict[str, T]:
  """Tensors by `standard_name`, see `without_wrappers` for arguments and errors."""
  standard: dict[str, T] = {}
  tensors = without_wrappers(tensors, table, where=where)
  for name, tensor in tensors.items():
    new_name = standard_name(name, table)
    if new_name in standard:
      raise UserError(f"{where}: two tensors for {new_name}, one of them {name}")
    standard[new_name] = tensor
  shared = next((name for name in table.shared_words if name in tensors), None)
  if shared is not None:
    standard.setdefault(word_name(table), tensors[shared])
  return standard


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
