"""Our dropout against flax's own, the independent implementation."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dap_jax.model import dropout


class Around(nn.Module):
  """A layer with dropout in it: flax makes its key from its place, `Dropout_0`."""

  kind: type[nn.Module]

  @nn.compact
  def __call__(self, x):
    return self.kind(0.3)(x, deterministic=False)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_it_has_the_bits_of_flax(dtype):
  x = jax.random.normal(jax.random.key(0), (64, 48), dtype)

  def applied(kind):
    return jax.value_and_grad(
      lambda x: (Around(kind).apply({}, x, rngs={"dropout": jax.random.key(1)}) ** 2).sum()
    )(x)

  (found, gradient), (expected, its_gradient) = applied(dropout.Dropout), applied(nn.Dropout)
  assert found.dtype == dtype
  np.testing.assert_array_equal(found, expected)
  np.testing.assert_array_equal(gradient, its_gradient)
  assert 0.2 < np.mean(np.asarray(gradient, np.float32) == 0) < 0.4


@pytest.mark.parametrize(("rate", "deterministic"), [(0.0, False), (0.5, True)])
def test_without_chance_it_needs_no_key(rate, deterministic):
  x = jnp.ones((2, 3))
  found = dropout.Dropout(rate).apply({}, x, deterministic=deterministic)
  np.testing.assert_array_equal(found, x)
