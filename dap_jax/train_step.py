"""One step of training, as pure functions of arrays.

    key_n = fold_in(key(seed), n);   state_{n+1} = train_step(state_n, batch_n, key_n)

B meanings, K renderings, L tokens, D width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dap_jax.metrics import Mean
from dap_jax.model.dual_alignment import DualAlignment, pool
from dap_jax.objectives import Context, Vocabulary


class TrainState(NamedTuple):
  """All that a checkpoint holds. step: int32 scalar, the number of steps taken."""

  step: jax.Array
  params: optax.Params
  opt_state: optax.OptState


class Objective(NamedTuple):
  """weight: its factor in the loss; function: `objectives.NAME.objective` with settings bound."""

  weight: float
  function: Callable[[Context], tuple[Mean, dict[str, Mean]]]


def loss_fn(
  params: optax.Params,
  batch: dict[str, jax.Array],
  *,
  model: DualAlignment,
  objectives: Mapping[str, Objective],
  vocabulary: Vocabulary,
  key: jax.Array | None,
) -> tuple[jax.Array, dict[str, Mean]]:
  """The weighted sum of the objectives over the global batch.

  Args:
    params: the model's parameters.
    batch: see `objectives.Context.batch`.
    model: encoder, projection and decoder.
    objectives: name -> weight and function.
    vocabulary: special ids and the English subset.
    key: of this step, for dropout and sampling; None for a deterministic pass (no dropout).

  Returns:
    The loss, a scalar, and the means of each objective and what else they report.
  """
  deterministic = key is None
  encode_key, head_key, objective_key = jax.random.split(
    jax.random.key(0) if deterministic else key, 3
  )
  variables = {"params": params}
  encodings = model.apply(
    variables,
    batch["ids"],
    batch["mask"],
    deterministic=deterministic,
    rngs={"dropout": encode_key},
    method="encode",
  )

  def head(method):  # their dropout differs: flax mixes a module's name into the key
    return functools.partial(
      model.apply,
      variables,
      deterministic=deterministic,
      rngs={"dropout": head_key},
      method=method,
    )

  loss, means = jnp.float32(0), {}
  for number, (name, objective) in enumerate(objectives.items()):
    context = Context(
      batch=batch,
      h=encodings.h,
      z=encodings.z,
      decode=head("decode"),
      vocabulary=vocabulary,
      key=jax.random.fold_in(objective_key, number),
      classify=head("classify"),
    )
    mean, extras = objective.function(context)
    loss += objective.weight * mean.compute()
    means |= {name: mean, **extras}
  return loss, means


def train_step(
  state: TrainState,
  batch: dict[str, jax.Array],
  *,
  model: DualAlignment,
  objectives: Mapping[str, Objective],
  vocabulary: Vocabulary,
  optimizer: optax.GradientTransformation,
  seed: int,
) -> tuple[TrainState, dict[str, Mean]]:
  """One update. `seed` is the run's; the step number makes this step's key.

  Returns:
    The next state, and the means: the loss, its parts, `grad_norm` (before clipping) and `tokens`
    (real tokens of the batch).
  """
  key = jax.random.fold_in(jax.random.key(seed), state.step)
  (loss, means), grads = jax.value_and_grad(loss_fn, has_aux=True)(
    state.params,
    batch,
    model=model,
    objectives=objectives,
    vocabulary=vocabulary,
    key=key,
  )
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  means |= {
    "loss": Mean.of(loss),
    "grad_norm": Mean.of(optax.global_norm(grads)),
    "tokens": Mean.of(batch["mask"].sum()),
  }
  return TrainState(state.step + 1, params, opt_state), means


def embed_step(
  params: optax.Params, ids: jax.Array, mask: jax.Array, *, model: DualAlignment
) -> jax.Array:
  """Sentence vectors as evaluation and export see them (pooled, never projected).

  ids int32 [N, L], mask bool [N, L] -> float32 [N, D], of unit length if the model normalizes.
  """
  pooled = model.apply(
    {"params": params}, ids[:, None], mask[:, None], deterministic=True, method="encode"
  ).pooled[:, 0]
  if not model.normalize:
    return pooled
  return pooled / jnp.maximum(jnp.linalg.norm(pooled, axis=-1, keepdims=True), 1e-12)


def classify_step(
  params: optax.Params, ids: jax.Array, mask: jax.Array, *, model: DualAlignment
) -> jax.Array:
  """ids int32 [N, L], mask bool [N, L] -> logits of the classes, float32 [N, classes]."""
  variables = {"params": params}
  encodings = model.apply(
    variables, ids[:, None], mask[:, None], deterministic=True, method="encode"
  )
  return model.apply(variables, encodings.pooled[:, 0], deterministic=True, method="classify")


def layer_states_step(
  params: optax.Params, ids: jax.Array, mask: jax.Array, *, model: DualAlignment
) -> jax.Array:
  """ids int32 [N, L], mask bool [N, L] -> float32 [N, layers + 1, L, D], the embeddings first."""
  hidden = model.apply({"params": params}, ids, mask, method="hidden")
  return jnp.stack(hidden, axis=1).astype(jnp.float32)


def layer_means_step(
  params: optax.Params, ids: jax.Array, mask: jax.Array, *, model: DualAlignment
) -> jax.Array:
  """The mean of the real tokens' states in each layer: as above -> float32 [N, layers + 1, D]."""
  hidden = model.apply({"params": params}, ids, mask, method="hidden")
  means = [pool([states], mask, pooling="mean") for states in hidden]
  return jnp.stack(means, axis=1).astype(jnp.float32)
