"""The RTL decoder that a run makes of a trained encoder, as DAP starts its own.

DAP (arXiv 2305.09148), section 3.2, and its released program: the decoder is the last K layers of
the pretrained masked LM, with embeddings and a masked-LM head of its own that begin as the
pretrained ones. `hub.from_hf.decoder_from_checkpoint` does the same to tensors of a folder.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dap_jax.hub import names
from dap_jax.utils.errors import UserError


def decoder_of(
  encoder: Mapping[str, Any],
  head: Mapping[str, Any] | None,
  *,
  layers: int,
  english_ids: np.ndarray | None,
) -> dict[str, Any]:
  """The last `layers` layers of an encoder, its embeddings, its masked-LM head.

  Args:
    encoder: the tree `params["encoder"]`.
    head: the tree `params["masked_lm"]["head"]`, its projection tied to the word embeddings; None
      = the encoder was trained without one: the projection is the word embeddings, and the rest of
      the head is left out.
    layers: of the decoder.
    english_ids: int [V_en], the rows of the head; None = all, tied to the word embeddings.

  Returns:
    A tree like `params["decoder"]`, of copies: the encoder trains on beside it.

  Raises:
    UserError: the encoder has fewer layers.
  """
  depth = names.decoder_layers(encoder)
  if layers > depth:
    raise UserError(f"decoder.layers={layers}: init_from has only {depth} layers to start from")
  decoder = {name: tree for name, tree in encoder.items() if not name.startswith("layers_")}
  decoder |= {f"layers_{i}": encoder[f"layers_{depth - layers + i}"] for i in range(layers)}
  decoder["head"] = dict(head or {})
  decoder = jax.tree.map(jnp.copy, decoder)
  if english_ids is not None:
    bias = None if head is None else head["vocabulary"]["bias"]
    choose = functools.partial(rows_of, english_ids=english_ids)
    decoder["head"]["vocabulary"] = jax.jit(choose)(
      encoder["embeddings"]["word"]["embedding"], bias
    )
  return decoder


def description(layers: int, *, has_head: bool) -> str:
  """Where such a decoder comes from, for the log."""
  head = "its masked-LM head" if has_head else "its word embeddings, since it has no masked-LM head"
  return f"; the RTL decoder starts from its last {layers} layers and {head}"


def rows_of(
  words: jax.Array, bias: jax.Array | None, *, english_ids: np.ndarray
) -> dict[str, jax.Array]:
  """Words [V, D], bias [V] of a tied head -> the kernel [D, V_en] and bias [V_en] of some ids."""
  rows = {"kernel": words[english_ids].T}
  return rows if bias is None else {**rows, "bias": bias[english_ids]}
