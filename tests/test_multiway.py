"""Multi-way alignment: the formula, its gradients, what changes nothing, the initial vectors.

Expected values: numpy loops written from the formula, cases worked by hand, finite differences.
"""

import itertools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from configs import dap_multiway
from configs import multiway as multiway_config
from dap_jax.core import train_step
from dap_jax.core.objective import Context, Objective
from dap_jax.core.train_step import Frozen
from dap_jax.distributed import parameters, sharding
from dap_jax.objectives import multiway
from dap_jax.training import build, start
from tests.commands import final_state, lines_of
from tests.models import drawn
from tests.test_build import BUILT
from tests.test_masked_lm import batch_of
from tests.test_objectives import VOCABULARY, tiny

SETTINGS = {"temperature": 0.3, "hardness": 2.0, "anchor": 0.0}


def context_of(z, text_hash=None, initial=None):
  if text_hash is None:
    text_hash = np.arange(z[..., 0].size).reshape(z.shape[:2])
  given = {} if initial is None else {"initial": lambda: initial}
  return Context(
    {"text_hash": jnp.asarray(text_hash)}, None, z, VOCABULARY, jax.random.key(0), **given
  )


def loss_of(z, *, text_hash=None, initial=None, **changes):
  context = context_of(jnp.asarray(z), text_hash, initial)
  return multiway.objective(context, **SETTINGS | changes)[0].compute()


def reference(z, initial, text_hash, *, temperature, hardness, anchor):
  """The formula, one anchor after the other."""
  places = list(np.ndindex(z.shape[:2]))
  losses = []

  def cosine(a, b):
    return z[a] @ z[b] / np.sqrt((z[a] @ z[a]) * (z[b] @ z[b]))

  def same(a, b):
    rows = text_hash[a[0]], text_hash[b[0]]
    return rows[0][0] == rows[1][0] or text_hash[b] in rows[0] or text_hash[a] in rows[1]

  for i in places:
    positives = [p for p in places if p[0] == i[0] and p != i]
    negatives = [n for n in places if n[0] != i[0] and not same(i, n)]
    if not negatives:
      continue
    weights = np.exp([-hardness * cosine(i, p) for p in positives])
    weights *= len(positives) / weights.sum()
    repulsion = np.log(sum(np.exp(cosine(i, n) / temperature) for n in negatives))
    terms = [
      w * -cosine(i, p) / temperature + repulsion for w, p in zip(weights, positives, strict=True)
    ]
    losses.append(np.mean(terms) + anchor * ((z[i] - initial[i]) ** 2).sum())
  return np.mean(losses)


@pytest.mark.parametrize("views", [2, 4])
@pytest.mark.parametrize("changes", [{}, {"hardness": 0.0}, {"anchor": 0.7}])
def test_it_equals_loops(views, changes):
  rng = np.random.default_rng(1)
  z, initial = rng.normal(size=(2, 5, views, 6))
  # From few numbers: equal pivots, texts that two rows share, and a row like no other.
  text_hash = rng.integers(0, 12, (5, views))
  text_hash[3] = 100 + np.arange(views)
  expected = reference(z, initial, text_hash, **SETTINGS | changes)
  with jax.enable_x64(True):
    found = loss_of(z, text_hash=text_hash, initial=jnp.asarray(initial), **changes)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_worked_by_hand():
  """Rows ([1, 0], [3, 4], [0, 2]) and ([0, 1], [0, 1], [0, 1]) with t = 1, hardness 0.

  Cosines within the first: .6, 0, .8; within the second 1. Across: 0, .8, 1, each three times. So
  anchors of the first have log 3 + (0, .8, 1) - (.3, .7, .4); those of the second have
  log(1 + e^.8 + e) - 1 each.
  """
  z = jnp.array([[[1.0, 0.0], [3.0, 4.0], [0.0, 2.0]], [[0.0, 1.0]] * 3])
  expected = (3 * np.log(3) + 0.4 + 3 * (np.log(1 + np.exp(0.8) + np.e) - 1)) / 6
  changes = {"temperature": 1.0, "hardness": 0.0}
  np.testing.assert_allclose(loss_of(z, **changes), expected, rtol=1e-6)
  # Vectors that began shorter by half: mu times the mean of their squared lengths / 4.
  moved = (1 + 25 + 4 + 1 + 1 + 1) / 4 / 6
  found = loss_of(z, initial=z / 2, anchor=0.1, **changes)
  np.testing.assert_allclose(found, expected + 0.1 * moved, rtol=1e-6)
  _, extras = multiway.objective(context_of(z), **SETTINGS | changes)
  values = {name: float(mean.compute()) for name, mean in extras.items()}
  assert values == pytest.approx(
    {
      "multiway_masked": 0,
      "multiway_positive_cosine": (2 * (0.6 + 0 + 0.8) + 6) / 12,
      "multiway_worst_positive_cosine": (0 + 0.6 + 0 + 3) / 6,
      "multiway_negative_cosine": 1.8 / 3,
    },
    abs=1e-6,
  )


def test_weights_by_hand():
  """Positives of cosine 1 and 0 at hardness log 3: weights 1/2 and 3/2; their mean is 1."""
  cosine = jnp.array([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.5], [0.0, 0.5, 1.0]]])
  weights = multiway.positive_weights(cosine, hardness=np.log(3.0))
  np.testing.assert_allclose(weights[0, 0], [0, 0.5, 1.5], rtol=1e-6)
  np.testing.assert_allclose(weights.sum(-1), 2, rtol=1e-6)


def test_no_gradient_through_the_weights():
  """At hardness 0 and at another with the weights held, the slope by a positive differs by w."""
  z = jax.random.normal(jax.random.key(3), (3, 3, 4))

  def held(z, weights):
    u = z / jnp.linalg.norm(z, axis=-1, keepdims=True)
    plain = loss_of(z, hardness=0.0)
    positive = jnp.einsum("bkd,bld->bkl", u, u)
    apart = 1 - jnp.eye(3)[None]
    return plain - (((weights - apart) * positive).sum(-1) / 2 / 0.3).mean()

  u = z / jnp.linalg.norm(z, axis=-1, keepdims=True)
  weights = multiway.positive_weights(jnp.einsum("bkd,bld->bkl", u, u), hardness=2.0)
  ours, theirs = jax.jit(jax.grad(loss_of))(z), jax.jit(jax.grad(held))(z, weights)
  np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_gradients_are_those_of_finite_differences():
  with jax.enable_x64(True):
    z, initial = jax.random.normal(jax.random.key(5), (2, 3, 3, 4), jnp.float64)
    check_grads(
      lambda z: loss_of(z, initial=initial, hardness=0.0, anchor=0.2),
      (z,),
      order=1,
      modes=["rev"],
      rtol=1e-7,
    )


def test_a_shared_text_links_two_rows():
  """Row 1's second text is row 0's third; rows 2 and 3 have one pivot."""
  text_hash = jnp.array([[0, 1, 2], [3, 2, 4], [5, 6, 7], [5, 8, 9]])
  same = np.asarray(multiway.same_example(text_hash)).reshape(4, 3, 4, 3)
  np.testing.assert_array_equal(same, same.transpose(2, 3, 0, 1))
  for b, c in itertools.product(range(4), repeat=2):
    expected = np.zeros((3, 3), bool)
    if b == c or {b, c} == {2, 3}:
      expected[:] = True
    elif (b, c) == (0, 1):  # of row 0 with row 1: its third text with all, all with the shared one
      expected[2, :] = expected[:, 1] = True
    elif (b, c) == (1, 0):
      expected[1, :] = expected[:, 2] = True
    np.testing.assert_array_equal(same[b, :, c], expected)


def test_an_anchor_without_negatives_does_not_count():
  """Two rows of one pivot have a third as their negatives; without it the loss is 0."""
  z = jax.random.normal(jax.random.key(6), (3, 2, 4))
  text_hash = np.array([[1, 2], [1, 3], [4, 5]])
  assert np.isfinite(loss_of(z, text_hash=text_hash))
  assert loss_of(z[:2], text_hash=text_hash[:2]) == 0
  slope = jax.grad(lambda z: loss_of(z, text_hash=text_hash[:2]))(z[:2])
  np.testing.assert_array_equal(slope, 0)


def test_needs():
  assert multiway.needs(SETTINGS) == set()
  assert multiway.needs(SETTINGS | {"anchor": 0.1}) == {"initial"}


# ---- in a model


def parts_of(*, config=multiway_config, matryoshka_dimensions=(), anchor=0.1, **mesh):
  config = config.get_config()
  encoder = config.model.encoder
  encoder.layers, encoder.width, encoder.heads, encoder.mlp_width = 1, 16, 2, 32
  config.max_tokens, config.mesh = 12, {"data": -1, "fsdp": 1, "model": 1} | mesh
  config.objectives.multiway.anchor, config.optimizer.warmup_steps = anchor, 0
  config = config.to_dict()
  given = {key: config[key] for key in (*BUILT, "mesh")}
  return build.build(vocabulary=VOCABULARY, matryoshka_dimensions=matryoshka_dimensions, **given)


def stepped(train_program, batch, *, steps=2):
  """The parameters after some steps on one batch, and the means of the first."""
  state, first = train_program.init({}), None
  initial = jax.tree.map(jnp.copy, state.params)
  for _ in range(steps):
    size = len(batch["ids"])
    state, means = train_program.step(
      state, sharding.put_batch(batch, train_program.mesh, batch_size=size), Frozen(initial=initial)
    )
    means = {name: float(mean.compute()) for name, mean in means.items()}
    first = first or means
  return jax.device_get(state.params), first, means


LENGTHS = np.random.default_rng(0).integers(3, 10, (8, 4)).tolist()


def test_padding_changes_nothing():
  model = tiny(pooling="mean")
  params = drawn(model)
  own = Objective(1.0, lambda context: multiway.objective(context, **SETTINGS))

  @jax.jit
  def loss(batch):
    return train_step.loss_fn(
      params, batch, model=model, objectives={"multiway": own}, vocabulary=VOCABULARY, key=None
    )[0]

  short, long = (loss(batch_of(LENGTHS, padded=padded)) for padded in (9, 12))
  np.testing.assert_allclose(short, long, rtol=2e-6)


def test_a_mesh_changes_nothing():
  """TR, RTL and multi-way alignment on rows of four, the initial vectors too."""
  batch = batch_of(LENGTHS)
  params, first, _ = stepped(parts_of(config=dap_multiway, data=8, model=1), batch)
  other, other_first, _ = stepped(parts_of(config=dap_multiway, data=4, model=2), batch)
  assert {"multiway", "translation_ranking", "representation_translation"} <= set(first)
  for name in first:
    np.testing.assert_allclose(first[name], other_first[name], rtol=2e-6, atol=2e-6, err_msg=name)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), params, other)


def test_the_distance_starts_at_nothing_and_every_parameter_moves():
  train_program, batch = parts_of(data=8, model=1), batch_of(LENGTHS)
  before = jax.device_get(train_program.init({}).params)
  params, first, second = stepped(train_program, batch, steps=2)
  assert first["initial_distance"] < 1e-9 < second["initial_distance"]  # rounding of two programs
  for path, old in jax.tree_util.tree_leaves_with_path(before):
    new = params
    for key in path:
      new = new[key.key]
    name = parameters.path_name(path)
    if "key/bias" in name:  # its gradient is exactly zero: softmax does not see it
      continue
    assert (new != old).any(), name


def test_matryoshka_compares_the_same_first_dimensions():
  """Nested dimensions of a model that has moved: finite, and a sum over both widths."""
  batch = batch_of(LENGTHS)
  _, _, plain = stepped(parts_of(data=8, model=1), batch, steps=2)
  _, _, nested = stepped(parts_of(data=8, model=1, matryoshka_dimensions=(4,)), batch, steps=2)
  assert np.isfinite(nested["multiway"]) and nested["multiway"] != plain["multiway"]
  z, initial = jax.random.normal(jax.random.key(8), (2, 3, 3, 6))
  objective = build.make_objectives(
    {"multiway": {"weight": 1.0, **SETTINGS, "anchor": 0.3}}, matryoshka_dimensions=(4,)
  )["multiway"].function
  context = context_of(z, initial=initial)._replace(negatives=jnp.zeros((3, 0, 6)))
  narrow = loss_of(z[..., :4], initial=initial[..., :4], anchor=0.3)
  expected = narrow + loss_of(z, initial=initial, anchor=0.3)
  np.testing.assert_allclose(objective(context)[0].compute(), expected, rtol=1e-6)


# ---- the kept parameters


FLAGS = (
  "--config.steps=30",
  "--config.data.views=3",
  "--config.objectives.translation_ranking.weight=0.0",
  "--config.objectives.representation_translation.weight=0.0",
  "--config.objectives.multiway.weight=1.0",
  "--config.objectives.multiway.anchor=0.5",
  "--config.checkpoint.keep_last=3",
)


@pytest.fixture(scope="module")
def straight(commands):
  """A workdir after 30 steps at once, with checkpoints 10, 20 and 30."""
  run = commands.prepared("multiway")
  said = commands.run(*commands.train_flags(run, *FLAGS))
  assert "16 examples x 3 views" in said
  return run


def stopped_at_10(commands, straight, name):
  """A copy of the run as it was after step 10."""
  run = commands.folder / name
  shutil.copytree(straight, run)
  for step in (20, 30):
    shutil.rmtree(run / "checkpoints" / str(step))
  return run


def test_a_resumed_run_compares_with_the_same_beginning(commands, straight):
  run = stopped_at_10(commands, straight, "multiway_resumed")
  said = commands.run(*commands.train_flags(run, *FLAGS))
  assert "resumed at step 10" in said
  (ours, step), (theirs, _) = final_state(run), final_state(straight)
  assert step == 30
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)
  distances = [
    [line["initial_distance"] for line in lines_of(own) if line["step"] > 10 and "loss" in line]
    for own in (run, straight)
  ]
  assert distances[0] == distances[1] and min(distances[0]) > 0


def test_without_the_kept_parameters_a_run_does_not_go_on(commands, straight):
  run = stopped_at_10(commands, straight, "multiway_damaged")
  shutil.rmtree(run / "initial")
  said = commands.fail(*commands.train_flags(run, *FLAGS))
  assert "initial is gone" in said and "another --workdir" in said
  assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["10"]


def test_a_start_that_failed_early_begins_again(tmp_path):
  """Placed twice at step 0, as by a run that was killed before its first checkpoint."""
  train_program = parts_of(data=8, model=1)
  state = train_program.init({})
  for _ in range(2):
    placed = start.place_frozen(train_program, state, step=0, workdir=tmp_path, teacher=None)
    jax.tree.map(np.testing.assert_array_equal, placed.initial, state.params)
  again = start.place_frozen(train_program, state, step=7, workdir=tmp_path, teacher=None)
  jax.tree.map(np.testing.assert_array_equal, again.initial, state.params)
  for ours, wanted in zip(
    jax.tree.leaves(again.initial),
    jax.tree.leaves(train_program.abstract_frozen.initial),
    strict=True,
  ):
    assert ours.sharding == wanted.sharding
