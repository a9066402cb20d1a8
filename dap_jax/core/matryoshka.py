"""Matryoshka representation learning: the first dimensions of a vector are trained on their own.

    L = sum over d in dimensions of L(z_1..z_d)  +  L(z)

arXiv 2205.13147, equation 1 with all weights 1; L is an objective that reads sentence vectors only.
"""

from __future__ import annotations

from collections.abc import Sequence

from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context, Function


def nested(function: Function, *, dimensions: Sequence[int]) -> Function:
  """A sentence-level objective -> the same at its full width and at each of `dimensions`.

  The extra means are those of the full width.

  Examples:
    >>> total = lambda context: (Mean(context.z.sum(), jnp.float32(1)), {})
    >>> context = Context({}, None, jnp.array([[[1.0, 2.0, 3.0, 4.0]]]), None, None)
    >>> loss, _ = nested(total, dimensions=(2,))(context)
    >>> print(loss.compute())  # 1 + 2 + 3 + 4, and 1 + 2
    13.0
  """

  def objective(context: Context) -> tuple[Mean, dict[str, Mean]]:
    mean, extras = function(context)
    for size in dimensions:
      nested_mean, _ = function(first_dimensions(context, size))
      # Each L is a mean of its own; summing means of equal counts keeps one count.
      mean = Mean(mean.total + nested_mean.total, mean.count)
    return mean, extras

  return objective


def first_dimensions(context: Context, size: int) -> Context:
  """A context whose sentence vectors, the hard negatives' too, have only their first dimensions."""
  negatives = None if context.negatives is None else context.negatives[..., :size]
  return context._replace(z=context.z[..., :size], negatives=negatives)
