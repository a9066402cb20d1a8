"""What chips send to each other in a step: nothing that a large batch makes unbearable.

The sizes are chosen so that what may be sent is smaller than what may not: a vector of every
sentence, B K D = 65,536 numbers, and every token's state on the chips that share a layer, against a
chip's block of the B x B cosines, 524,288, and its logits of one position, B V / 8 = 1,048,576.
"""

import itertools
import math

import jax
import pytest

from configs import base
from dap_jax.core import cross_entropy
from dap_jax.distributed import sharding
from dap_jax.planning import chips, step
from dap_jax.planning.compiled import compiler, hlo
from tests.models import ENCODERS

B, K, L, D, V, ENGLISH = 2048, 2, 4, 16, 4096, 3072
MESHES = {
  "data": {"data": 8, "fsdp": 1, "model": 1},
  "fsdp": {"data": 2, "fsdp": 4, "model": 1},
  "model": {"data": 2, "fsdp": 1, "model": 4},
  "all": {"data": 2, "fsdp": 2, "model": 2},
}
SMALL = 1024  # numbers: norms, biases, counts


@pytest.fixture(autouse=True)
def no_kept_slopes(monkeypatch):
  """Of the logits' derivatives a device keeps those of a chunk, and not what fits a real chip."""
  monkeypatch.setattr(cross_entropy, "SLOPES", 1)


def config_of(mesh, **program):
  """TR, RTL and TLM on a tiny network."""
  config = base.get_config()
  config.batch_size, config.max_tokens = B, L
  config.tokenizer.vocabulary_size = V
  config.model.encoder.update(
    {"layers": 1, "width": D, "heads": 4, "mlp_width": 40, "positions": 24, **ENCODERS["bert"]}
  )
  config.decoder.layers = 1
  config.objectives.translation_ranking.weight = 1.0
  config.objectives.representation_translation.weight = 1.0
  config.objectives.masked_lm.weight = 1.0
  config.objectives.masked_lm.sequence = "both"
  config.program.update({"chunk_tokens": B // 8} | program)
  return config.to_dict() | {"mesh": mesh}


def sent(config, devices):
  """The step's parts, its program and its collectives."""
  vocabulary = step.guess_vocabulary(config, english_ids=ENGLISH)
  train_program, batch = step.plan_step(config, vocabulary=vocabulary, languages=5, devices=devices)
  with jax.set_mesh(train_program.mesh):
    compiled = train_program.trace(batch).lower().compile()
  module = hlo.parse_module(compiled.as_text())
  return train_program, module, hlo.collectives(module, chips=8)


def sizes_of_parameters(train_program):
  """Numbers that a matrix has, whole or cut by some of the axes that share it or its moments."""
  state = train_program.abstract_state
  sizes = set()
  for leaf in jax.tree.leaves((state.params, state.opt_state)):
    if leaf.ndim > 1:
      spec = jax.tree.leaves(tuple(leaf.sharding.spec))
      parts = [train_program.mesh.shape[axis] for axis in spec]
      for count in range(len(parts) + 1):
        for some in itertools.combinations(parts, count):
          sizes.add(leaf.size // math.prod(some))
  return sizes


def size_of(dims):
  """ "8,128" -> 1024."""
  return math.prod(int(length) for length in dims.split(",") if length)


def check(train_program, module, collectives):
  """Raises AssertionError that names a collective or an array there must not be."""
  parameters = sizes_of_parameters(train_program)
  shards = sharding.row_shards(train_program.mesh)
  states = B * K * L * D // shards if train_program.mesh.shape["model"] > 1 else 0
  bound = max(B * K * D, states)
  assert bound < B * B // 8 < B * V // 8
  assert collectives
  for each in collectives:
    for _, dims in hlo.ARRAY.findall(each.type):
      size = size_of(dims)
      if each.kind == "all-gather" and size in parameters and size > SMALL:
        assert each.times == 1, f"gathers it in every turn of a loop: {each}"
      elif size not in parameters:
        assert size <= bound, f"{size} numbers: {each}"
  # Nor does a chip hold more of the cosines than those of its own rows, in each view.
  block = K * B * B // shards
  for computation in module.computations.values():
    for instruction in computation.instructions.values():
      for _, dims in hlo.ARRAY.findall(instruction.type):
        assert size_of(dims) <= block, f"{size_of(dims)} numbers: {instruction}"


@pytest.mark.parametrize("mesh", MESHES)
def test_what_is_sent_on_cpu_devices(mesh):
  check(*sent(config_of(MESHES[mesh]), None))


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
def test_what_is_sent_on_chips(mesh, monkeypatch):
  pytest.importorskip("libtpu", reason="needs libtpu, the TPU compiler")
  monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
  monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
  check(*sent(config_of(MESHES[mesh]), compiler.devices_of(chips.parse_topology("v5e:2x4"))))
