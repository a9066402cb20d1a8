"""Distillation against loops written from the paper's equation, and a case worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dap_jax.objectives import distillation
from dap_jax.training import build
from dap_jax.utils.errors import UserError
from tests import taught

OBJECTIVES = {"distillation": {"weight": 1.0}}
LENGTHS = [[5, 9], [7, 4], [3, 6]]
WIDTH = 16  # of student and teacher


def loss_of(context):
  loss, extras = distillation.objective(context)
  return loss.compute(), extras["teacher_cosine"].compute()


def test_it_is_the_equation():
  """Five examples in three languages, one of them without a teacher's vector."""
  rng = np.random.default_rng(1)
  z, vectors = rng.normal(size=(5, 3, 6)), rng.normal(size=(5, 3, 6))
  vectors[2, 0] = 0
  total, count = 0.0, 0
  for i in (0, 1, 3, 4):
    for k in range(3):
      for d in range(6):
        total += (z[i, k, d] - vectors[i, 0, d]) ** 2
        count += 1
  with jax.enable_x64(True):
    z, vectors = jnp.asarray(z), jnp.asarray(vectors)
    context = taught.context_of(z, vectors)
    np.testing.assert_allclose(loss_of(context)[0], total / count, rtol=1e-9)
    check_grads(lambda z: loss_of(context._replace(z=z))[0], (z,), order=1, modes=["rev"])


def test_two_sentences_by_hand():
  # Teacher of the pivots: (1, 0) and (0, 1). Differences: (0, 0), (-1, 1); (1, 0), (3, 3).
  # Squares add up to 0 + 2 + 1 + 18 = 21 over 8 numbers. Cosines: 1, 0, 1 / sqrt(2), 4 / 5.
  z = jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [3.0, 4.0]]])
  vectors = jnp.array([[[1.0, 0.0], [7.0, 7.0]], [[0.0, 1.0], [7.0, 7.0]]])
  found, cosine = loss_of(taught.context_of(z, vectors))
  np.testing.assert_allclose(found, 21 / 8, rtol=1e-6)
  np.testing.assert_allclose(cosine, (1 + 0 + 1 / np.sqrt(2) + 4 / 5) / 4, rtol=1e-6)


@pytest.fixture(scope="module")
def network():
  return taught.network_of(taught.OWN, width=WIDTH)


def test_padding_changes_nothing(network):
  """Nor does the teacher's own padding."""
  losses = taught.losses_of_paddings(OBJECTIVES, network=network, lengths=LENGTHS)
  np.testing.assert_allclose(*losses, rtol=2e-6)


def test_a_mesh_changes_nothing_and_the_teacher_stays(network, tmp_path):
  given = {"network": network, "steps": 2, "workdir": tmp_path}
  runs = [
    taught.trained(OBJECTIVES, mesh=mesh, **given)
    for mesh in ({"data": 8, "fsdp": 1, "model": 1}, {"data": 4, "fsdp": 1, "model": 2})
  ]
  (state, means, teacher), (other, other_means, other_teacher) = runs
  for name in means:
    np.testing.assert_allclose(means[name], other_means[name], rtol=2e-6, atol=2e-6, err_msg=name)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state.params, other.params)
  for after in (teacher, other_teacher):
    jax.tree.map(np.testing.assert_array_equal, after, jax.device_get(network[1]))


def test_every_parameter_learns(network):
  dense = {"width": WIDTH, "activation": "tanh"}
  train_program = taught.parts_of(
    OBJECTIVES, network=network, mesh={"data": 8, "fsdp": 1, "model": 1}, width=20, dense=dense
  )
  loss = taught.loss_of(train_program, network, taught.taught_batch(LENGTHS))
  student, teacher = jax.jit(jax.grad(loss, (0, 1)))(train_program.init({}).params, network[1])
  assert set(student) == {"encoder", "dense"}
  for path, gradient in jax.tree_util.tree_leaves_with_path(student):
    # A key's bias moves all logits of an attention row alike: only rounding is left.
    small = "key" in str(path) and "bias" in str(path)
    assert small or np.abs(gradient).max() > 1e-7, path
  assert not any(leaf.any() for leaf in jax.tree.leaves(teacher))


def test_other_widths_are_refused():
  context = taught.context_of(jnp.ones((2, 2, 6)), jnp.ones((2, 2, 4)))
  with pytest.raises(UserError, match=r"width 6, the teacher's 4: set model.dense.width=4"):
    distillation.objective(context)


def test_what_it_needs():
  assert build.needs(OBJECTIVES) == {"teacher"}
