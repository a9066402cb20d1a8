"""The network of a model that encodes: without the parts that only training needs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dap_jax.data.tokenizer import Tokenizer
from dap_jax.model.dual_alignment import DualAlignment
from dap_jax.model.from_config import ENCODER_ALONE, init_params, make_model
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.utils.binding import bind


@functools.cache
def jitted(step: Callable, network: DualAlignment, mesh: Mesh) -> Callable:
  """The jitted step. Parameters are its argument, so that all evaluations of a run share it."""
  replicated = NamedSharding(mesh, PartitionSpec())
  return jax.jit(functools.partial(step, model=network), out_shardings=replicated)


def encoder_of(
  model_config: Mapping[str, Any], *, tokenizer: Tokenizer, max_tokens: int, masked_lm: bool = False
) -> DualAlignment:
  """The network without the parts that only training needs; masked_lm: with that head."""
  rows = model_config["encoder"]["vocabulary_size"]
  vocabulary = vocabulary_of(tokenizer, rows=rows, english_ids=None)
  return bind(
    make_model,
    {**model_config, "projection": False},
    where="model",
    vocabulary=vocabulary,
    max_tokens=max_tokens,
    **{**ENCODER_ALONE, "masked_lm": masked_lm},
  )()


def abstract_params(network: DualAlignment, mesh: Mesh) -> dict[str, Any]:
  """Shapes of the parameters, each replicated on every device of the mesh."""
  shapes = jax.eval_shape(lambda: init_params(network, jax.random.key(0)))
  replicated = NamedSharding(mesh, PartitionSpec())
  return jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=replicated), shapes)
