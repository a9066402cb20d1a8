"""One step of training, as pure functions of arrays.

    key_n = fold_in(key(seed), n);   state_{n+1} = train_step(state_n, batch_n, key_n)

B examples, K views, L tokens, D width.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dap_jax.core.cross_entropy import CHUNK_TOKENS, FactoredLogits
from dap_jax.core.geometry import geometry
from dap_jax.core.inference_step import embed_step
from dap_jax.core.mean import Mean
from dap_jax.core.microbatches import in_chunks
from dap_jax.core.objective import Context, Objective
from dap_jax.model.dual_alignment import DualAlignment, Encodings
from dap_jax.model.vocabulary import Vocabulary


class TrainState(NamedTuple):
  """All that a checkpoint holds. step: int32 scalar, the number of steps taken."""

  step: jax.Array
  params: optax.Params
  opt_state: optax.OptState


class Frozen(NamedTuple):
  """Parameters that a step reads and never changes; they are in no checkpoint.

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
    batch: see `objective.Context.batch`. With hard negatives, `has_negative` bool [B, n] says so,
      and `ids`, `mask` and `text_hash` hold them as n further views.
    model: encoder, projection, decoder and heads.
    objectives: name -> weight and function.
    vocabulary: special ids and the English subset.
    key: of this step, for dropout and sampling; None for a deterministic pass (no dropout).
    step: its number, for weights that change.
    frozen: see `Frozen`.
    teacher: the teacher's network.
    microbatches: chunks of rows that encoder and heads run over, see `microbatches.py`.
    chunk_tokens: see `objective.Context`.

  Returns:
    The loss, a scalar, and the means of each objective and what else they report.
  """
  deterministic = key is None
  encode_key, head_key, objective_key = jax.random.split(
    jax.random.key(0) if deterministic else key, 3
  )

  def bound(method, params, *, dropout=None):  # flax mixes a module's name into the key
    def apply(key, *arrays, **arguments):
      rngs = None if key is None else {"dropout": key}
      arguments |= {"deterministic": key is None, "rngs": rngs, "method": method}
      return model.apply({"params": params}, *arrays, **arguments)

    return functools.partial(in_chunks(apply, microbatches), None if deterministic else dropout)

  def head(method):
    states = bound(method, params, dropout=head_key)

    def logits(*arrays, **arguments):
      factors = model.apply({"params": params}, method, method="projection_of")
      return FactoredLogits(states(*arrays, **arguments), *factors)

    return logits

  encodings = bound("encode", params, dropout=encode_key)(batch["ids"], batch["mask"])
  batch, encodings, negatives = without_negatives(batch, encodings)
  context = Context(
    batch=batch,
    h=encodings.h,
    z=encodings.z,
    vocabulary=vocabulary,
    key=objective_key,
    negatives=negatives,
    **{method: head(method) for method in ("decode", "predict", "unmask")},
    classify=bound("classify", params, dropout=head_key),
    teacher=functools.partial(
      teacher_vectors, frozen.teacher, batch, model=teacher, microbatches=microbatches
    ),
    initial=lambda: jax.lax.stop_gradient(
      bound("encode", frozen.initial)(batch["ids"], batch["mask"]).z
    ),
    chunk_tokens=chunk_tokens,
  )
  loss, means = jnp.float32(0), geometry(encodings.z)
  for number, (name, objective) in enumerate(objectives.items()):
    own_key, again_key = jax.random.split(jax.random.fold_in(objective_key, number))
    own = context._replace(key=own_key, encode=bound("encode", params, dropout=again_key))
    mean, extras = objective.function(own)
    loss += objective.weight_at(step) * mean.compute()
    means |= {name: mean, **extras}
  return loss, means


def without_negatives(
  batch: dict[str, jax.Array], encodings: Encodings
) -> tuple[dict[str, jax.Array], Encodings, jax.Array]:
  """Takes the hard negatives, the last views, out of a batch and its encodings.

  Returns:
    Both with K views, the batch with `negative_hash` int32 [B, n]; and the negatives' sentence
    vectors, float32 [B, n, D].
  """
  views = batch["ids"].shape[1]
  if "has_negative" in batch:
    views -= batch["has_negative"].shape[1]
    cut = {name: batch[name][:, :views] for name in ("ids", "mask", "text_hash")}
    batch = batch | cut | {"negative_hash": batch["text_hash"][:, views:]}
  kept = Encodings(*(array[:, :views] for array in encodings))
  return batch, kept, encodings.z[:, views:]


def teacher_vectors(
  params: optax.Params | None,
  batch: dict[str, jax.Array],
  view: jax.Array,
  *,
  model: DualAlignment | None,
  microbatches: int,
) -> jax.Array:
  """The frozen teacher's vector of one view of each example: computed here, or in the batch.

  Args:
    params: the teacher's parameters.
    batch: `teacher_ids` and `teacher_mask` [B, K, L_T], in the teacher's own vocabulary; or
      `teacher_vectors` float32 [B, K, D_T]. A text that the teacher does not read has no ids.
    view: int32 [B].
    model: the teacher's network.
    microbatches: chunks of rows that it runs over.

  Returns:
    float32 [B, D_T], without gradient; zeros for a text that the teacher has no vector of.
  """

  def chosen(name):
    array = batch[name]
    index = view.reshape(-1, *[1] * (array.ndim - 1))
    return jnp.take_along_axis(array, index, axis=1)[:, 0]

  if "teacher_vectors" in batch:
    return chosen("teacher_vectors")
  ids, mask = chosen("teacher_ids"), chosen("teacher_mask")
  embed = in_chunks(lambda _, *own: embed_step(params, *own, model=model), microbatches)
  vectors = embed(None, ids, mask)
  return jax.lax.stop_gradient(jnp.where(mask.any(1, keepdims=True), vectors, 0))


def gradients(
  state: TrainState,
  batch: dict[str, jax.Array],
  frozen: Frozen,
  seed: jax.Array | int,
  **settings,
) -> tuple[dict[str, Mean], optax.Params]:
  """The means of a step and the gradient of its loss.

  Args:
    state, batch, frozen: see there.
    seed: the run's, uint32; with the step number it makes this step's key.
    **settings: the others of `loss_fn`, from `model` to `chunk_tokens`.

  Returns:
    The loss, its parts, `grad_norm` and `tokens` (real tokens of the batch); and the gradient.
  """
  key = jax.random.fold_in(jax.random.key(seed), state.step)
  own = {"key": key, "step": state.step, "frozen": frozen}
  (loss, means), grads = jax.value_and_grad(loss_fn, has_aux=True)(
    state.params, batch, **own, **settings
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
  **settings,
) -> tuple[TrainState, dict[str, Mean]]:
  """One update; the arguments are those of `gradients`.

  Where the loss or the gradient is not finite, the step counts and nothing else changes.

  Returns:
    The next state, and the means, `not_finite` among them: 1 where nothing changed, else 0.
  """
  means, grads = gradients(state, batch, frozen, seed, **settings)
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  finite = jnp.isfinite(means["loss"].total) & jnp.isfinite(means["grad_norm"].total)
  params, opt_state = jax.tree.map(
    lambda new, old: jnp.where(finite, new, old),
    (params, opt_state),
    (state.params, state.opt_state),
  )
  means["not_finite"] = Mean.of(1 - finite.astype(jnp.float32))
  return TrainState(state.step + 1, params, opt_state), means
