"""Distillation across languages: a sentence and its translations get the teacher's vector of it.

    L = mean over i, k, d of  (z_ikd - T(y_i)_d)^2

y_i the pivot of example i, T the frozen teacher, which need not know any other language; z of the
pivot itself (k = 0) and of its translations. Reimers and Gurevych (arXiv 2004.09813), equation 1,
which sums over k and d where this takes means, as their released program does.
Shapes: B examples of the GLOBAL batch, K views, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context
from dap_jax.core.unit_vectors import unit
from dap_jax.utils.errors import UserError

SENTENCE_LEVEL = False  # z has the teacher's width
PIVOT = 0


def needs(settings: Mapping[str, Any]) -> set[str]:
  """A teacher, whatever the settings."""
  del settings
  return {"teacher"}


def objective(context: Context) -> tuple[Mean, dict[str, Mean]]:
  """Distillation over the global batch.

  Args:
    context: see `Context`; reads z, and asks the teacher about the pivots.

  Returns:
    The loss over all views of the examples whose pivot has a teacher's vector, and over the
    same `teacher_cosine`, that of z with the teacher's vector.

  Raises:
    UserError: the sentence vectors are not as wide as the teacher's.

  Examples:
    >>> z = jnp.array([[[1.0, 0.0], [0.0, 0.0]]])  # the pivot has the teacher's vector already
    >>> teacher = lambda view: jnp.array([[1.0, 0.0]])
    >>> loss, extras = objective(Context({}, None, z, None, None, teacher=teacher))
    >>> print(f"{loss.compute()} {extras['teacher_cosine'].compute()}")  # mean of 0, 0, 1, 0
    0.25 0.5
  """
  z = context.z
  vectors = context.teacher(jnp.full(len(z), PIVOT))
  width = vectors.shape[-1]
  if z.shape[-1] != width:
    raise UserError(
      f"distillation: the sentence vectors have width {z.shape[-1]}, the teacher's {width}: set"
      f" model.dense.width={width} and model.projection=False"
    )
  losses = ((z - vectors[:, None]) ** 2).mean(-1)  # [B, K]
  counted = jnp.broadcast_to(vectors.any(-1)[:, None], losses.shape)
  cosine = (unit(z) * unit(vectors)[:, None]).sum(-1)
  return Mean.of(losses, counted), {"teacher_cosine": Mean.of(cosine, counted)}
