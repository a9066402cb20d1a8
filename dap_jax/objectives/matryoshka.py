"""Matryoshka representation learning: the first dimensions of a vector are trained on their own.

    L = sum over d in dimensions of L(z_1..z_d)  +  L(z)

arXiv 2205.13147, equation 1 with all weights 1; L is an objective that reads sentence vectors only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context


def nested(function: Callable, *, dimensions: Sequence[int]) -> Callable:
  """A sentence-level objective -> the same at its full width and at each of `dimensions`.

  The extra means are those of the full width.
  """

  def objective(context: Context) -> tuple[Mean, dict[str, Mean]]:
    mean, extras = function(context)
    for size in dimensions:
      part = context._replace(z=context.z[..., :size], negatives=context.negatives[..., :size])
      nested_mean, _ = function(part)
      # Each L is a mean of its own; summing means of equal counts keeps one count.
      mean = Mean(mean.total + nested_mean.total, mean.count)
    return mean, extras

  return objective
