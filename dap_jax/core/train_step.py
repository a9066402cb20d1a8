"""One step of training, as pure functions of arrays.

    key_n = fold_in(key(seed), n);   state_{n+1} = train_step(state_n, batch_n, key_n)

From the batch to the next state: `loss_fn` encodes all views once and hands the result to every
objective (`objective.Context` is what one may read), `gradients` differentiates it, `train_step`
updates the parameters. B examples, K views, L tokens, D width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dap_jax.core.bound_model import BoundModel
from dap_jax.core.cross_entropy import CHUNK_TOKENS
from dap_jax.core.frozen_vectors import initial_vectors, teacher_vectors
from dap_jax.core.geometry import geometry
from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context, Objective
from dap_jax.model.dual_alignment import DualAlignment, Encodings
from dap_jax.model.vocabulary import Vocabulary


class TrainState(NamedTuple):
  """All that a checkpoint holds. step: int32 scalar, the number of steps taken."""

  step: jax.Array
  params: optax.Params
  opt_state: optax.OptState


class Frozen(NamedTuple):
  """Parameters that a step reads and never changes; no checkpoint holds them.

  Attributes:
    teacher: of the teacher's network, or None.
    initial: those that the run began with, or None.
  """

  teacher: optax.Params | None = None
  initial: optax.Params | None = None


NOTHING_FROZEN = Frozen()


def loss_fn(
  params: optax.Params,
  batch: dict[str, jax.Array],
  *,
  model: DualAlignment,
  objectives: Mapping[str, Objective],
  vocabulary: Vocabulary,
  key: jax.Array | None,
  step: jax.Array | int = 0,
  frozen: Frozen = NOTHING_FROZEN,
  teacher: DualAlignment | None = None,
  microbatches: int = 1,
  chunk_tokens: int = CHUNK_TOKENS,
) -> tuple[jax.Array, dict[str, Mean]]:
  """The weighted sum of the objectives over the global batch.

  Args:
    params: the model's parameters.
    batch: see `Context.batch`. With hard negatives it has `has_negative` bool [B, n] too, and
      `ids`, `mask` and `text_hash` hold them as n further views.
    model: encoder, projection, decoder and heads.
    objectives: name -> weight and function.
    vocabulary: special ids and the English subset.
    key: of this step, for dropout and sampling; None for a deterministic pass (no dropout).
    step: its number, for weights that change.
    frozen: see `Frozen`.
    teacher: the teacher's network.
    microbatches: chunks of rows that encoder and heads run over, see `microbatches.py`.
    chunk_tokens: see `Context`.

  Returns:
    The loss, a scalar; and the means of each objective, of what else they report, and `geometry`.
  """
  network, objective_key = bind_model(model, params, key, microbatches=microbatches)
  encodings = network.encode(batch["ids"], batch["mask"], types=batch.get("types"))
  batch, encodings, negatives = split_negatives(batch, encodings)
  context = Context(
    batch=batch,
    h=encodings.h,
    z=encodings.z,
    vocabulary=vocabulary,
    key=objective_key,
    negatives=negatives,
    model=network,
    teacher=functools.partial(
      teacher_vectors, frozen.teacher, batch, model=teacher, microbatches=microbatches
    ),
    initial=functools.partial(
      initial_vectors, frozen.initial, batch, model=model, microbatches=microbatches
    ),
    chunk_tokens=chunk_tokens,
  )
  loss, means = jnp.float32(0), geometry(encodings.z)
  for number, (name, objective) in enumerate(objectives.items()):
    mean, extras = objective.function(with_keys(context, number))
    loss += objective.weight_at(step) * mean.compute()
    means |= {name: mean, **extras}
  return loss, means


def bind_model(
  model: DualAlignment, params: optax.Params, key: jax.Array | None, *, microbatches: int
) -> tuple[BoundModel, jax.Array]:
  """The model with its parameters and its share of a step's key; and the key of the objectives.

  Without a key there is no dropout, and objectives that sample do so from a fixed key.
  """
  encode_key, head_key, objective_key = jax.random.split(
    jax.random.key(0) if key is None else key, 3
  )
  if key is None:
    return BoundModel(model, params, microbatches=microbatches), objective_key
  return BoundModel(model, params, encode_key, head_key, microbatches), objective_key


def with_keys(context: Context, number: int) -> Context:
  """The context of the objective with this number: keys of its own to sample and to encode with."""
  key, encode_key = jax.random.split(jax.random.fold_in(context.key, number))
  return context._replace(key=key, model=context.model.with_encode_key(encode_key))


def split_negatives(
  batch: dict[str, jax.Array], encodings: Encodings
) -> tuple[dict[str, jax.Array], Encodings, jax.Array]:
  """Takes the hard negatives, the last views, out of a batch and its encodings.

  Returns:
    Both with K views, the batch with `negative_hash` int32 [B, n]; and the negatives' sentence
    vectors, float32 [B, n, D], n = 0 where the batch has none.
  """
  views = batch["ids"].shape[1]
  if "has_negative" in batch:
    views -= batch["has_negative"].shape[1]
    cut = {name: batch[name][:, :views] for name in ("ids", "mask", "text_hash")}
    batch = batch | cut | {"negative_hash": batch["text_hash"][:, views:]}
  positives = Encodings(*(array[:, :views] for array in encodings))
  return batch, positives, encodings.z[:, views:]


def gradients(
  state: TrainState,
  batch: dict[str, jax.Array],
  frozen: Frozen,
  seed: jax.Array | int,
  **settings: Any,
) -> tuple[dict[str, Mean], optax.Params]:
  """The means of a step and the gradient of its loss.

  Args:
    state: the parameters and the step number.
    batch, frozen: see `loss_fn`.
    seed: the run's, uint32; with the step number it makes this step's key.
    **settings: the other arguments of `loss_fn`: model, objectives, vocabulary, teacher,
      microbatches and chunk_tokens.

  Returns:
    The loss, its parts, `grad_norm` and `tokens` (real tokens of the batch); and the gradient.
  """
  key = jax.random.fold_in(jax.random.key(seed), state.step)
  (loss, means), grads = jax.value_and_grad(loss_fn, has_aux=True)(
    state.params, batch, key=key, step=state.step, frozen=frozen, **settings
  )
  means |= {
    "loss": Mean.of(loss),
    "grad_norm": Mean.of(optax.tree.norm(grads)),
    "tokens": Mean.of(batch["mask"].sum()),
  }
  return means, grads


def train_step(
  state: TrainState,
  batch: dict[str, jax.Array],
  frozen: Frozen,
  seed: jax.Array | int,
  *,
  optimizer: optax.GradientTransformation,
  own_part: Callable[[optax.Params], optax.Params] = lambda tree: tree,
  **settings: Any,
) -> tuple[TrainState, dict[str, Mean]]:
  """One update; the arguments are those of `gradients`, and `own_part`.

  A device updates the part of the parameters whose moments it has: `own_part` constrains a tree
  shaped as the parameters to that part. The sum of the gradients over devices then becomes a
  reduce-scatter, and only the new parameters are gathered.

  Where the loss or the gradient is not finite, the step counts and nothing else changes.

  Returns:
    The next state, and the means, `not_finite` among them: 1 where nothing changed, else 0.
  """
  means, grads = gradients(state, batch, frozen, seed, **settings)
  grads, own = own_part(grads), own_part(state.params)
  updates, opt_state = optimizer.update(grads, state.opt_state, own)
  params = optax.apply_updates(own, updates)
  finite = jnp.isfinite(means["loss"].total) & jnp.isfinite(means["grad_norm"].total)
  params, opt_state = jax.tree.map(
    lambda new, old: jnp.where(finite, new, old),
    (params, opt_state),
    (own, state.opt_state),
  )
  means["not_finite"] = Mean.of(1 - finite.astype(jnp.float32))
  return TrainState(state.step + 1, params, opt_state), means
