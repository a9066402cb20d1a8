"""Rows of a vocabulary: stored parameters that have others than the run they are for.

A run's word embedding may have more rows than the stored one, to divide by the devices that share
it: XLM-R's 250,002 rows divide by 2 and no higher power of it. Rows of no id change nothing: their
word vectors are 0 and never read, their bias lets them have no share of any softmax.

Where `tokenizer.prune` left ids out, their rows are left out too.

The head of the RTL decoder has a row for each id of the English side of the data, and those are
other ids in other data.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from dap_jax.distributed.parameters import path_name
from dap_jax.utils.trees import overlay

NEVER = -1e4  # e to this power is 0, in bfloat16 too
ENGLISH_HEAD = ("decoder/head/vocabulary/kernel", "decoder/head/vocabulary/bias")


class StoredRows(NamedTuple):
  """What the rows of stored parameters stand for.

  Attributes:
    ids: rows of the word embedding, one for each id.
    english_ids: int32 [V_en], sorted, what the decoder's head has a row for; None where no such
      head is stored, or it is made for the run's ids as it is read.
    kept: int32 [ids of the run], rising, which of these ids the run has; None = all.
  """

  ids: int
  english_ids: np.ndarray | None
  kept: np.ndarray | None = None

  def numbers_of(self, ids: np.ndarray | None) -> np.ndarray | None:
    """Ids of the run -> the stored numbers of the same tokens."""
    return ids if ids is None or self.kept is None else self.kept[ids]


def word_rows(params: Mapping[str, Any]) -> int:
  """The rows of the word embedding; arrays or shapes."""
  return params["encoder"]["embeddings"]["word"]["embedding"].shape[0]


def stored_shapes(abstract: Mapping[str, Any], stored: StoredRows) -> dict[str, Any]:
  """The parameters of a run with the rows that are stored: to restore into.

  Args:
    abstract: of the run, ShapeDtypeStructs with shardings.
    stored: see there.

  Returns:
    The same tree; what has other rows than the run lies whole on every device.
  """
  rows = word_rows(abstract)

  def with_stored_rows(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    if stored.english_ids is not None and path_name(path) in ENGLISH_HEAD:
      shape = (*leaf.shape[:-1], len(stored.english_ids))
    elif stored.ids != rows and has_row_per_id(path, leaf, rows):
      shape = (stored.ids, *leaf.shape[1:])
    else:
      return leaf
    whole = NamedSharding(leaf.sharding.mesh, PartitionSpec())
    return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=whole)

  return jax.tree_util.tree_map_with_path(with_stored_rows, abstract)


def has_row_per_id(path: tuple, leaf: jax.ShapeDtypeStruct, rows: int) -> bool:
  """Whether a parameter has a row for each id: words, and the biases of tied heads."""
  name = path_name(path)
  return leaf.shape[0] == rows and name.endswith(("word/embedding", "head/vocabulary/bias"))


def with_rows_of_run(
  params: dict[str, Any],
  abstract: Mapping[str, Any],
  stored: StoredRows,
  *,
  english_ids: np.ndarray | None,
) -> dict[str, Any]:
  """Parameters as they are stored -> with the rows of the run.

  Args:
    params: arrays; perhaps some of the subtrees of `abstract` alone.
    abstract: of the run, ShapeDtypeStructs with shardings.
    stored: what the rows of `params` stand for.
    english_ids: int32 [V_en] of the run's data, sorted.
  """
  params = with_english_head(params, stored.english_ids, stored.numbers_of(english_ids))
  return with_ids_of_run(params, abstract, stored.kept)


def with_english_head(
  params: dict[str, Any], stored_ids: np.ndarray | None, english_ids: np.ndarray | None
) -> dict[str, Any]:
  """Gives the decoder's head a row for each of `english_ids`; others stay where it has just those.

  The params are as they were where no head is stored, or its ids are the same.
  """
  if "decoder" not in params or stored_ids is None:
    return params
  assert english_ids is not None, "a decoder is trained on English ids"
  if np.array_equal(stored_ids, english_ids):
    return params
  decoder = params["decoder"]
  head, words = decoder["head"]["vocabulary"], decoder["embeddings"]["word"]["embedding"]
  choose = functools.partial(head_rows, stored_ids=stored_ids, english_ids=english_ids)
  rows = jax.jit(choose)(head["kernel"], head["bias"], words)
  return overlay(params, {"decoder": {"head": {"vocabulary": rows}}})


def head_rows(
  kernel: jax.Array,
  bias: jax.Array,
  words: jax.Array,
  *,
  stored_ids: np.ndarray,
  english_ids: np.ndarray,
) -> dict[str, jax.Array]:
  """A trained head for other English ids; an id it has not starts from its word embedding.

  Args:
    kernel, bias: [D, V_stored], [V_stored].
    words: [V, D], the decoder's word embeddings.
    stored_ids, english_ids: int [V_stored], [V_en], sorted.

  Returns:
    "kernel" [D, V_en] and "bias" [V_en].
  """
  where = np.searchsorted(stored_ids, english_ids).clip(max=len(stored_ids) - 1)
  known = stored_ids[where] == english_ids
  return {
    "kernel": jnp.where(known[None], kernel[:, where], words[english_ids].T),
    "bias": jnp.where(known, bias[where], 0),
  }


def with_ids_of_run(
  params: dict[str, Any], abstract: Mapping[str, Any], kept: np.ndarray | None
) -> dict[str, Any]:
  """Takes the rows of the kept ids, and adds rows of no id where `abstract` has more.

  What has other rows then lies where `abstract` says.
  """
  targets, rows = dict(jax.tree_util.tree_leaves_with_path(abstract)), word_rows(abstract)

  def fit(path: tuple, leaf: jax.Array) -> jax.Array:
    target = targets[path]
    chosen = kept if has_row_per_id(path, target, rows) else None
    if chosen is None and leaf.shape == target.shape:
      return leaf
    fill = 0 if path_name(path).endswith("embedding") else NEVER
    change = functools.partial(rows_of, chosen=chosen, count=target.shape[0], fill=fill)
    return jax.jit(change, out_shardings=target.sharding)(leaf)

  return jax.tree_util.tree_map_with_path(fit, params)


def rows_of(array: jax.Array, *, chosen: np.ndarray | None, count: int, fill: float) -> jax.Array:
  """The chosen rows of an array, None = all, and then rows of `fill` up to `count`."""
  if chosen is not None:
    array = array[chosen]
  more = [(0, count - len(array))] + [(0, 0)] * (array.ndim - 1)
  return jnp.pad(array, more, constant_values=fill)
