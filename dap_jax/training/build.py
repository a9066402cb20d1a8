"""Config -> network, optimizer, mesh, abstract state, jitted steps. Everything that trains uses it.

A leaf of the config is a keyword argument of the function that uses it, so a misspelt or unread
key is an error at start that names it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dap_jax.core import microbatches, train_step
from dap_jax.core.cross_entropy import CHUNK_TOKENS
from dap_jax.core.mean import Mean
from dap_jax.core.objective import Objective
from dap_jax.core.optimizer import make_optimizer
from dap_jax.core.train_step import Frozen, TrainState
from dap_jax.distributed import parameters, sharding
from dap_jax.model.dual_alignment import DualAlignment
from dap_jax.model.from_config import check_dimensions, init_params, make_model, with_task_head
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.training.selection import make_objectives, needs
from dap_jax.utils.binding import bind
from dap_jax.utils.trees import overlay

Batch = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgramOptions:
  """How the step is computed, for memory and time to compile; the config's `program` section.

  Attributes:
    microbatches: chunks of the rows, see `microbatches.py`.
    remat, scan_layers: see `model.encoder.Encoder`.
    chunk_tokens: see `core.objective.Context`.
  """

  microbatches: int = 1
  remat: str = "none"
  scan_layers: bool = False
  chunk_tokens: int = CHUNK_TOKENS


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainProgram:
  """A network with its optimizer, its jitted step, and the places of all arrays.

  Attributes:
    model: the network.
    objectives: name -> `core.objective.Objective`.
    mesh: devices.
    seed: of the run.
    abstract_state: `TrainState` of ShapeDtypeStruct with shardings.
    abstract_frozen: `Frozen` of ShapeDtypeStruct with shardings.
    init: params -> TrainState, sharded; subtrees that `params` lacks are drawn from the seed. It
      donates them.
    learning_rate: step -> learning rate.
    jitted_step: (state, batch, frozen, seed) -> (state, means); donates the state.
    jitted_gradients: (state, batch, frozen, seed) -> (means, gradient).
  """

  model: DualAlignment
  objectives: dict[str, Objective]
  mesh: Mesh
  seed: int
  abstract_state: TrainState
  abstract_frozen: Frozen
  init: Callable[[dict[str, Any]], TrainState]
  learning_rate: optax.Schedule
  jitted_step: jax.stages.Wrapped
  jitted_gradients: jax.stages.Wrapped

  def step(
    self, state: TrainState, batch: Batch, frozen: Frozen
  ) -> tuple[TrainState, dict[str, Mean]]:
    """One update; donates the state."""
    return self.jitted_step(state, batch, frozen, self._placed_seed)

  def gradients(
    self, state: TrainState, batch: Batch, frozen: Frozen
  ) -> tuple[dict[str, Mean], optax.Params]:
    """The means and the gradient of the step that `step` would take."""
    return self.jitted_gradients(state, batch, frozen, self._placed_seed)

  def trace(self, batch: Mapping[str, jax.ShapeDtypeStruct | jax.Array]) -> jax.stages.Traced:
    """The program of `step`, not yet compiled; the devices need not be there."""
    seed = jax.ShapeDtypeStruct((), np.uint32, sharding=whole_on(self.mesh))
    return self.jitted_step.trace(self.abstract_state, batch, self.abstract_frozen, seed)

  @functools.cached_property
  def _placed_seed(self) -> jax.Array:
    """An argument, no constant: runs of other seeds find the program in the compilation cache."""
    return jax.device_put(np.asarray(self.seed).astype(np.uint32), whole_on(self.mesh))


ONE_PASS = MappingProxyType(dataclasses.asdict(ProgramOptions()))
# Keys of a config that are arguments of `build`.
KEYS = (
  "seed",
  "steps",
  "max_tokens",
  "model",
  "decoder",
  "unmasking",
  "vector_decoder",
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
  vector_decoder: Mapping[str, Any] | None = None,
  matryoshka_dimensions: Sequence[int] = (),
  program: Mapping[str, Any] = ONE_PASS,
  sharding_rules: Sequence[tuple[str, Sequence[str | None]]] = (),
  languages: int = 0,
  teacher: tuple[DualAlignment, Any] | None = None,
  task_head: tuple[str, int] | None = None,
  devices: Sequence[jax.Device] | None = None,
) -> TrainProgram:
  """The config's sections in `KEYS`, and what data and teacher decide -> `TrainProgram`.

  Args:
    vocabulary: of the tokenizer.
    sharding_rules: the user's own, see `parameters.parse_rules`.
    languages: of the data, the pivot among them.
    teacher: a frozen network and its parameters, arrays or shapes.
    task_head: kind and classes of the head of fine-tuning, see `model.task_heads`; or None.
    devices: of the mesh; None = all there are.
  """
  how = bind(ProgramOptions, program, where="program")()
  needed = needs(objectives)
  functions = make_objectives(objectives, matryoshka_dimensions=matryoshka_dimensions)
  if "decoder" not in needed or not decoder.get("english_head"):
    vocabulary = vocabulary._replace(english_ids=None)
  sections = {"decoder": decoder, "unmasking": unmasking, "vector_decoder": vector_decoder}
  heads = needed_heads(needed, languages=languages, **sections)
  shape = {"max_tokens": max_tokens, "remat": how.remat, "scan_layers": how.scan_layers}
  make = bind(make_model, model, where="model", vocabulary=vocabulary, **heads, **shape)
  network = with_task_head(make(), task_head, model["encoder"]["model_type"])
  check_dimensions(matryoshka_dimensions, network)
  teacher_network, teacher_params = teacher or (None, None)
  return jit_program(
    loss_settings={
      "model": network,
      "objectives": functions,
      "vocabulary": vocabulary,
      "teacher": teacher_network,
      "microbatches": how.microbatches,
      "chunk_tokens": how.chunk_tokens,
    },
    optimizer=bind(make_optimizer, optimizer, where="optimizer", steps=steps)(),
    seed=seed,
    mesh=bind(sharding.make_mesh, mesh, where="mesh", devices=devices)(),
    rules=parameters.parse_rules(sharding_rules),
    teacher_params=teacher_params,
    reads_initial="initial" in needed,
  )


def needed_heads(
  needed: set[str], *, languages: int, **sections: Mapping[str, Any] | None
) -> dict[str, Any]:
  """Arguments of `make_model`: what no objective trains would only cost memory, so it is left out.

  Args:
    needed: see `selection.needs`.
    languages: of the data.
    **sections: of the config: decoder, unmasking, vector_decoder.
  """
  heads: dict[str, Any] = {name: sections[name] if name in needed else None for name in sections}
  if heads["decoder"]:  # how it starts is no shape
    heads["decoder"] = {key: value for key, value in heads["decoder"].items() if key != "start"}
  if heads["vector_decoder"]:
    heads["vector_decoder"] = {**heads["vector_decoder"], "languages": languages}
  return heads | {
    "masked_lm": "masked_lm" in needed,
    "bag_of_tokens": languages if "bag_of_tokens" in needed else 0,
    "languages": languages if "languages" in needed else 0,
  }


def jit_program(
  *,
  loss_settings: Mapping[str, Any],
  optimizer: tuple[optax.GradientTransformation, optax.Schedule],
  seed: int,
  mesh: Mesh,
  rules: parameters.Rules,
  teacher_params: Any,
  reads_initial: bool,
) -> TrainProgram:
  """Jits the step, and says where its arrays lie.

  Args:
    loss_settings: the arguments of `core.train_step.loss_fn` that no step changes.
    optimizer: with its schedule, step -> learning rate.
    seed: of the run.
    mesh: devices.
    rules: the user's own sharding rules.
    teacher_params: of the teacher, arrays or shapes; None without one.
    reads_initial: whether an objective reads the parameters that the run began with.
  """
  network, (transformation, learning_rate) = loss_settings["model"], optimizer
  init = functools.partial(init_state, seed=seed, network=network, optimizer=transformation)
  state = parameters.with_shardings(jax.eval_shape(init, {}), mesh, rules)
  frozen = Frozen(
    teacher=None if teacher_params is None else parameters.with_shardings(teacher_params, mesh),
    initial=state.params if reads_initial else None,
  )
  own_part = parameters.own_part(state.params)
  settings = {"optimizer": transformation, "own_part": own_part, **loss_settings}
  step = functools.partial(train_step.train_step, **settings)
  return TrainProgram(
    model=network,
    objectives=loss_settings["objectives"],
    mesh=mesh,
    seed=seed,
    abstract_state=state,
    abstract_frozen=frozen,
    init=jax.jit(init, out_shardings=shardings_of(state), donate_argnums=0),
    learning_rate=learning_rate,
    jitted_step=jit_step(step, state, frozen, mesh=mesh),
    jitted_gradients=jax.jit(functools.partial(train_step.gradients, **loss_settings)),
  )


def jit_step(
  step: Callable, state: TrainState, frozen: Frozen, *, mesh: Mesh
) -> jax.stages.Wrapped:
  """`train_step` with its settings bound -> (state, batch, frozen, seed) -> (state, means), jitted.

  Every array stays where the abstract `state` and `frozen` say that it lies.
  """
  whole, rows = whole_on(mesh), sharding.batch_sharding(mesh)
  return jax.jit(
    step,
    in_shardings=(shardings_of(state), rows, shardings_of(frozen), whole),
    out_shardings=(shardings_of(state), whole),
    donate_argnums=0,
  )


def init_state(
  params: dict[str, Any],
  *,
  seed: int,
  network: DualAlignment,
  optimizer: optax.GradientTransformation,
) -> TrainState:
  """The state at step 0: these parameters, and what they lack drawn from the seed."""
  key = jax.random.fold_in(jax.random.key(seed), 2**31 - 1)  # a step no run reaches
  params = overlay(init_params(network, key), params)
  return TrainState(jnp.zeros([], jnp.int32), params, optimizer.init(params))


def shardings_of(tree: Any) -> Any:
  """The shardings of a tree of arrays or ShapeDtypeStructs."""
  return jax.tree.map(lambda leaf: leaf.sharding, tree)


def whole_on(mesh: Mesh) -> NamedSharding:
  """Every device has all of it."""
  return NamedSharding(mesh, P())


def check_rows(mesh: Mesh, program: Mapping[str, Any], *, batch_size: int) -> None:
  """Raises UserError where devices cannot share a batch, or cut their shares into microbatches."""
  sharding.check_batch(mesh, batch_size)
  chunks = bind(ProgramOptions, program, where="program")().microbatches
  microbatches.check_chunks(chunks, batch_size=batch_size, shards=sharding.row_shards(mesh))
