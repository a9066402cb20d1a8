"""Schedule, weight decay by path, and the optax chain of AdamW as the released program runs it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dap_jax.utils.errors import UserError

SCHEDULES = ("linear", "cosine", "constant")


class AdamState(NamedTuple):
  """count: int32 scalar, steps taken; m, v: the two moments, float32, shaped as the parameters."""

  count: jax.Array  # type: ignore[assignment]  # hides tuple.count, which nothing here calls
  m: optax.Params
  v: optax.Params


def schedule(name: str, *, learning_rate: float, warmup_steps: int, steps: int) -> optax.Schedule:
  """step -> learning rate: a linear rise over `warmup_steps`, then to 0 at `steps`.

  "linear" (the released runs, with no warm-up), "cosine" (arXiv 1608.03983), or "constant".

  Raises:
    UserError: `name` is none of these.

  Examples:
    >>> rate = schedule("linear", learning_rate=1.0, warmup_steps=2, steps=6)
    >>> [float(rate(step)) for step in range(7)]
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
  """
  if name not in SCHEDULES:
    raise UserError(f"optimizer.schedule_name={name!r} is none of {', '.join(SCHEDULES)}")
  rest = max(steps - warmup_steps, 1)
  after = {
    "linear": lambda: optax.linear_schedule(learning_rate, 0.0, rest),
    "cosine": lambda: optax.cosine_decay_schedule(learning_rate, rest),
    "constant": lambda: optax.constant_schedule(learning_rate),
  }[name]()
  if not warmup_steps:
    return after
  rise = optax.linear_schedule(0.0, learning_rate, warmup_steps)
  return optax.join_schedules([rise, after], [warmup_steps])


def decays(params: optax.Params) -> optax.Params:
  """Which leaves weight decay touches: matrices, not biases and LayerNorms (rank below 2)."""
  return jax.tree.map(lambda parameter: parameter.ndim >= 2, params)


def adamw(
  learning_rate: optax.Schedule, *, b1: float, b2: float, eps: float, weight_decay: float
) -> optax.GradientTransformation:
  """AdamW as transformers 4 wrote it and the released program used it.

      u = sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps);   p <- (p - lr u) (1 - lr wd)

  Two details differ from optax.adamw: eps is not bias-corrected, and decay follows the update.

  Examples:
    >>> optimizer = adamw(lambda step: 0.1, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0)
    >>> params, gradient = jnp.array([5.0]), jnp.array([-3.0])
    >>> update, state = optimizer.update(gradient, optimizer.init(params), params)
    >>> print(f"{update[0]:.4f}")  # the first step has the size of the rate, whatever the gradient
    0.1000
  """

  def init(params: optax.Params) -> AdamState:
    zeros = jax.tree.map(jnp.zeros_like, params)
    return AdamState(jnp.zeros([], jnp.int32), zeros, jax.tree.map(jnp.zeros_like, params))

  def update(
    grads: optax.Updates, state: AdamState, params: optax.Params
  ) -> tuple[optax.Updates, AdamState]:
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.m, grads)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.v, grads)
    rate, t = learning_rate(state.count), state.count + 1
    scale = rate * jnp.sqrt(1 - b2**t) / (1 - b1**t)

    def change(m: jax.Array, v: jax.Array, p: jax.Array, decayed: bool) -> jax.Array:
      adam: jax.Array = -scale * m / (jnp.sqrt(v) + eps)
      return adam - rate * weight_decay * (p + adam) if decayed and weight_decay else adam

    updates = jax.tree.map(change, m, v, params, decays(params))
    return updates, AdamState(t, m, v)

  return optax.GradientTransformation(init, update)


def make_optimizer(
  *,
  learning_rate: float,
  schedule_name: str,
  warmup_steps: int,
  steps: int,
  b1: float,
  b2: float,
  eps: float,
  weight_decay: float,
  clip_norm: float,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
  """The chain (clip to global norm, AdamW) and its schedule; arguments are the config's own.

  `clip_norm` 0 means no clipping.
  """
  rate = schedule(
    schedule_name, learning_rate=learning_rate, warmup_steps=warmup_steps, steps=steps
  )
  step = adamw(rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)
  clip = optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity()
  return optax.chain(clip, step), rate
