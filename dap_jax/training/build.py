"""Config -> model, optimizer, mesh, abstract state, jitted steps. Everything that trains uses it.

A leaf of the config is a keyword argument of the function that uses it, so a misspelt or unread
key is an error at start that names it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dap_jax.core import microbatches, train_step
from dap_jax.core import optimizer as optim
from dap_jax.core.cross_entropy import CHUNK_TOKENS
from dap_jax.distributed import sharding
from dap_jax.model.dual_alignment import DualAlignment
from dap_jax.model.from_config import check_dimensions, make_model
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.objectives.selection import make_objectives, needs
from dap_jax.utils.binding import bind
from dap_jax.utils.errors import UserError
from dap_jax.utils.trees import overlay


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
  """How the step is computed, for memory and time to compile; the config's `program` section.

  Attributes:
    microbatches: chunks of the rows, see `microbatches.py`.
    remat, scan_layers: see `model.encoder.Encoder`.
    chunk_tokens: see `core.objective.Context`.

  Raises:
    UserError: chunk_tokens is less than 1.
  """

  microbatches: int = 1
  remat: str = "none"
  scan_layers: bool = False
  chunk_tokens: int = CHUNK_TOKENS

  def __post_init__(self):
    if self.chunk_tokens < 1:
      raise UserError(f"program.chunk_tokens={self.chunk_tokens}: expected 1 or more")


class TrainProgram(NamedTuple):
  """What `build` makes.

  Attributes:
    model: the network.
    objectives: name -> `train_step.Objective`.
    mesh: devices.
    abstract_state: `TrainState` of ShapeDtypeStruct with shardings.
    init: params -> TrainState, sharded; subtrees that `params` lacks are drawn from the seed.
    abstract_frozen: `Frozen` of ShapeDtypeStruct with shardings.
    step: (state, batch, frozen) -> (state, means), jitted; donates the state.
    gradients: (state, batch, frozen) -> (means, gradient), jitted.
    trace: (batch) -> the same step, `jax.stages.Traced`; arrays may be ShapeDtypeStructs, and the
      devices need not be there.
    learning_rate: step -> learning rate.
  """

  model: DualAlignment
  objectives: dict[str, train_step.Objective]
  mesh: Mesh
  abstract_state: train_step.TrainState
  abstract_frozen: train_step.Frozen
  init: Callable[[dict], train_step.TrainState]
  step: Callable
  gradients: Callable
  trace: Callable
  learning_rate: optax.Schedule


ONE_PASS = MappingProxyType(dataclasses.asdict(Program()))
# Keys of a config that are arguments of `build`.
KEYS = (
  "seed",
  "steps",
  "max_tokens",
  "model",
  "decoder",
  "unmasking",
  "objectives",
  "matryoshka_dimensions",
  "optimizer",
  "program",
  "mesh",
  "sharding_rules",
)


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
  program: Mapping[str, Any] = ONE_PASS,
  sharding_rules: Sequence[tuple[str, Sequence[str | None]]] = (),
  languages: int = 0,
  teacher: tuple[DualAlignment, Any] | None = None,
  classes: int = 0,
  devices: Sequence[jax.Device] | None = None,
) -> TrainProgram:
  """See `TrainProgram`; the arguments are the keys of the config in `KEYS`, and what the data and a
  teacher decide.

  Args:
    vocabulary: of the tokenizer.
    languages: of the data, the pivot among them.
    sharding_rules: the user's own, see `sharding.read_rules`.
    teacher: a frozen network and its parameters, arrays or shapes.
    classes: of the classification head that fine-tuning needs; 0 = no head.
    devices: of the mesh; None = all there are.
  """
  mesh = bind(sharding.make_mesh, mesh, where="mesh", devices=devices)()
  program = bind(Program, program, where="program")()
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
    remat=program.remat,
    scan_layers=program.scan_layers,
  )().clone(classes=classes)
  check_dimensions(matryoshka_dimensions, network)
  make_optimizer = bind(optim.make_optimizer, optimizer, where="optimizer", steps=steps)
  transformation, learning_rate = make_optimizer()
  init = functools.partial(init_state, seed=seed, network=network, optimizer=transformation)
  own_rules = sharding.read_rules(sharding_rules)
  abstract_state = sharding.with_shardings(jax.eval_shape(init, {}), mesh, own_rules)
  abstract_frozen = train_step.Frozen(
    teacher=None if teacher is None else sharding.with_shardings(teacher[1], mesh),
    initial=abstract_state.params if "initial" in needed else None,
  )
  settings = {
    "model": network,
    "objectives": chosen,
    "vocabulary": vocabulary,
    "teacher": None if teacher is None else teacher[0],
    "microbatches": program.microbatches,
    "chunk_tokens": program.chunk_tokens,
  }
  step = functools.partial(train_step.train_step, optimizer=transformation, **settings)
  jitted = jit_step(step, abstract_state, abstract_frozen, mesh=mesh)
  gradients = jax.jit(functools.partial(train_step.gradients, **settings))
  everywhere = NamedSharding(mesh, P())

  # An argument, no constant: runs of other seeds find the program in the compilation cache.
  @functools.cache
  def run_seed():
    return jax.device_put(np.asarray(seed).astype(np.uint32), everywhere)

  def trace(batch):
    abstract_seed = jax.ShapeDtypeStruct((), np.uint32, sharding=everywhere)
    return jitted.trace(abstract_state, batch, abstract_frozen, abstract_seed)

  return TrainProgram(
    model=network,
    objectives=chosen,
    mesh=mesh,
    abstract_state=abstract_state,
    abstract_frozen=abstract_frozen,
    init=jax.jit(init, out_shardings=sharding_of(abstract_state), donate_argnums=0),
    step=lambda state, batch, frozen: jitted(state, batch, frozen, run_seed()),
    gradients=lambda state, batch, frozen: gradients(state, batch, frozen, run_seed()),
    trace=trace,
    learning_rate=learning_rate,
  )


def check_rows(mesh: Mesh, program: Mapping[str, Any], *, batch_size: int) -> None:
  """Raises UserError where devices cannot share a batch, or cut their shares into microbatches."""
  sharding.check_batch(mesh, batch_size)
  chunks = bind(Program, program, where="program")().microbatches
  microbatches.check(chunks, batch_size=batch_size, shards=sharding.row_shards(mesh))


def init_state(
  given: dict, *, seed: int, network: DualAlignment, optimizer: optax.GradientTransformation
) -> train_step.TrainState:
  """The state at step 0: the parameters `given`, and what they lack drawn from the seed."""
  ids = jnp.zeros((1, 2, 2), jnp.int32)  # no shape depends on the length
  key = jax.random.fold_in(jax.random.key(seed), 2**31 - 1)  # a step no run reaches
  params = overlay(network.init(key, ids, ids == 0, method="initialise")["params"], given)
  return train_step.TrainState(jnp.zeros([], jnp.int32), params, optimizer.init(params))


def sharding_of(tree: Any) -> Any:
  """The shardings of a tree of arrays or ShapeDtypeStructs."""
  return jax.tree.map(lambda leaf: leaf.sharding, tree)


def jit_step(
  step: Callable, state: train_step.TrainState, frozen: train_step.Frozen, *, mesh: Mesh
) -> Callable:
  """`train_step` with everything bound -> (state, batch, frozen, seed) -> (state, means), jitted.

  Every array stays where `state` and `frozen`, abstract, say that it lies.
  """
  everywhere = NamedSharding(mesh, P())
  rows = sharding.batch_sharding(mesh)
  return jax.jit(
    step,
    in_shardings=(sharding_of(state), rows, sharding_of(frozen), everywhere),
    out_shardings=(sharding_of(state), everywhere),
    donate_argnums=0,
  )
