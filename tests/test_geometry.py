"""Alignment, uniformity and cosines against a case worked by hand and loops over all pairs."""

import jax
import jax.numpy as jnp
import numpy as np

from dap_jax.core.geometry import geometry


def test_worked_by_hand():
  # Pivots along (1, 0) and (0, 1); translations along (0, 1) and (0, -1): own cosines 0 and -1, so
  # squared distances 2 and 4; crossed cosines cos(p0, t1) = 0 and cos(p1, t0) = 1. The pivots are
  # sqrt(2) apart, the translations 2: uniformity log exp(-2 * 2) = -4 and log exp(-2 * 4) = -8.
  z = jnp.array([[[3.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [0.0, -5.0]]])
  found = {name: float(mean.compute()) for name, mean in geometry(z).items()}
  expected = {"alignment": 3.0, "uniformity": -6.0, "off_diagonal_cosine": 0.5}
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


def test_against_loops():
  z = jax.random.normal(jax.random.key(0), (5, 3, 7))
  u = np.asarray(z, np.float64) / np.linalg.norm(z, axis=-1, keepdims=True)
  pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
  own = [((u[i, 0] - u[i, k]) ** 2).sum() for i in range(5) for k in (1, 2)]
  crossed = [u[i, 0] @ u[j, k] for i, j in pairs for k in (1, 2)]
  spread = [
    np.log(np.mean([np.exp(-2 * ((u[i, k] - u[j, k]) ** 2).sum()) for i, j in pairs]))
    for k in range(3)
  ]
  found = geometry(z)
  np.testing.assert_allclose(found["alignment"].compute(), np.mean(own), rtol=1e-5)
  np.testing.assert_allclose(found["off_diagonal_cosine"].compute(), np.mean(crossed), rtol=1e-4)
  np.testing.assert_allclose(found["uniformity"].compute(), np.mean(spread), rtol=1e-5)


def test_a_collapse_is_seen():
  """All vectors equal: alignment and uniformity 0, the highest they can be, and cosine 1."""
  found = {name: float(mean.compute()) for name, mean in geometry(jnp.ones((4, 2, 3))).items()}
  np.testing.assert_allclose(found["off_diagonal_cosine"], 1.0, rtol=1e-6)
  np.testing.assert_allclose([found["alignment"], found["uniformity"]], 0.0, atol=1e-6)


def test_the_pairs_of_a_large_batch_are_counted():
  """65,536 examples have 4,294,901,760 ordered pairs, which no int32 holds."""
  shapes = jax.eval_shape(geometry, jax.ShapeDtypeStruct((65_536, 2, 8), jnp.float32))
  assert shapes.keys() == {"alignment", "uniformity", "off_diagonal_cosine"}


def test_single_texts_have_none():
  assert geometry(jnp.ones((4, 1, 3))) == {}
