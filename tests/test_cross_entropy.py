"""The chunked cross-entropy against a case by hand and against the plain one, differentiated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from dap_jax.core import cross_entropy
from dap_jax.core.cross_entropy import FactoredLogits, summed_cross_entropy
from dap_jax.distributed import sharding


def example(*, rows=8, length=7, width=6, ids=11, dtype=jnp.float32):
  keys = jax.random.split(jax.random.key(0), 5)
  states = jax.random.normal(keys[0], (rows, length, width), dtype)
  kernel = jax.random.normal(keys[1], (width, ids), jnp.promote_types(dtype, jnp.float32))
  bias = jax.random.normal(keys[2], (ids,), kernel.dtype)
  labels = jax.random.randint(keys[3], (rows, length), 0, ids, jnp.int32)
  return FactoredLogits(states, kernel, bias), labels, jax.random.bernoulli(keys[4], 0.6, (8, 7))


def plain(logits, labels, weights):
  losses = -jnp.take_along_axis(jax.nn.log_softmax(logits.multiply()), labels[..., None], -1)
  return jnp.where(weights, losses[..., 0], 0).sum()


def with_bags(labels, *, width=5):
  """The labels and four more of each state, some of them alike, and weights that are no 0 or 1."""
  keys = jax.random.split(jax.random.key(1))
  more = jax.random.randint(keys[0], (*labels.shape, width), 0, 4, jnp.int32)
  return more.at[..., 0].set(labels), jax.random.uniform(keys[1], more.shape, jnp.float64)


def keep_slopes(monkeypatch, *, tokens, ids, bytes_each):
  """Lets a device keep the derivatives by the logits of so many tokens."""
  monkeypatch.setattr(cross_entropy, "SLOPES", tokens * ids * bytes_each)


def test_by_hand():
  logits = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1 / 3] * 3]]))
  factored = FactoredLogits(logits, jnp.eye(3), jnp.zeros(3))
  weights = jnp.array([[True, True, False]])
  total = summed_cross_entropy(factored, jnp.array([[0, 2, 1]]), weights, chunk=2)
  np.testing.assert_allclose(total, np.log(2) - np.log(0.8), rtol=1e-6)


@pytest.mark.parametrize("kept", [1, 13, 2**20])
@pytest.mark.parametrize("chunk", [1, 6, 15, 56, 100])
def test_any_chunk_is_the_plain_loss_and_its_gradient(chunk, kept, monkeypatch):
  """With the slopes of one chunk, of several and of all at a time."""
  with jax.enable_x64(True):
    keep_slopes(monkeypatch, tokens=kept, ids=example()[0].bias.size, bytes_each=8)
    logits, labels, weights = example(dtype=jnp.float64)
    expected, slope = jax.value_and_grad(plain)(logits, labels, weights)

    def chunked(logits):
      return 3 * summed_cross_entropy(logits, labels, weights, chunk=chunk)

    np.testing.assert_allclose(chunked(logits), 3 * expected, rtol=1e-12)
    value, found = jax.value_and_grad(chunked)(logits)
    np.testing.assert_allclose(value, 3 * expected, rtol=1e-12)
    for ours, theirs in zip(found, slope, strict=True):
      np.testing.assert_allclose(ours, 3 * theirs, atol=1e-12)


@pytest.mark.parametrize("chunk", [6, 15, 100])
def test_several_labels_of_a_state_are_a_sum_over_them(chunk):
  with jax.enable_x64(True):
    logits, labels, _ = example(dtype=jnp.float64)
    labels, weights = with_bags(labels)

    def summed(logits):
      losses = -jnp.take_along_axis(jax.nn.log_softmax(logits.multiply()), labels, -1)
      return (weights * losses).sum()

    def chunked(logits):
      return summed_cross_entropy(logits, labels, weights, chunk=chunk)

    expected, slope = jax.value_and_grad(summed)(logits)
    value, found = jax.value_and_grad(chunked)(logits)
    np.testing.assert_allclose([value, chunked(logits)], expected, rtol=1e-12)
    for ours, theirs in zip(found, slope, strict=True):
      np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_bfloat16_states_keep_float32_sums():
  logits, labels, weights = example(dtype=jnp.bfloat16)
  value, found = jax.value_and_grad(
    lambda logits: summed_cross_entropy(logits, labels, weights, chunk=2)
  )(logits)
  assert value.dtype == found.kernel.dtype == found.bias.dtype == jnp.float32
  assert found.states.dtype == jnp.bfloat16
  exact = jax.grad(plain)(logits, labels, weights)
  np.testing.assert_allclose(found.kernel, exact.kernel, atol=0.03)


@pytest.mark.parametrize("bag", [None, 24])
def test_memory_holds_the_logits_of_few_chunks(bag, monkeypatch):
  """What the compiler sets aside: the slopes of four chunks, 65,536 each, and less than six more.

  With 24 labels of each state too.
  """
  keep_slopes(monkeypatch, tokens=4 * 32, ids=2048, bytes_each=4)

  def needed(rows):
    logits, labels, _ = example(rows=rows, length=8, width=2, ids=2048)
    labels = labels if bag is None else jnp.repeat(labels[..., None], bag, axis=-1)
    weights = jnp.ones(labels.shape, bool)

    def loss(logits):
      return summed_cross_entropy(logits, labels, weights, chunk=32)

    compiled = jax.jit(jax.value_and_grad(loss)).lower(logits).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert needed(8) <= needed(512) < 10 * 32 * 2048 * 4


def test_devices_meet_once_after_the_loop():
  """On 8 devices: the same gradient, and no collective inside the loop over chunks."""
  mesh = sharding.make_mesh(data=8, model=1)
  logits, labels, weights = example()
  rows, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
  places = FactoredLogits(rows, everywhere, everywhere)

  @jax.jit(in_shardings=(places, rows, rows), out_shardings=(everywhere, places))
  def step(logits, labels, weights):
    def loss(logits):
      return summed_cross_entropy(logits, labels, weights, chunk=2)

    return jax.value_and_grad(loss)(logits)

  with jax.set_mesh(mesh):
    compiled = step.lower(logits, labels, weights).compile()
  value, found = compiled(*jax.device_put((logits, labels, weights), (places, rows, rows)))
  expected, slope = jax.value_and_grad(plain)(logits, labels, weights)
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  for ours, theirs in zip(found, slope, strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
  bodies = compiled.as_text().split("\n\n")
  reducing = [body for body in bodies if "all-reduce(" in body or "all-gather(" in body]
  assert len(reducing) == 1
  assert "ENTRY" in reducing[0]
