"""Soft alignment against loops written from the paper's equations, and cases worked by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dap_jax.core import unit_vectors
from dap_jax.objectives import soft_alignment, translation_ranking
from dap_jax.training import build
from dap_jax.utils.errors import UserError
from tests import taught
from tests.test_objectives import RANKING

SETTINGS = {
  "strategy": "priority",
  "temperature": 0.1,
  "margin": 0.0,
  "monolingual_weight": 0.0,
  "matrix_mse": False,
}
LENGTHS = [[5, 9], [7, 4], [3, 6]]


def loss_of(context, **changes):
  def run(z):
    loss, extras = soft_alignment.objective(context._replace(z=z), **SETTINGS | changes)
    return loss.compute(), {name: mean.compute() for name, mean in extras.items()}

  return jax.jit(run)(context.z)


def cosine(a, b):
  return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def one_way(s, t, rows, candidates, *, temperature, margin, matrix_mse, hard):
  """l(s, t) over some rows, by loops."""
  total = 0.0
  for i in rows:
    columns = candidates[i]
    if matrix_mse:
      total += np.mean([(s[i, j] - t[i, j]) ** 2 for j in columns])
      continue
    logits = {j: (s[i, j] - margin * (t[i, j] > 0.95)) / temperature for j in columns}
    logsumexp = np.log(sum(np.exp(value) for value in logits.values()))
    weights = {j: float(i == j) if hard else np.exp(t[i, j] / temperature) for j in columns}
    for j in columns:
      w = weights[j] / sum(weights.values())
      total -= w * (logits[j] - logsumexp)
  return total


def reference(z, vectors, *, side=None, text_hash=None, strategy, monolingual_weight, **given):
  """L in numpy, pair by pair: z [B, K, D], vectors [B, K, D_T]."""
  examples, views = z.shape[:2]
  total, count = 0.0, 0
  for k in range(1, views):
    if strategy == "identity":
      rows, t = range(examples), np.eye(examples)
      same = [[text_hash[i, n] == text_hash[j, n] for n in (0, k)] for i in rows for j in rows]
      same = np.reshape([any(pair) for pair in same], (examples, examples))
      candidates = {i: [j for j in rows if i == j or not same[i, j]] for i in rows}
    else:
      asked = [[0, k] if strategy == "average" else [k * side[i][k - 1]] for i in range(examples)]
      rows = [i for i in range(examples) if all(vectors[i, a].any() for a in asked[i])]
      candidates = dict.fromkeys(rows, rows)
      t = np.zeros((examples, examples))
      for i in rows:
        for j in rows:
          both = zip(asked[i], asked[j], strict=True)
          t[i, j] = np.mean([cosine(vectors[i, a], vectors[j, b]) for a, b in both])
    terms = [(k, 0, 1.0), (k, k, monolingual_weight), (0, 0, monolingual_weight)]
    for first, second, weight in terms:
      s = np.array([[cosine(a, b) for b in z[:, second]] for a in z[:, first]])
      hard = strategy == "identity"
      for matrix, target in ((s, t), (s.T, t.T)):
        total += weight * one_way(matrix, target, rows, candidates, hard=hard, **given)
    count += len(rows)
  return total / count


@pytest.mark.parametrize("strategy", ["priority", "average", "identity"])
@pytest.mark.parametrize(
  "changes",
  [{}, {"margin": 0.3}, {"monolingual_weight": 0.7, "temperature": 0.4}, {"matrix_mse": True}],
)
def test_it_is_the_equation(strategy, changes):
  """Seven examples in three languages: the same text twice, and two texts without a vector."""
  rng = np.random.default_rng(1)
  z, vectors = rng.normal(size=(7, 3, 6)), rng.normal(size=(7, 3, 5))
  z[4, 0], vectors[4, 0] = z[2, 0], vectors[2, 0]
  vectors[5, 0] = vectors[6, 2] = 0
  text_hash = np.arange(21).reshape(7, 3)
  text_hash[4, 0] = text_hash[2, 0]
  side = rng.integers(0, 2, (7, 2))
  settings = SETTINGS | {"strategy": strategy} | changes
  expected = reference(z, vectors, side=side, text_hash=text_hash, **settings)
  with jax.enable_x64(True):
    z, vectors = jnp.asarray(z), jnp.asarray(vectors)
    context = taught.context_of(z, vectors, side=side, text_hash=text_hash)
    found, _ = loss_of(context, **settings)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    whole = functools.partial(gradient_of, context, settings)
    check_grads(whole, (z,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


def gradient_of(context, settings, z):
  return loss_of(context._replace(z=z), **settings)[0]


def two_sentences():
  """Student: cosines [[1, 0], [.6, .8]] of translations with pivots; the teacher's are .6."""
  z = jnp.array([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 3.0], [0.6, 0.8]]])
  vectors = jnp.array([[[1.0, 0.0], [0.0, 0.0]], [[3.0, 4.0], [0.0, 0.0]]])
  return taught.context_of(z, vectors)


def test_two_sentences_by_hand():
  # t = [[1, .6], [.6, 1]], tau = .5: w = softmax(2, 1.2), so a on the diagonal, 1 - a beside it.
  # Rows of s / tau: (2, 0) and (1.2, 1.6), differences 2 and .4; rows of s^T: (2, 1.2) and
  # (0, 1.6), differences .8 and 1.6. A row with difference d costs log(1 + e^-d) + (1 - a) d.
  a = 1 / (1 + np.exp(-0.8))
  expected = sum(np.log(1 + np.exp(-d)) + (1 - a) * d for d in (2, 0.4, 0.8, 1.6)) / 2
  found, extras = loss_of(two_sentences(), temperature=0.5)
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  # The teacher's cosines off the diagonal are .6 and .6: no correlation is defined.
  assert extras == {"teacher_correlation": 0}
  # The margin falls on the diagonal, where t = 1: differences less .1 / .5.
  expected = sum(np.log(1 + np.exp(-d)) + (1 - a) * d for d in (1.8, 0.2, 0.6, 1.4)) / 2
  found, _ = loss_of(two_sentences(), temperature=0.5, margin=0.1)
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_two_sentences_by_hand_with_hard_labels_and_squares():
  found, extras = loss_of(two_sentences(), strategy="identity", temperature=0.5)
  expected = sum(np.log(1 + np.exp(-d)) for d in (2, 0.4, 0.8, 1.6)) / 2
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert extras == {}
  # s - t = [[0, -.6], [0, -.2]]; the mean of the squares is .1, and counts both ways.
  found, _ = loss_of(two_sentences(), matrix_mse=True)
  np.testing.assert_allclose(found, 0.2, rtol=1e-6)


def test_hard_labels_are_translation_ranking_both_ways():
  """Their mean is TR's `both`, a sum here; duplicates are masked in the same places."""
  z = jax.random.normal(jax.random.key(1), (6, 2, 8))
  text_hash = np.arange(12).reshape(6, 2)
  text_hash[3, 0], text_hash[5, 1] = text_hash[1, 0], text_hash[0, 1]
  context = taught.context_of(z, jnp.zeros((6, 2, 4)), text_hash=text_hash)
  found, _ = loss_of(context, strategy="identity", temperature=RANKING["temperature"])
  ranking, _ = translation_ranking.objective(context, **RANKING | {"direction": "both"})
  np.testing.assert_allclose(found, 2 * ranking.compute(), rtol=1e-6)


def test_a_pair_without_a_vector_is_as_if_it_were_not_there():
  z = jax.random.normal(jax.random.key(1), (5, 2, 8))
  vectors = jax.random.normal(jax.random.key(2), (5, 2, 4)).at[2, 0].set(0)
  kept = np.array([0, 1, 3, 4])
  for changes in ({}, {"matrix_mse": True}, {"monolingual_weight": 1.0}):
    found, extras = loss_of(taught.context_of(z, vectors), **changes)
    expected, others = loss_of(taught.context_of(z[kept], vectors[kept]), **changes)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(
      extras["teacher_correlation"], others["teacher_correlation"], rtol=1e-5
    )


def test_the_correlation_is_numpys():
  z = jax.random.normal(jax.random.key(1), (6, 2, 8))
  vectors = jax.random.normal(jax.random.key(2), (6, 2, 4))
  s = unit_vectors.cosines(z[:, 1], z[:, 0])
  t = unit_vectors.cosines(vectors[:, 0], vectors[:, 0])
  others = ~np.eye(6, dtype=bool)
  expected = np.corrcoef(np.asarray(s)[others], np.asarray(t)[others])[0, 1]
  _, extras = loss_of(taught.context_of(z, vectors))
  np.testing.assert_allclose(extras["teacher_correlation"], expected, rtol=1e-5)


@pytest.fixture(scope="module")
def network():
  return taught.network_of(taught.OWN, width=24)


def objectives_of(**changes):
  return {"soft_alignment": {"weight": 1.0, **SETTINGS, **changes}}


def test_padding_changes_nothing(network):
  """Nor does the teacher's own padding."""
  losses = taught.losses_of_paddings(
    objectives_of(monolingual_weight=1.0), network=network, lengths=LENGTHS
  )
  np.testing.assert_allclose(*losses, rtol=2e-6)


def test_a_mesh_changes_nothing_and_the_teacher_stays(network, tmp_path):
  given = {"network": network, "steps": 2}
  runs = [
    taught.trained(objectives_of(), mesh=mesh, workdir=tmp_path, **given)
    for mesh in ({"data": 8, "fsdp": 1, "model": 1}, {"data": 4, "fsdp": 1, "model": 2})
  ]
  (state, means, teacher), (other, other_means, other_teacher) = runs
  for name in means:
    np.testing.assert_allclose(means[name], other_means[name], rtol=2e-6, atol=2e-6, err_msg=name)
  assert means["teacher_correlation"] != 0
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state.params, other.params)
  for after in (teacher, other_teacher):
    jax.tree.map(np.testing.assert_array_equal, after, jax.device_get(network[1]))


def test_every_parameter_learns(network):
  train_program = taught.parts_of(
    objectives_of(),
    network=network,
    mesh={"data": 8, "fsdp": 1, "model": 1},
    projection=True,
    dense={"width": 20, "activation": "tanh"},
  )
  loss = taught.loss_of(train_program, network, taught.taught_batch(LENGTHS))
  student, teacher = jax.jit(jax.grad(loss, (0, 1)))(train_program.init({}).params, network[1])
  assert set(student) == {"encoder", "dense", "projection"}
  for path, gradient in jax.tree_util.tree_leaves_with_path(student):
    # A key's bias moves all logits of an attention row alike: only rounding is left.
    small = "key" in str(path) and "bias" in str(path)
    assert small or np.abs(gradient).max() > 1e-7, path
  assert not any(leaf.any() for leaf in jax.tree.leaves(teacher))


def test_matryoshka_adds_the_first_dimensions():
  z = jax.random.normal(jax.random.key(1), (6, 2, 8))
  context = taught.context_of(z, jax.random.normal(jax.random.key(2), (6, 2, 4)))
  context = context._replace(negatives=jnp.zeros((6, 0, 8)))
  nested = build.make_objectives(objectives_of(), matryoshka_dimensions=(3,))["soft_alignment"]
  expected = loss_of(context)[0] + loss_of(context._replace(z=z[..., :3]))[0]
  np.testing.assert_allclose(nested.function(context)[0].compute(), expected, rtol=1e-6)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"strategy": "none"}, "strategy 'none' is none of priority, average, identity"),
    ({"matrix_mse": True, "margin": 0.1}, "margin=0.1 has no meaning with matrix_mse"),
    ({"strategy": "average"}, "name the languages that it reads in teacher.languages"),
  ],
)
def test_mistakes(changes, message):
  with pytest.raises(UserError, match=message):
    loss_of(two_sentences(), **changes)


def test_what_it_needs():
  assert build.needs(objectives_of()) == build.needs(objectives_of(strategy="average"))
  assert build.needs(objectives_of()) == {"teacher"}
  assert build.needs(objectives_of(strategy="identity")) == set()
