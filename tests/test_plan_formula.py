"""`plan` without a compiler: its rules against cases worked by hand, and against compilers."""

import json

import jax
import jax.numpy as jnp
import pytest

from dap_jax.distributed import parameters
from dap_jax.planning import chips, predict, step
from dap_jax.planning.compiled import compiler
from dap_jax.planning.formula import collectives, estimate
from dap_jax.planning.formula.footprint import footprint
from dap_jax.planning.formula.trace import flat_trace, share_rows
from tests import tiny


def program_of(function, *shapes):
  """What `flat_trace` makes of a function of float32 arrays."""
  return flat_trace(jax.make_jaxpr(function)(*(jnp.zeros(shape) for shape in shapes)))


def test_a_product_goes_straight_into_what_follows_it():
  """sum(2 tanh(x w)): x 128 and w 256 bytes are read, 512 written, and read again for the sum."""
  cost = footprint(
    program_of(lambda x, w: jnp.sum(2 * jnp.tanh(x @ w), axis=(0, 1)), (8, 4), (4, 16))
  )
  assert cost.traffic == (128 + 256 + 512) + (512 + 4)
  assert cost.temporary == 512 + 4


def test_what_the_backward_pass_needs_is_kept():
  """d/dx,w of sum(tanh(x w)^2): the product is kept, its slope written once for two products."""

  def loss(x, w):
    return jnp.sum(jnp.tanh(x @ w) ** 2)

  cost = footprint(program_of(jax.grad(loss, argnums=(0, 1)), (8, 4), (4, 16)))
  # 8 x 16 product and slope; then the slope, and the gradients of x and w.
  assert cost.temporary == max(512 + 512, 512 + 256 + 128)


def test_a_loop_costs_what_its_turns_cost_and_goes_on_in_place():
  """c -> tanh(c w), 5 times: 64 bytes of c and of w are read, 64 written; c lies in one place."""

  def repeated(c, w):
    return jax.lax.scan(lambda c, _: (jnp.tanh(c @ w), None), 2 * c, length=5)[0]

  cost = footprint(program_of(repeated, (4, 4), (4, 4)))
  assert cost.traffic == (64 + 64) + 5 * (64 + 64 + 64)
  assert cost.temporary == 64 + 64  # where the loop goes on, and its own product


def test_rows_of_a_table_count_alone():
  """3 rows of 8 numbers out of 1,000: 96 bytes are read and written, and 12 of their numbers."""
  cost = footprint(
    flat_trace(
      jax.make_jaxpr(lambda table, ids: table.at[ids].get(mode="clip"))(
        jnp.zeros((1000, 8)), jnp.zeros(3, jnp.int32)
      )
    )
  )
  assert 2 * 96 < cost.traffic < 2 * 96 + 5 * 12  # indices are clipped on the way


def test_chips_share_rows_and_nothing_else():
  def loss(x, w):
    return jnp.sum(x @ w)

  twice, four_times = (program_of(jax.grad(loss, argnums=1), (rows, 4), (4, 2)) for rows in (8, 16))
  trace = share_rows(twice, four_times, shards=4)
  x, w = trace.inputs
  # Of 4 rows of 4 numbers a chip has one.
  assert (trace.sizes[x], trace.sizes[w], trace.sizes[trace.outputs[0]]) == (4 * 4, 32, 32)


def test_partial_sums_of_a_shared_layer():
  """Megatron's: x a by columns, then b by rows: one sum forward, and one backward for x."""

  def layer(x, a, b):
    return jnp.tanh(x @ a) @ b

  def stacked(x, a, b):
    a, b = jnp.stack([a, a]), jnp.stack([b, b])
    return jax.lax.scan(lambda x, layers: (layer(x, *layers), None), x, (a, b))[0]

  shapes = (6, 4), (4, 8), (8, 4)
  for function, often in ((layer, 1), (stacked, 2)):
    forward = program_of(function, *shapes)
    both = program_of(jax.grad(lambda *args, f=function: jnp.sum(f(*args))), *shapes)
    for program, sums in ((forward, 1), (both, 2)):
      _, a, b = program.inputs
      results = list(collectives.partial_sums(program, {a: 1, b: 0}))
      assert [size for size, _ in results] == [6 * 4 * 4] * sums
      assert [times for _, times in results] == [often] * sums


def tiny_estimate(**changes):
  """The parts, the batch and the costs of the tiny step on 8 devices."""
  config = tiny.get_config()
  config.update_from_flattened_dict(changes)
  sizes = {
    "vocabulary": step.guess_vocabulary(config, english_ids=50),
    "languages": 4,
    "devices": jax.devices(),
  }
  config = config.to_dict()
  train_program, batch = step.plan_step(config, **sizes)
  estimated = estimate.estimate(train_program, batch, step.trace_on_one(config, **sizes))
  return train_program, batch, estimated


def sent(estimated, kind, group):
  return sum(
    each.size * each.times
    for each in estimated.collectives
    if (each.kind, each.group) == (kind, group)
  )


def elements(params, kind):
  """Numbers in the word tables, the kernels, or the rest of a tree of shapes."""
  total = 0
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    name = parameters.path_name(path)
    words, kernel = name.endswith("word/embedding"), name.endswith("kernel")
    total += leaf.size * (kind == ("words" if words else "kernels" if kernel else "rest"))
  return total


def test_gradients_are_scattered_and_the_state_is_exact():
  """float32, 8 chips: kernels' gradients are scattered, and their new numbers gathered.

  Of tables that are read at the same rows by every pair, these rows are summed: of the decoder's
  94 words [MASK], of the encoder's 24 positions 12, of its 2 token types one; of the decoder's all.
  The encoder's words are gathered, and the slopes of a chip's 2 x 2 x 12 tokens sent.
  """
  train_program, batch, estimated = tiny_estimate()
  params = train_program.abstract_state.params
  words, kernels, rest = (elements(params, kind) for kind in ("words", "kernels", "rest"))
  assert words == 2 * 94 * 32
  assert sent(estimated, "reduce-scatter", 8) == 4 * kernels
  z = 16 * 2 * 32  # of 16 pairs, width 32
  assert sent(estimated, "all-gather", 8) == 4 * (z + 94 * 32 + kernels)
  assert sent(estimated, "all-to-all", 8) == 4 * 2 * 2 * 12 * 32
  assert sent(estimated, "all-reduce", 8) == 4 * (rest - 32 * (12 + 1) + 32)
  state = 12 * rest + 4 * kernels + 8 * kernels / 8 + 12 * words / 8
  assert 0 <= estimated.memory["state"] - state < 32  # step and counts
  assert estimated.memory["peak"] == sum(
    estimated.memory[key] for key in ("state", "batch", "temporary")
  )


def test_fsdp_gathers_twice_what_it_shares():
  """By the shardings: what is cut is scattered among four, and gathered for either pass.

  The parts are scattered once more among the two that have the same, and gathered when they are
  new. Words are sent as without `fsdp`.
  """
  _, _, whole = tiny_estimate()
  train_program, _, estimated = tiny_estimate(**{"mesh.fsdp": 4})
  params = train_program.abstract_state.params
  words, kernels, rest = (elements(params, kind) for kind in ("words", "kernels", "rest"))
  assert sent(estimated, "reduce-scatter", 4) == 4 * kernels
  assert sent(estimated, "all-gather", 4) == 4 * 2 * kernels
  assert sent(estimated, "reduce-scatter", 2) == sent(estimated, "all-gather", 2) == 4 * kernels / 4
  for kind in ("all-reduce", "all-to-all"):
    assert sent(estimated, kind, 8) == sent(whole, kind, 8)
  assert sent(estimated, "all-gather", 8) == sent(whole, "all-gather", 8) - 4 * kernels
  assert estimated.memory["state"] == whole.memory["state"] - 4 * kernels * 3 / 4


def test_estimates_rise_and_fall_as_they_must():
  """More rows take more; recomputing takes less memory, and more work."""
  _, _, small = tiny_estimate(batch_size=256)
  _, _, large = tiny_estimate(batch_size=512)
  assert large.memory["temporary"] > 1.5 * small.memory["temporary"]
  assert large.flops == pytest.approx(2 * small.flops, rel=0.1)
  _, _, chunks = tiny_estimate(
    **{"batch_size": 512, "program.microbatches": 8, "program.remat": "layers"}
  )
  assert chunks.memory["temporary"] < large.memory["temporary"]
  assert chunks.flops > large.flops
  assert chunks.traffic > small.traffic


def test_gradients_sent_are_the_compilers():
  """XLA's partitioner on 8 CPU devices: as many bytes are summed and sent, but for a few scalars.

  There it sums a gradient whole before it takes a part, which on chips is a reduce-scatter.
  """
  train_program, batch, estimated = tiny_estimate()
  compiled = compiler.compiled_cost(train_program, batch)

  def sums(cost, *kinds):
    return sum(each.size * each.times for each in cost.collectives if each.kind in kinds)

  summed = "all-reduce", "reduce-scatter"
  z = 4 * 16 * 2 * 32  # the gradient of the gathered vectors is summed too
  assert sums(estimated, *summed) + z == pytest.approx(sums(compiled, *summed), rel=0.01)
  assert sums(estimated, "all-to-all") == sums(compiled, "all-to-all")
  assert estimated.flops == compiled.flops
  assert estimated.memory["state"] == pytest.approx(compiled.memory["state"], rel=0.01)


def report_of(config, topology):
  """What `plan` says of the tiny config."""
  parsed, vocabulary = chips.parse_topology(topology), step.guess_vocabulary(config, english_ids=50)
  sizes = {"vocabulary": vocabulary, "languages": 4, "devices": jax.devices()[: parsed.chips]}
  return predict.predict(config, parsed, **sizes)


def test_chunks_of_one_row_on_one_chip():
  """One row is traced otherwise than several; the estimate takes it all the same."""
  config = tiny.get_config().to_dict()
  config["program"] |= {"microbatches": 16, "remat": "layers"}
  report = report_of(config, "gpu:h100x1")
  assert report["fits"]
  assert report["collectives"] == []


def test_a_report_says_that_it_is_an_estimate():
  config = tiny.get_config().to_dict()
  report = report_of(config, "gpu:h200x8")
  assert report["method"] == "formula"
  assert report["fits"]
  assert report["memory"]["uncertainty"] > 0
  assert report["bound_by"] in ("compute", "memory", "network")


def test_a_state_that_is_too_large_is_not_even_estimated():
  """2e9 ids x 32 float32, two tables with two moments: 192 GB for each of 8 chips of 106."""
  config = tiny.get_config()
  config.tokenizer.vocabulary_size = 2_000_000_000
  config = config.to_dict()
  report = report_of(config, "gpu:h200x8")
  assert not report["fits"]
  assert "seconds" not in report


def test_recomputing_is_no_use_of_the_chips():
  """PaLM's model FLOPs utilisation (arXiv 2204.02311, appendix B): the same FLOPs of the model."""
  config = tiny.get_config().to_dict()
  one_pass = report_of(config, "gpu:h100x8")
  config["program"] |= {"microbatches": 2}
  chunks = report_of(config, "gpu:h100x8")
  assert chunks["model_flops"] == one_pass["model_flops"] == one_pass["flops"]
  assert chunks["flops"] > one_pass["flops"]


@pytest.mark.parametrize("devices", [1, 3])
def test_the_command(commands, tmp_path, devices):
  """It says so on the screen and in the file; and plans for the topology's chips.

  The mesh's `data` is -1, all chips, whatever the environment says of this machine's devices.
  """
  flags = [f"--config=tests/tiny.py:{commands.corpus}", "--topology=gpu:h200x16"]
  output = commands.run("plan", *flags, f"--output={tmp_path / 'plan.json'}", devices=devices)
  assert "ESTIMATED by formula, without a compiler" in output
  assert "at most" not in output
  report = json.loads((tmp_path / "plan.json").read_text())
  assert (report["method"], report["chips"]) == ("formula", 16)
  assert report["mesh"] == {"data": 16, "fsdp": 1, "model": 1}
  assert {each["chips"] for each in report["collectives"]} == {16}


@pytest.mark.slow
def test_against_the_tpu_compiler(commands, tmp_path):
  """What the formula says of 8 TPUs: as much work, as many gradients as the real compiler."""
  pytest.importorskip("libtpu", reason="needs libtpu, the TPU compiler")
  flags = [f"--config=tests/tiny.py:{commands.corpus}", "--english_ids=50", "--languages=4"]
  commands.run("plan", *flags, "--topology=v5e:2x4", f"--output={tmp_path / 'plan.json'}")
  report = json.loads((tmp_path / "plan.json").read_text())
  _, _, estimated = tiny_estimate()
  assert estimated.flops == report["flops"]
  kinds = "all-reduce", "reduce-scatter"
  summed = sum(each["bytes"] for each in report["collectives"] if each["kind"] in kinds)
  assert sum(sent(estimated, kind, 8) for kind in kinds) == pytest.approx(summed, rel=0.05)
