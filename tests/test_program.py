"""How a step is computed changes memory and time, no number: microbatches, remat, scan."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dap_jax.core import microbatches, train_step
from dap_jax.core.train_step import Frozen
from dap_jax.distributed import parameters, sharding
from dap_jax.model.from_config import ENCODER_ALONE, make_model
from dap_jax.training import build
from dap_jax.utils.errors import UserError
from tests.models import drawn, encoder_section, model_section
from tests.test_build import settings_of
from tests.test_objectives import RANKING, VOCABULARY, batch_of

ROWS = 32
LENGTHS = np.random.default_rng(1).integers(3, 12, (ROWS, 2)).tolist()
EVERY_HEAD = {
  "translation_ranking": {"weight": 1.0, **RANKING, "direction": "both"},
  "representation_translation": {
    "weight": 1.0,
    "mask_ratio": 0.5,
    "direction": "to_pivot",
  },
  "masked_lm": {"weight": 0.5, "sequence": "both", "mask_ratio": 0.3},
  "mexma": {
    "weight": 0.5,
    "mask_ratio": 0.4,
    "mask_share": 0.8,
    "mse_weight": 1.0,
    "koleo_weight": 0.01,
  },
  "bag_of_tokens": {"weight": 0.5, "direction": "both"},
  "vector_translation": {"weight": 0.5, "direction": "both", "mse_weight": 0.1},
}


def network(*, remat="none", scan_layers=False, **encoder):
  """Two layers with all heads."""
  sizes = {"layers": 2, "width": 16, "heads": 2, "mlp_width": 32, "positions": 40} | encoder
  given = ENCODER_ALONE | {
    "vocabulary": VOCABULARY,
    "max_tokens": 12,
    "decoder": {"layers": 1, "english_head": True},
    "masked_lm": True,
    "unmasking": {"layers": 1},
    "bag_of_tokens": 2,
    "vector_decoder": {"layers": 1, "languages": 2},
    "remat": remat,
    "scan_layers": scan_layers,
  }
  return make_model(**given, **model_section(encoder=encoder_section(**sizes), dropout=0.1))


@functools.cache
def drawn_params():
  """Parameters of `network`, a little away from where they are drawn; float32 numpy."""
  params = drawn(network())
  leaves, tree = jax.tree.flatten(params)
  rng = np.random.default_rng(2)
  return jax.tree.unflatten(
    tree, [np.asarray(leaf) + rng.normal(0, 0.05, leaf.shape) for leaf in leaves]
  )


def loss_and_grads(model, *, chunks=1, key=None, dtype=np.float32):
  """Of the batch of `ROWS` pairs, under all objectives; numpy."""
  params = jax.tree.map(lambda leaf: leaf.astype(dtype), drawn_params())
  found, grads = jax.jit(
    jax.value_and_grad(
      lambda params, batch: train_step.loss_fn(
        params,
        batch,
        model=model,
        objectives=build.make_objectives(EVERY_HEAD),
        vocabulary=VOCABULARY,
        key=key,
        microbatches=chunks,
        chunk_tokens=100,
      )[0]
    )
  )(params, batch_of(LENGTHS))
  return np.asarray(found), jax.device_get(grads)


@functools.cache
def plainly(key=None, dtype=np.float32):
  """Of the network as it is, in one pass; `key`: the seed of one."""
  return loss_and_grads(network(), key=None if key is None else jax.random.key(key), dtype=dtype)


def assert_same(found, expected, *, rtol):
  """The losses, and each gradient as a whole: the distance over the length."""
  np.testing.assert_allclose(found[0], expected[0], rtol=rtol)
  pairs = zip(jax.tree.leaves_with_path(found[1]), jax.tree.leaves(expected[1]), strict=True)
  for (path, ours), theirs in pairs:
    distance = np.linalg.norm(ours - theirs)
    # A key's bias has no gradient: it adds the same to every logit of a softmax.
    if np.linalg.norm(theirs) > 1e-6:
      assert distance <= rtol * np.linalg.norm(theirs), (parameters.path_name(path), distance)


@pytest.mark.parametrize("chunks", [2, 8, 32])
def test_microbatches_have_the_exact_gradient(chunks):
  """Against one pass over all rows, with every head and none of dropout's chance, in float64."""
  with jax.enable_x64(True):
    found = loss_and_grads(network(), chunks=chunks, dtype=np.float64)
    assert found[0].dtype == np.float64
    assert_same(found, plainly(dtype=np.float64), rtol=1e-12)


def test_microbatches_in_float32():
  assert_same(loss_and_grads(network(), chunks=8), plainly(), rtol=1e-5)


def test_a_chunk_has_a_dropout_key_of_its_own():
  """Rows that are alike leave different chunks with different vectors, the same twice over."""
  array, key = jnp.ones((4, 8)), jax.random.key(0)

  def dropped(key, x):
    return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x, 0)

  found = microbatches.in_chunks(dropped, 2)(key, array)
  for number in range(2):  # by the definition: chunk j holds rows j, j + 2
    own = dropped(jax.random.fold_in(key, number), array[:2])
    np.testing.assert_array_equal(found[number::2], own)
  assert not np.array_equal(found[0], found[1])


def test_what_is_not_of_the_rows_goes_to_every_chunk():
  def weighed(key, x, *, weights, power):
    assert key is None
    return {"sum": (x * weights).sum(1) ** power}

  x, weights = jnp.arange(24.0).reshape(6, 4), jnp.arange(4.0)[None]
  found = microbatches.in_chunks(weighed, 3)(None, x, weights=weights, power=2)
  np.testing.assert_array_equal(found["sum"], (np.arange(24).reshape(6, 4) @ np.arange(4)) ** 2)


def trained(**mesh):
  """Parameters and loss after three steps in four chunks."""
  program = {**build.ONE_PASS, "microbatches": 4}
  train_program = build.build(vocabulary=VOCABULARY, program=program, **settings_of(**mesh))
  with jax.set_mesh(train_program.mesh):
    state = train_program.init({})
    for step in range(3):
      batch = jax.tree.map(np.asarray, batch_of(LENGTHS, seed=step))
      placed = sharding.put_batch(batch, train_program.mesh, batch_size=ROWS)
      state, means = train_program.step(state, placed, Frozen())
  return jax.device_get(state.params), float(means["loss"].compute())


@functools.cache
def trained_on_one_row():
  return trained(model=8)


@pytest.mark.parametrize("mesh", [{"data": 4, "model": 2}, {"data": 2, "fsdp": 2, "model": 2}])
def test_microbatches_and_dropout_on_a_mesh(mesh):
  """Dropout on one row of devices and on others: the same numbers."""
  params, loss = trained_on_one_row()
  other, other_loss = trained(**mesh)
  np.testing.assert_allclose(loss, other_loss, rtol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), params, other)


@pytest.mark.parametrize("remat", ["layers", "matmuls"])
@pytest.mark.parametrize("key", [None, 5])
def test_recomputing_changes_nothing(remat, key):
  """With dropout too: what is computed again has the same key."""
  own_key = None if key is None else jax.random.key(key)
  with jax.debug_key_reuse(False):  # to use a key twice is what recomputing is
    found = loss_and_grads(network(remat=remat), key=own_key)
  assert_same(found, plainly(key), rtol=1e-5)


@pytest.mark.parametrize("remat", ["none", "layers"])
def test_scanned_layers_are_the_same_layers(remat):
  model = network(scan_layers=True, remat=remat)
  params = drawn(model)
  plain = drawn(network())
  jax.tree.map(np.testing.assert_array_equal, params, plain)  # a checkpoint of one is the other's
  assert_same(loss_and_grads(model), plainly(), rtol=1e-5)


def test_scanned_layers_give_every_layers_states():
  batch = batch_of(LENGTHS[:4])
  arrays = batch["ids"][:, 0], batch["mask"][:, 0]
  found, expected = (
    model.apply({"params": drawn_params()}, *arrays, method="hidden")
    for model in (network(scan_layers=True), network())
  )
  assert len(found) == len(expected) == 3
  for ours, theirs in zip(found, expected, strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_scanned_layers_drop_each_its_own():
  """Two layers with equal parameters and unequal masks; the same key gives the same result."""
  model = network(scan_layers=True)
  batch, params = batch_of(LENGTHS[:4]), drawn_params()
  encode = functools.partial(
    model.apply, {"params": params}, batch["ids"], batch["mask"], deterministic=False
  )

  def encoded(seed):
    return encode(rngs={"dropout": jax.random.key(seed)}, method="encode").h

  np.testing.assert_array_equal(encoded(0), encoded(0))
  assert not np.array_equal(encoded(0), encoded(1))


@pytest.mark.parametrize(
  ("chunks", "message"), [(0, "microbatches=0"), (3, "16 rows"), (32, "a divisor of that")]
)
def test_chunks_that_do_not_divide_are_named(chunks, message):
  with pytest.raises(UserError, match=message):
    microbatches.check_chunks(chunks, batch_size=64, shards=4)


def test_programs_that_there_are_not_are_named():
  with pytest.raises(UserError, match="program.remat='all' is none of none, layers, matmuls"):
    network(remat="all")
  with pytest.raises(UserError, match="modernbert' are not all alike"):
    modern = encoder_section("modernbert", width=16, heads=2, mlp_width=32, positions=40)
    given = ENCODER_ALONE | {"vocabulary": VOCABULARY, "max_tokens": 12, "scan_layers": True}
    make_model(**given, **model_section(encoder=modern))
