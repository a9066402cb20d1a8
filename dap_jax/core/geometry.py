"""How sentence vectors lie on the unit sphere: logged at every step, so that a collapse is seen.

With unit vectors u_ik of B examples in K views, view 0 the pivot:

    alignment            mean over i, k >= 1 of || u_i0 - u_ik ||^2        0 = translations meet
    uniformity           mean over k of log mean_{i /= j} exp(-2 || u_ik - u_jk ||^2)
    off_diagonal_cosine  mean over i /= j, k >= 1 of cos(u_i0, u_jk)       1 = collapse

Wang and Isola (arXiv 2005.10242), sections 4.1 and 4.2. Lower uniformity is
better spread. Texts that a batch holds twice count too.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dap_jax.core.mean import Mean
from dap_jax.core.unit_vectors import unit


def geometry(z: jax.Array) -> dict[str, Mean]:
  """z [B, K, D] -> the three means, without gradient; none of them for single texts (K = 1).

  Examples:
    >>> z = jnp.array([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [0.0, 3.0]]])  # cosines 1 and 0
    >>> {name: round(float(mean.compute()), 4) for name, mean in geometry(z).items()}
    {'alignment': 0.0, 'uniformity': -4.0, 'off_diagonal_cosine': 0.0}
  """
  examples, views = z.shape[:2]
  if views < 2 or examples < 2:
    return {}
  u = unit(jax.lax.stop_gradient(z))
  pivot, others = u[:, :1], u[:, 1:]
  matching = (pivot * others).sum(-1)  # [B, K - 1], cosines of translations
  # A sum over all pairs is the product of two sums: no B x B matrix.
  crossed = jnp.einsum("d,kd->", pivot.sum((0, 1)), others.sum(0)) - matching.sum()
  pairs = float(examples * (examples - 1))  # of 65,536 examples more than an int32 holds
  cosine = jnp.einsum("ikd,jkd->kij", u, u)
  apart = ~jnp.eye(examples, dtype=bool)[None]
  near = jnp.where(apart, jnp.exp(-4 * (1 - cosine)), 0).sum((1, 2)) / pairs
  return {
    "alignment": Mean.of(2 - 2 * matching),
    "uniformity": Mean.of(jnp.log(near)),
    "off_diagonal_cosine": Mean(crossed, jnp.float32(pairs * (views - 1))),
  }
