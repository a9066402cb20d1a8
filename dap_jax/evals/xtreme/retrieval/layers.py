"""Which layer of a model the benchmark's retrieval reads."""

from __future__ import annotations

from dap_jax.evals.xtreme import tasks
from dap_jax.utils.errors import UserError

INDEX = 7  # of the states that the scripts keep, those of the last 12 layers
KEPT = 12
LARGE, INDEX_OF_LARGE = 24, 13  # Tatoeba's script keeps 24 of XLM-R large


def layer_of(task: str, depth: int, *, chosen: int | None = None) -> int:
  """The number of the layer whose states are pooled; 0 is the embeddings.

  Args:
    task: tatoeba or bucc2018.
    depth: the model's layers.
    chosen: by the user, instead of the benchmark's.

  Raises:
    UserError: the model has no such layer.

  Examples:
    >>> [layer_of("tatoeba", depth) for depth in (12, 24)]
    [8, 14]
    >>> [layer_of("bucc2018", depth) for depth in (12, 24)]
    [8, 20]
  """
  if chosen is not None:
    if not 0 <= chosen <= depth:
      raise UserError(f"--layer={chosen}: the model has the layers 0 to {depth}")
    return chosen
  if task == tasks.TATOEBA and depth == LARGE:
    return 1 + INDEX_OF_LARGE
  layer = max(0, depth + 1 - KEPT) + INDEX
  if layer > depth:
    raise UserError(
      f"the model has {depth} layers, the benchmark reads layer {layer}: give one with --layer,"
      f" from 0 to {depth}"
    )
  return layer
