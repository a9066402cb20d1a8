"""Config -> model, optimizer, mesh, abstract state, jitted steps. Everything that trains uses it.

A leaf of the config is a keyword argument of the function that uses it, so a misspelt or unread
key is an error at start that names it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dap_jax import optim, sharding, train_step
from dap_jax.make_model import check_dimensions, make_model
from dap_jax.model.dual_alignment import DualAlignment
from dap_jax.objectives import Vocabulary
from dap_jax.select_objectives import make_objectives, needs
from dap_jax.settings import bind
from dap_jax.trees import overlay


class Parts(NamedTuple):
  """What `build` makes.

  Attributes:
    model: the network.
    objectives: name -> `train_step.Objective`.
    mesh: devices.
    abstract_state: `TrainState` of ShapeDtypeStruct with shardings.
    init: params -> TrainState, sharded; subtrees that `params` lacks are drawn from the seed.
    abstract_frozen: `Frozen` of ShapeDtypeStruct with shardings.
    step: (state, batch, frozen) -> (state, means), jitted; donates the state.
    learning_rate: step -> learning rate.
  """

  model: DualAlignment
  objectives: dict[str, train_step.Objective]
  mesh: Mesh
  abstract_state: train_step.TrainState
  abstract_frozen: train_step.Frozen
  init: Callable[[dict], train_step.TrainState]
  step: Callable
  learning_rate: optax.Schedule


def build(
  *,
  vocabulary: Vocabulary,
  seed: int,
  steps: int,
  max_tokens: int,
  model: Mapping[str, Any],
  decoder: Mapping[str, Any],
  objectives: Mapping[str, Mapping[str, Any]],
  optimizer: Mapping[str, Any],
  mesh: Mapping[str, int],
  unmasking: Mapping[str, Any] | None = None,
  matryoshka_dimensions: Sequence[int] = (),
  languages: int = 0,
  teacher: tuple[DualAlignment, Any] | None = None,
  classes: int = 0,
) -> Parts:
  """See `Parts`; the arguments are the config's own, and what the data and a teacher say.

  Args:
    languages: of the data, the pivot among them.
    teacher: a frozen network and its parameters, arrays or shapes.
    classes: of the classification head that fine-tuning needs; 0 = no head.
  """
  mesh = bind(sharding.make_mesh, mesh, where="mesh")()
  chosen = make_objectives(objectives, matryoshka_dimensions=matryoshka_dimensions)
  needed = needs(objectives)
  if "decoder" not in needed or not decoder.get("english_head"):
    vocabulary = vocabulary._replace(english_ids=None)
  network = bind(
    make_model,
    model,
    where="model",
    vocabulary=vocabulary,
    max_tokens=max_tokens,
    # What no objective trains would only cost memory.
    decoder=decoder if "decoder" in needed else None,
    masked_lm="masked_lm" in needed,
    unmasking=unmasking if "unmasking" in needed else None,
    languages=languages if "languages" in needed else 0,
  )().clone(classes=classes)
  check_dimensions(matryoshka_dimensions, network)
  transformation, learning_rate = bind(
    optim.make_optimizer, optimizer, where="optimizer", steps=steps
  )()

  def init(given):
    ids = jnp.zeros((1, 2, 2), jnp.int32)  # no shape depends on the length
    key = jax.random.fold_in(jax.random.key(seed), 2**31 - 1)  # a step no run reaches
    params = network.init(key, ids, ids == 0, method="initialise")["params"]
    params = overlay(params, given)
    return train_step.TrainState(jnp.zeros([], jnp.int32), params, transformation.init(params))

  abstract_state = sharding.with_shardings(jax.eval_shape(init, {}), mesh)
  frozen = train_step.Frozen(
    teacher=None if teacher is None else teacher[1],
    initial=abstract_state.params if "initial" in needed else None,
  )
  abstract_frozen = sharding.with_shardings(frozen, mesh)
  shardings, frozen_shardings = (
    jax.tree.map(lambda leaf: leaf.sharding, tree) for tree in (abstract_state, abstract_frozen)
  )
  rows, everywhere = sharding.batch_sharding(mesh), NamedSharding(mesh, P())
  step = functools.partial(
    train_step.train_step,
    model=network,
    objectives=chosen,
    vocabulary=vocabulary,
    optimizer=transformation,
    teacher=None if teacher is None else teacher[0],
  )
  jitted = jax.jit(
    step,
    in_shardings=(shardings, rows, frozen_shardings, everywhere),
    out_shardings=(shardings, everywhere),
    donate_argnums=0,
  )
  # An argument, no constant: runs of other seeds find the program in the compilation cache.
  run_seed = jax.device_put(np.asarray(seed).astype(np.uint32), everywhere)
  return Parts(
    model=network,
    objectives=chosen,
    mesh=mesh,
    abstract_state=abstract_state,
    abstract_frozen=abstract_frozen,
    init=jax.jit(init, out_shardings=shardings, donate_argnums=0),
    step=lambda state, batch, frozen: jitted(state, batch, frozen, run_seed),
    learning_rate=learning_rate,
  )
