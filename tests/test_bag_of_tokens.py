"""Bag of tokens (XTR): loops in float64, a case by hand, and what must not change it.

Expected values: the equation over dictionaries of counts, with the head written out in numpy.
"""

import collections
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from configs import ems
from dap_jax.core.cross_entropy import FactoredLogits
from dap_jax.core.objective import Context
from dap_jax.objectives import bag_of_tokens
from dap_jax.training import build
from dap_jax.utils.errors import UserError
from dap_jax.workdir import restore
from tests.commands import lines_of
from tests.test_masked_lm import (
  LENGTHS,
  OTHERS,
  VOCABULARY,
  assert_a_mesh_changes_nothing,
  assert_microbatches_change_nothing,
  batch_of,
  head_by_hand,
  loss_of,
  network_of,
  without_gradient,
)

BOTH = functools.partial(bag_of_tokens.objective, direction="both")


def repeating(lengths=LENGTHS, **given):
  """A batch whose sentences say many of their few words twice."""
  batch = batch_of(lengths, **given)
  ordinary = batch["ids"] >= 5
  return batch | {"ids": np.where(ordinary, 5 + batch["ids"] % 4, batch["ids"]).astype(np.int32)}


def divergence(p, log_q):
  """KL of a dictionary of counts and log-probabilities [V]."""
  n = sum(p.values())
  return sum(count / n * (np.log(count / n) - log_q[v]) for v, count in p.items())


def reference(model, params, batch, *, direction):
  """The sum of the losses of all pairs, and their number: each sentence is encoded alone."""
  head, words = params["bag_of_tokens"], params["encoder"]["embeddings"]["word"]["embedding"]
  encode = jax.jit(functools.partial(model.apply, deterministic=True, method="encode"))
  total, count = 0.0, 0
  for b, k in np.ndindex(batch["mask"].shape[0], batch["mask"].shape[1] - 1):
    routes = {"to_pivot": [(k + 1, 0)], "from_pivot": [(0, k + 1)]}
    for source, target in routes.get(direction, routes["to_pivot"] + routes["from_pivot"]):
      one = np.s_[b : b + 1, source : source + 1]
      z = encode({"params": params}, batch["ids"][one], batch["mask"][one]).z[0, 0]
      e = head["language"]["embedding"][batch["language"][b, target]]
      log_q = head_by_hand(head["head"], np.concatenate([z, e]), words)
      bag = collections.Counter(
        v for v in batch["ids"][b, target].tolist() if v not in (0, 2, 3, 4)
      )
      if bag:
        total, count = total + divergence(bag, log_q), count + 1
  return total, count


@pytest.mark.parametrize("direction", ["to_pivot", "from_pivot", "both"])
def test_it_is_the_equation_and_its_gradient(direction):
  """Three views, two of which have no token that counts; a [MASK] in a text counts no more."""
  with jax.enable_x64(True):
    model, params = network_of()
    params = jax.tree.map(lambda p: p.astype(np.float64), params)
    batch = repeating()
    batch["ids"][0, 1, 2] = VOCABULARY.mask_id
    function = functools.partial(bag_of_tokens.objective, direction=direction)
    loss, means = loss_of(model, params, batch, function)
    total, count = reference(model, params, batch, direction=direction)
    assert means["own"].count == count
    np.testing.assert_allclose(loss, total / count, rtol=1e-9)
    if direction == "both":
      assert count == 2 * 4 * 2 - 2  # two translations, of length 2, have no bag
      check = functools.partial(check_grads, order=1, modes=["rev"], eps=1e-6)
      check(lambda p: loss_of(model, p, batch, function)[0], (params,), atol=1e-6, rtol=1e-6)


def test_by_hand():
  """The pivot has 7, 7, 8 after [CLS]: p = 2/3, 1/3; q = 1/4 and 1/2; the rest is elsewhere."""
  logits = jnp.zeros(9).at[7].set(np.log(1 / 4)).at[8].set(np.log(1 / 2))
  logits = logits.at[jnp.array([0, 1, 2, 3, 4, 5, 6])].set(np.log(1 / 28))

  def predict_bag(z, *, language):
    assert language.tolist() == [0]
    return FactoredLogits(jnp.ones((1, 1)), kernel=logits[None], bias=jnp.zeros(9))

  ids = jnp.array([[[2, 7, 7, 8, 3], [2, 5, 3, 0, 0]]])
  batch = {"ids": ids, "mask": ids > 0, "language": jnp.array([[0, 6]])}
  model, vocabulary = types.SimpleNamespace(predict_bag=predict_bag), VOCABULARY._replace(size=9)
  context = Context(batch, None, jnp.zeros((1, 2, 1)), vocabulary, None, model=model)
  loss, _ = bag_of_tokens.objective(context, direction="to_pivot")
  expected = 2 / 3 * np.log((2 / 3) / (1 / 4)) + 1 / 3 * np.log((1 / 3) / (1 / 2))
  np.testing.assert_allclose(loss.compute(), expected, rtol=1e-6)


def test_a_bag_that_is_known_costs_nothing():
  """q = p: the divergence, unlike the cross-entropy, is 0."""
  ids = jnp.array([[[2, 7, 7, 8, 3], [2, 8, 7, 7, 3]]])
  q = jnp.full(9, 1e-30).at[7].set(2 / 3).at[8].set(1 / 3)
  model = types.SimpleNamespace(
    predict_bag=lambda z, language: FactoredLogits(jnp.ones((1, 1)), jnp.log(q)[None], jnp.zeros(9))
  )
  batch = {"ids": ids, "mask": ids > 0, "language": jnp.array([[0, 1]])}
  context = Context(batch, None, jnp.zeros((1, 2, 1)), VOCABULARY, None, model=model)
  np.testing.assert_allclose(BOTH(context)[0].compute(), 0, atol=1e-6)


def test_padding_a_mesh_and_microbatches_change_nothing():
  model, params = network_of()
  short, long = (loss_of(model, params, repeating(padded=n), BOTH)[0] for n in (9, 12))
  np.testing.assert_allclose(short, long, rtol=2e-6)
  assert_a_mesh_changes_nothing(BOTH, repeating(LENGTHS * 2))
  assert_microbatches_change_nothing(BOTH, repeating())


def test_what_it_trains():
  """The encoder through the sentence vector alone, and its own head."""
  assert without_gradient(*network_of(), BOTH) == OTHERS - {"bag_of_tokens"}

  def of_tokens(context):
    return BOTH(context._replace(z=jax.lax.stop_gradient(context.z)))

  model, params = network_of()
  grads = jax.grad(lambda p: loss_of(model, p, batch_of(), of_tokens)[0])(params)
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads["encoder"]["layers_0"]))


def test_a_width_of_its_own_fits():
  """The head takes the vector that a dense layer made, of any width."""
  model, params = network_of(dense={"width": 8, "activation": "tanh"}, projection=False)
  assert np.isfinite(loss_of(model, params, batch_of(), BOTH)[0])


def test_mistakes_and_needs():
  with pytest.raises(UserError, match="direction 'up' is none of to_pivot, from_pivot, both"):
    bag_of_tokens.objective(None, direction="up")
  assert build.needs(ems.get_config().objectives.to_dict()) == {"bag_of_tokens"}


def test_a_run(commands):
  """It learns; another run starts from it, and has vectors of languages of its own."""
  folder, other = commands.prepared("bag"), commands.prepared("bag_again")
  flags = ["--config.steps=20", "--config.objectives.bag_of_tokens.weight=1.0"]
  flags += ["--config.objectives.representation_translation.weight=0.0"]
  commands.run(*commands.train_flags(folder, *flags))
  lines = [line for line in lines_of(folder) if "loss" in line]
  assert 0 < lines[-1]["bag_of_tokens"] < lines[0]["bag_of_tokens"]
  assert set(restore.shapes(folder)) == {"encoder", "bag_of_tokens"}
  flags = [*flags, "--config.steps=2", "--config.log_steps=1", f"--config.init_from={folder}"]
  assert "bag_of_tokens start" not in commands.run(*commands.train_flags(other, *flags))
  first = next(line for line in lines_of(other) if "loss" in line)
  assert first["bag_of_tokens"] < lines[0]["bag_of_tokens"]
