"""`plan`: what it reads off programs, against programs and texts whose figures are known.

Its estimates without a compiler: tests/test_plan_formula.py.
"""

import json
import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from configs import base
from dap_jax.data import store
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.distributed import sharding
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.planning import chips, cost, predict, step, suggestions
from dap_jax.planning.compiled import compiler, hlo, traffic
from dap_jax.training import build, flops
from dap_jax.utils.errors import UserError
from dap_jax.workdir import layout


def test_flops_of_loops_and_gradients():
  """x [8, 4] @ w [4, 4], three times over: 2 * 8 * 4 * 4 each; its gradient costs twice as much."""
  one = 2 * 8 * 4 * 4

  def loss(w, x):
    return jax.lax.scan(lambda x, _: (x @ w, None), x, length=3)[0].sum()

  arrays = jnp.ones((4, 4)), jnp.ones((8, 4))
  assert flops.matmul_flops(jax.make_jaxpr(loss)(*arrays)) == 3 * one
  # By w and by x in every turn.
  both = jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(*arrays)
  assert flops.matmul_flops(both) == 3 * one + 3 * 2 * one
  again = jax.make_jaxpr(jax.grad(jax.checkpoint(loss)))(*arrays)
  assert flops.matmul_flops(again) >= flops.matmul_flops(jax.make_jaxpr(jax.grad(loss))(*arrays))


def test_flops_of_one_contraction():
  """[b, i, d] x [d, v] over d: 2 b i d v."""
  jaxpr = jax.make_jaxpr(lambda a, b: jnp.einsum("bid,dv->biv", a, b))(
    jnp.ones((2, 3, 5)), jnp.ones((5, 7))
  )
  assert flops.matmul_flops(jaxpr) == 2 * 2 * 3 * 5 * 7


def compiled(function, mesh, specs, *shapes):
  shapes = [
    jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))
    for shape, spec in zip(shapes, specs, strict=True)
  ]
  with jax.set_mesh(mesh):
    return jax.jit(function, out_shardings=NamedSharding(mesh, P())).lower(*shapes).compile()


def test_collectives_of_a_product():
  """A contraction over 4 of 8 devices ends in one all-reduce of the product, 16 x 32 float32."""
  mesh = sharding.make_mesh(data=2, model=4)
  program = compiled(
    lambda a, b: a @ b, mesh, (P(None, "model"), P("model", None)), (16, 8), (8, 32)
  )
  (collective,) = hlo.collectives(hlo.parse_module(program.as_text()), chips=8)
  assert collective[:4] == ("all-reduce", 16 * 32 * 4, 4, 1)


def test_a_loops_collectives_count_in_every_turn():
  mesh = sharding.make_mesh(data=8)

  def looped(a, b):
    def turn(x, _):
      x = jax.lax.with_sharding_constraint(x, P(None, "data"))
      return jax.lax.with_sharding_constraint(x @ b, P()), None

    return jax.lax.scan(turn, a, length=5)[0]

  program = compiled(looped, mesh, (P(), P("data", None)), (16, 16), (16, 16))
  reduces = [
    each
    for each in hlo.collectives(hlo.parse_module(program.as_text()), chips=8)
    if each.kind == "all-reduce"
  ]
  assert [(each.size, each.group, each.times) for each in reduces] == [(16 * 16 * 4, 8, 5)]


# Lines as the TPU compiler writes them (libtpu 0.0.42.1), names shortened.
TPU_TEXT = """HloModule jit_step

%inner (p.1: bf16[16,128]) -> bf16[256,128] {
  ROOT %all-gather.2 = bf16[256,128]{1,0:T(8,128)(2,1)} all-gather(%p.1), channel_id=86, replica_groups=mesh['axis_0'=16,'axis_1'=1] {'axis_0'}, dimensions={0}
}

%limit (p: (s32[], f32[8])) -> pred[] {
  %constant.4 = s32[]{:T(128)} constant(6)
  ROOT %lt.1 = pred[]{:T(512)} compare(%gte.1, %constant.4), direction=LT
}

%turn (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %all-reduce.9 = (f32[48,128]{1,0:T(8,128)S(1)}, /*index=1*/f32[24]{0:T(128)}) all-reduce(%a, %b), channel_id=7, replica_groups=mesh['axis_0'=4,'axis_1'=4] {'axis_0'}, to_apply=%add
}

ENTRY %main (p.0: f32[8]) -> f32[8] {
  %while.1 = (s32[]{:T(128)}, f32[8]{0:T(128)S(1)}) while(%tuple.1), condition=%limit, body=%turn
  %fusion.1 = bf16[256,128]{1,0:T(8,128)(2,1)} fusion(%x), kind=kCustom, calls=%inner
  %all-gather.3 = bf16[256,128]{1,0:T(8,128)(2,1)} all-gather(%x), channel_id=86, replica_groups=mesh['axis_0'=16,'axis_1'=1] {'axis_0'}, dimensions={0}
  %reduce-scatter.1 = f32[2,8]{1,0} reduce-scatter(%y), channel_id=3, replica_groups=[2,8]<=[16], dimensions={0}, to_apply=%add
}
"""  # noqa: E501


def test_what_the_tpu_compiler_writes():
  sent = hlo.collectives(hlo.parse_module(TPU_TEXT), chips=16)
  by_kind = {each.kind: each for each in sent}
  assert len(sent) == 3  # one channel is one gather
  gather, reduce, scatter = (
    by_kind[name] for name in ("all-gather", "all-reduce", "reduce-scatter")
  )
  assert (gather.size, gather.group, gather.times) == (256 * 128 * 2, 16, 1)
  assert (reduce.size, reduce.group, reduce.times) == ((48 * 128 + 24) * 4, 4, 6)
  assert (scatter.size, scatter.group) == (2 * 8 * 4 * 8, 8)


def test_traffic_between_memory_and_cores():
  """By hand: what S(1) marks lies on the chip; a fusion's inside moves nothing; a loop turns."""
  text = """
%inside (p.0: f32[64]) -> f32[64] {
  %p.0 = f32[64]{0} parameter(0)
  ROOT %big.1 = f32[9000]{0} broadcast(%p.0), dimensions={0}
}

%limit (p: (s32[], f32[64])) -> pred[] {
  %constant.4 = s32[] constant(3)
  ROOT %lt.1 = pred[] compare(%gte.1, %constant.4), direction=LT
}

%turn (p: (s32[], f32[64])) -> (s32[], f32[64]) {
  %here = f32[64]{0} get-tuple-element(%p), index=1
  ROOT %negate.1 = f32[64]{0} negate(%here)
}

ENTRY %main (a: f32[64], b: f32[64]) -> f32[64] {
  %a = f32[64]{0} parameter(0)
  %b = f32[64]{0:T(128)S(1)} parameter(1)
  %fusion.1 = f32[64]{0} fusion(%a, %b), kind=kLoop, calls=%inside
  %slice-start.1 = ((f32[64]{0}), f32[16]{0:S(1)}, s32[]{:S(2)}) slice-start(%a), slice={[0:16]}
  %while.1 = (s32[], f32[64]{0}) while(%tuple.1), condition=%limit, body=%turn
}
"""
  fusion, part, loop = 4 * (64 + 64), 4 * 16, 3 * 4 * (64 + 64)
  compared = 4 + 1  # the limit of the loop, and whether it is reached
  assert traffic.hbm_traffic(hlo.parse_module(text)) == fusion + part + loop + compared


def test_of_a_stack_only_the_slices_move():
  """By hand: a loop of 12 turns reads a slice of one stack and updates a slice of another.

  A turn reads 64 numbers of the first, through a view and a fusion in the fusion, and 64 of `b`,
  and writes 64 into the second; the first stack is handed through. Before it, 5 rows of 8 numbers
  are gathered from a table and added to another.
  """
  text = """
%view (v: f32[12,64]) -> f32[12,64] {
  %v = f32[12,64]{1,0} parameter(0)
  ROOT %copy.1 = f32[12,64]{1,0} copy(%v)
}

%update (q.1: f32[12,64], q.0: f32[12,64], q.2: f32[64], q.3: s32[]) -> (f32[12,64], f32[12,64]) {
  %q.0 = f32[12,64]{1,0} parameter(0)
  %q.1 = f32[12,64]{1,0} parameter(1)
  %q.2 = f32[64]{0} parameter(2)
  %q.3 = s32[] parameter(3)
  %fusion.9 = f32[12,64]{1,0} fusion(%q.0), kind=kLoop, calls=%view
  %dynamic-slice.1 = f32[1,64]{1,0} dynamic-slice(%fusion.9, %q.3), dynamic_slice_sizes={1,64}
  %bitcast.1 = f32[64]{0} bitcast(%dynamic-slice.1)
  %add.1 = f32[64]{0} add(%bitcast.1, %q.2)
  %bitcast.2 = f32[1,64]{1,0} bitcast(%add.1)
  %dynamic-update-slice.1 = f32[12,64]{1,0} dynamic-update-slice(%q.1, %bitcast.2, %q.3)
  ROOT %tuple.3 = (f32[12,64]{1,0}, f32[12,64]{1,0}) tuple(%dynamic-update-slice.1, %q.0)
}

%limit (p: (s32[], f32[12,64], f32[12,64])) -> pred[] {
  %constant.4 = s32[] constant(12)
  ROOT %lt.1 = pred[] compare(%gte.1, %constant.4), direction=LT
}

%turn (p: (s32[], f32[12,64], f32[12,64])) -> (s32[], f32[12,64], f32[12,64]) {
  %p = (s32[], f32[12,64]{1,0}, f32[12,64]{1,0}, f32[64]{0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %first = f32[12,64]{1,0} get-tuple-element(%p), index=1
  %second = f32[12,64]{1,0} get-tuple-element(%p), index=2
  %b = f32[64]{0} get-tuple-element(%p), index=3
  %fusion.1 = (f32[12,64]{1,0}, f32[12,64]{1,0}) fusion(%first, %second, %b, %i), kind=kLoop, calls=%update
}

ENTRY %main (t: f32[1000,8], u: f32[1000,8], n: s32[5]) -> f32[1000,8] {
  %t = f32[1000,8]{1,0} parameter(0)
  %u = f32[1000,8]{1,0} parameter(1)
  %n = s32[5]{0} parameter(2)
  %buffer.1 = f32[12,64]{1,0} custom-call(), custom_call_target="AllocateBuffer"
  %gather.1 = f32[5,8]{1,0} gather(%t, %n), slice_sizes={1,8}
  %scatter.1 = f32[1000,8]{1,0} scatter(%u, %n, %gather.1), to_apply=%add
  %while.1 = (s32[], f32[12,64]{1,0}, f32[12,64]{1,0}) while(%tuple.1), condition=%limit, body=%turn
}
"""  # noqa: E501
  turns = 12 * (4 * (64 + 64 + 64) + 4)  # and the number of the turn
  rows, numbers = 4 * 5 * 8, 4 * 5
  gather, scatter = 2 * rows + numbers, 2 * rows + numbers
  assert traffic.hbm_traffic(hlo.parse_module(text)) == turns + gather + scatter + 4 + 1


def test_topologies():
  small, pod = chips.parse_topology("v5e:4x4"), chips.parse_topology("v5e:16x16")
  assert (small.chips, pod.chips, chips.parse_topology("v4:2x2x4").chips) == (16, 256, 16)
  # Two axes of two links of 50 GB/s; without joined ends a ring goes there and back on one link.
  assert pod.collective_speed(256) == 200e9
  assert small.collective_speed(16) == 100e9
  assert chips.parse_topology("v5p:4x4x4").collective_speed(64) == 600e9
  for wrong in ("v5e:4", "v5e:4x4x4", "v9:4x4", "gpu:h200", "gpu:h200x0", "4x4", "gpu:h200x12"):
    with pytest.raises(UserError, match=f"topology '{wrong}': expected v4:4x4x4 or v5e:4x4"):
      chips.parse_topology(wrong)


@pytest.mark.parametrize(
  ("accelerator_type", "shape"),
  [
    *(("v5litepod-4", "v5e:2x2"), ("v5litepod-16", "v5e:4x4"), ("v5litepod-128", "v5e:8x16")),
    *(("v6e-8", "v6e:2x4"), ("v6e-256", "v6e:16x16"), ("v5e-32", "v5e:4x8")),
    *(("v4-8", "v4:2x2x1"), ("v4-32", "v4:2x2x4"), ("v4-512", "v4:4x8x8")),
    *(("v5p-16", "v5p:2x2x2"), ("v5p-2048", "v5p:8x8x16")),
    ("v6e-12", "one of v6e:2x2, v6e:2x4, v6e:4x4"),
  ],
)
def test_the_shape_of_an_accelerator_type(accelerator_type, shape):
  """The tables "TPU configurations" of docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}."""
  message = f"topology '{accelerator_type}': that is an accelerator type.*, {shape}"
  with pytest.raises(UserError, match=message):
    chips.parse_topology(accelerator_type)


@pytest.mark.parametrize("kind", ["v4", "v5e", "v5p", "v6e"])
def test_the_compiler_takes_the_slices_that_are_named(kind):
  """The small ones, and not a slice of 25 chips; hosts have four."""
  pytest.importorskip("libtpu", reason="needs libtpu, the TPU compiler")
  for count, name in list(chips.slices(kind).items())[:4]:
    assert len(compiler.devices_of(chips.parse_topology(name))) == count
  wrong = chips.parse_topology(f"{kind}:5x5" if chips.CHIPS[kind].axes == 2 else f"{kind}:5x5x5")
  with pytest.raises(UserError, match=f"does not take it .*; there are {kind}:2x2"):
    compiler.devices_of(wrong)


def test_gpus_between_hosts():
  """NVLink 450 GB/s in a host of 8; each GPU that a group has there lends a port of 50 GB/s."""
  gpus = chips.parse_topology("gpu:h200x16")
  assert (gpus.chips, gpus.is_tpu) == (16, False)
  speeds = {(8, 1): 450e9, (16, 1): 400e9, (2, 8): 50e9, (8, 2): 200e9, (4, 2): 450e9}
  for (group, stride), speed in speeds.items():
    assert gpus.collective_speed(group, stride) == speed
  assert gpus.capacity == 0.75 * 141e9  # what JAX takes


def test_the_next_larger_topology():
  names = {"v5e:4x4": "v5e:4x8", "v5e:4x8": "v5e:8x8", "v4:2x2x4": "v4:2x4x4"}
  names |= {"gpu:h200x2": "gpu:h200x4", "gpu:h200x5": "gpu:h200x8", "gpu:h200x8": "gpu:h200x16"}
  for name, larger in names.items():
    assert chips.parse_topology(name).doubled().name == larger
  assert chips.parse_topology("v5e:16x16").doubled() is None


def test_seconds_of_a_ring():
  """1 GB over 4 chips at 100 GB/s: 3/4 of it goes by, twice for a reduction and its return."""
  for kind, expected in {
    "all-gather": 0.0075,
    "all-reduce": 0.015,
    "reduce-scatter": 0.0075,
  }.items():
    assert chips.ring_seconds(kind, 1e9, 4, 100e9) == pytest.approx(expected)
  assert chips.ring_seconds("collective-permute", 1e9, 2, 100e9) == pytest.approx(0.01)
  assert chips.ring_seconds("all-reduce", 1e9, 1, 100e9) == 0


def test_the_least_time_and_what_binds_it():
  """By hand: 197e9 FLOPs are 1 ms of a v5e, 1.638 GB 2 ms of its memory; 3 ms of links bind."""
  reduce = cost.Collective("all-reduce", 0.16e9, 16, 1, "")  # 2 * 15/16 * 0.16 GB at 100 GB/s
  step_cost = cost.StepCost({"peak": 1e9}, 197e9, 1.638e9, [reduce])
  config = base.get_config().to_dict() | {"steps": 1000, "batch_size": 1500}
  report = predict.timing(config, step_cost, chips.parse_topology("v5e:4x4"), model_flops=98.5e9)
  assert report["seconds"] == pytest.approx({"compute": 1e-3, "memory": 2e-3, "network": 3e-3})
  assert report["bound_by"] == "network"
  assert report["pairs_per_second"] == pytest.approx(500_000)
  assert report["utilisation"] == pytest.approx(0.5 / 3)
  assert report["chip_hours"] == pytest.approx(16 * 3 / 3600)


def test_what_the_compiler_refuses():
  message = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 23.50G of 15.75G hbm."
  assert compiler.too_large(message) == (23.5 * 2**30, 15.75 * 2**30)
  assert compiler.too_large("RESOURCE_EXHAUSTED: no figures") == (None, None)
  with pytest.raises(RuntimeError, match="INTERNAL"):
    compiler.too_large("INTERNAL: something else")


def test_suggestions_begin_with_the_cheapest():
  config = base.get_config().to_dict() | {"batch_size": 64}
  topology = chips.parse_topology("v5e:4x4")
  flags = [flags for flags, _ in suggestions.suggestions(config, topology)]
  remat = "--config.program.remat=layers"
  chunks = [f"{remat} --config.program.microbatches={n}" for n in (2, 4)]
  shared = [f"{chunks[-1]} --config.mesh.data={16 // n} --config.mesh.fsdp={n}" for n in (8, 16)]
  assert flags == [remat, *chunks, *shared]
  tried = []

  def attempt(changed, place):
    assert place == topology
    tried.append(changed["program"]["microbatches"])
    return {"fits": changed["program"]["microbatches"] == 4}

  suggestion = suggestions.first_that_fits(config, topology, tries=5, attempt=attempt)
  assert suggestion == (chunks[-1], {"fits": True})
  assert tried == [1, 2, 4]
  assert config == base.get_config().to_dict() | {"batch_size": 64}  # nothing is changed in place


def test_where_no_setting_fits_a_larger_topology_is_named():
  config = base.get_config().to_dict() | {"batch_size": 64}
  tried = []

  def attempt(changed, place):
    tried.append((place.name, changed["mesh"]["fsdp"]))
    if place.chips == 32:
      raise UserError("the compiler does not take it")
    return {"fits": place.chips == 64}

  flags, _ = suggestions.first_that_fits(
    config, chips.parse_topology("v5e:4x4"), tries=3, attempt=attempt
  )
  assert flags == (
    "--topology=v5e:8x8 --config.program.remat=layers --config.mesh.data=1 --config.mesh.fsdp=64"
  )
  assert tried == [
    ("v5e:4x4", 1),
    ("v5e:4x4", 1),
    ("v5e:4x4", 16),
    ("v5e:4x8", 32),
    ("v5e:8x8", 64),
  ]
  nothing = suggestions.first_that_fits(
    config, chips.parse_topology("v5e:4x4"), tries=2, attempt=lambda *_: {"fits": False}
  )
  assert nothing is None


def test_a_batch_that_the_mesh_cannot_share():
  """By the one function that `train` checks with; 16 rows on 8 devices, 2 each."""
  mesh = sharding.make_mesh(data=8)
  build.check_rows(mesh, {**build.ONE_PASS, "microbatches": 2}, batch_size=16)
  with pytest.raises(UserError, match="microbatches=4"):
    build.check_rows(mesh, {**build.ONE_PASS, "microbatches": 4}, batch_size=16)
  with pytest.raises(UserError, match="batch_size=12 is not divisible by the 8"):
    build.check_rows(mesh, build.ONE_PASS, batch_size=12)


def test_what_is_planned_is_what_trains(commands, tmp_path, monkeypatch):
  """The lowered text of plan's step is what a real run of `train` hands to the compiler."""
  changes = {"mesh.fsdp": 2, "program.microbatches": 2, "program.remat": "layers", "batch_size": 32}
  flags = [f"--config.{key}={value}" for key, value in changes.items()]
  monkeypatch.setenv("JAX_DUMP_IR_TO", str(tmp_path))
  run = commands.prepared("planned")
  commands.run(*commands.train_flags(run, *flags, "--config.steps=2"), devices=8)
  (trained,) = tmp_path.glob("*jit_train_step*")

  config = layout.read_config(run)
  tokens = Tokenizer.load(run / "tokenizer", max_tokens=config["max_tokens"])
  corpus = store.load(run / "data", pad_id=tokens.pad_id)
  vocabulary = vocabulary_of(tokens, rows=0, english_ids=corpus.english_ids)
  languages = 1 + len(corpus.languages)
  train_program, batch = step.plan_step(
    config, vocabulary=vocabulary, languages=languages, devices=None
  )
  with (
    jax.set_mesh(train_program.mesh),
    jax.debug_key_reuse(False),
    jax.numpy_rank_promotion("allow"),
  ):
    planned = train_program.trace(batch).lower().as_text()
  assert without_places(planned) == without_places(trained.read_text())


def without_places(text):
  """A module's text without where in the source its lines come from."""
  lines = [line for line in text.split("\n") if not line.startswith("#loc")]
  return re.sub(r" loc\((?:[^()]|\([^()]*\))*\)", "", "\n".join(lines)).strip()


@pytest.mark.slow
def test_the_command(commands, tmp_path):
  """On the real compiler: the tiny model on 16 chips, and one that no setting can save."""
  pytest.importorskip("libtpu", reason="needs libtpu, the TPU compiler")
  flags = [f"--config=tests/tiny.py:{commands.corpus}", "--topology=v5e:4x4"]
  output = commands.run("plan", *flags, f"--output={tmp_path / 'plan.json'}")
  assert "fits" in output
  assert "pairs/s at most" in output
  report = json.loads((tmp_path / "plan.json").read_text())
  assert (report["chips"], report["method"]) == (16, "compiled")
  assert 0 < report["memory"]["peak"] < report["memory"]["capacity"] < 16e9
  assert report["bound_by"] in report["seconds"]
  kinds = {each["kind"] for each in report["collectives"]}
  assert "all-reduce" in kinds


def test_mistakes(commands):
  config = f"--config=tests/tiny.py:{commands.corpus}"
  assert "expected v4:4x4x4" in commands.fail("plan", config, "--topology=v5e:4")
  assert "whole hosts of 8" in commands.fail("plan", config, "--topology=gpu:h200x12")
  assert "are both needed" in commands.fail("plan", config, status=2)
