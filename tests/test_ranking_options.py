"""Options of translation ranking: same-tower and false negatives, a guide model, hardness.

Expected values: the formulas by loops over anchors, in float64; cases worked by hand;
sentence-transformers.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.test_util import check_grads

from dap_jax.objectives import translation_ranking
from dap_jax.training import build
from dap_jax.utils.errors import UserError
from tests import taught
from tests.test_hard_negatives import context_of
from tests.test_masked_lm import (
  LENGTHS,
  assert_a_mesh_changes_nothing,
  assert_microbatches_change_nothing,
  batch_of,
  loss_of,
  network_of,
)
from tests.test_objectives import RANKING
from tests.test_split_softmax import batch_with

SAME_TOWER = {"same_tower_negatives": True}
MODEL = {"false_negatives": "model", "false_negative_margin": 0.1}
GUIDE = {"false_negatives": "guide", "false_negative_margin": -0.05}
HARDNESS = {"hardness": 3.0}
OF_PIVOTS = GUIDE | {"false_negative_margin": -0.6}  # where it has 1 for the positive


def cosine(a, b):
  return a @ b / np.sqrt(a @ a) / np.sqrt(b @ b)


def reference(z, negatives, batch, *, vectors=None, several=False, **settings):
  """The mean loss and the mean number of candidates that only the margin takes."""
  t, f, judge = (
    settings[key] for key in ("temperature", "false_negative_margin", "false_negatives")
  )
  texts, (examples, views) = batch["text_hash"], batch["text_hash"].shape
  losses, taken = [], []

  def weighted(value):
    """The logit of a negative; its weight is exp(hardness * cosine)."""
    return value / t + settings["hardness"] * value

  def judged(i, k, j, view):
    """The judge's cosine of view k of i with a view of j, None where it has none."""
    if judge == "model":
      return cosine(z[i, k], z[j, view])
    a, b = vectors[i, k if several else 0], vectors[j, view if several else 0]
    return cosine(a, b) if a.any() and b.any() else None

  def is_false(value, positive):
    return value is not None and positive is not None and value > positive + f

  def way(i, own, other):
    """The loss of view `own` of i among the views `other`."""
    positive = cosine(z[i, own], z[i, other]) / t - settings["margin"]
    of_judge = None if judge == "text" else judged(i, own, i, other)
    logits, by_margin = [positive], 0
    for j in range(examples):
      if j == i or any(texts[i, view] == texts[j, view] for view in (own, other)):
        continue
      for view in (other, own)[: 1 + settings["same_tower_negatives"]]:
        if judge != "text" and is_false(judged(i, own, j, view), of_judge):
          by_margin += view == other
        else:
          logits.append(weighted(cosine(z[i, own], z[j, view])))
    for j, n in np.ndindex(batch["has_negative"].shape) if own else ():
      if batch["has_negative"][j, n] and batch["negative_hash"][j, n] != texts[i, 0]:
        value = cosine(z[i, own], negatives[j, n])
        if judge != "model" or not is_false(value, of_judge):
          logits.append(weighted(value))
    return np.log(np.exp(logits).sum()) - positive, by_margin

  for i, k in itertools.product(range(examples), range(1, views)):
    ways = {"to_pivot": [(k, 0)], "from_pivot": [(0, k)], "both": [(k, 0), (0, k)]}
    found = [way(i, *each) for each in ways[settings["direction"]]]
    losses.append(np.mean([loss for loss, _ in found]))
    taken.append(np.mean([count for _, count in found]))
  return np.mean(losses), np.mean(taken)


def drawn_batch(*, views, count):
  """Vectors, hard negatives and hashes from few numbers, so that there are duplicates."""
  rng = np.random.default_rng(3)
  z, negatives = rng.normal(size=(6, views, 4)), rng.normal(size=(6, count, 4))
  z[:, 1:] += z[:, :1]  # translations are near, but for some
  batch = {
    "text_hash": rng.integers(0, 12, (6, views)),
    "negative_hash": rng.integers(0, 12, (6, count)),
    "has_negative": rng.random((6, count)) < 0.7,
  }
  return z, negatives, batch


@pytest.mark.parametrize("direction", ["to_pivot", "from_pivot", "both"])
@pytest.mark.parametrize(
  ("options", "several"),
  [
    (SAME_TOWER, False),
    (MODEL, False),
    (SAME_TOWER | MODEL, False),
    (SAME_TOWER | OF_PIVOTS, False),
    (SAME_TOWER | MODEL | HARDNESS, False),
  ]
  + [(SAME_TOWER | GUIDE, True)],
)
def test_they_are_the_formulas(direction, options, several):
  """Three views, hard negatives; the guide reads the pivot alone or all, and lacks a text."""
  z, negatives, batch = drawn_batch(views=3, count=2)
  vectors = np.random.default_rng(5).normal(size=(6, 3, 7)) + z.sum(-1, keepdims=True)
  vectors[1, 2] = vectors[4, 0] = 0
  settings = RANKING | {"temperature": 0.3, "margin": 0.2, "direction": direction} | options
  expected, taken = reference(z, negatives, batch, vectors=vectors, several=several, **settings)
  with jax.enable_x64(True):

    def found(z, negatives):
      context = context_of(z, negatives, **batch)
      side = {"teacher_side": jnp.zeros((6, 2, 1), jnp.int32)} if several else {}
      context = context._replace(batch=context.batch | side, teacher=teacher)
      return translation_ranking.objective(context, **settings)

    def teacher(view):
      return jnp.asarray(vectors)[jnp.arange(6), view]

    given = jnp.asarray(z), jnp.asarray(negatives)
    loss, extras = found(*given)
    np.testing.assert_allclose(loss.compute(), expected, rtol=1e-9)
    if options.get("false_negatives"):
      assert taken > 0.2
      np.testing.assert_allclose(extras["masked_by_margin"].compute(), taken, rtol=1e-6)
    if "hardness" in options:
      return  # its weights are constants for the gradient: not the differences of the loss
    check = functools.partial(check_grads, order=1, modes=["rev"], atol=1e-6, rtol=1e-6)
    check(lambda *arrays: found(*arrays)[0].compute(), given)


# Translations at 0 and 90 degrees; their pivots at 0 and 60: cosines [[1, 1/2], [0, sqrt(3)/2]].
HALF = np.sqrt(3) / 2
Z = jnp.array([[[1.0, 0.0], [2.0, 0.0]], [[0.5, HALF], [0.0, 3.0]]])


def loss_by_hand(**options):
  context = taught.context_of(Z, jnp.array([[[1.0, 0.0]] * 2, [[0.6, 0.8]] * 2]))
  settings = RANKING | {"temperature": 1.0} | options
  loss, extras = translation_ranking.objective(context, **settings)
  return loss.compute(), extras


def test_same_tower_by_hand():
  """The translations have cosine 0 with each other, the pivots 1/2."""
  to_pivot = [np.log(1 + np.exp(0.5 - 1) + np.exp(0 - 1)), np.log(1 + 2 * np.exp(0 - HALF))]
  np.testing.assert_allclose(loss_by_hand(**SAME_TOWER)[0], np.mean(to_pivot), rtol=1e-6)
  from_pivot = [
    np.log(1 + np.exp(0 - 1) + np.exp(0.5 - 1)),
    np.log(1 + np.exp(0.5 - HALF) + np.exp(0.5 - HALF)),
  ]
  loss, _ = loss_by_hand(**SAME_TOWER, direction="from_pivot")
  np.testing.assert_allclose(loss, np.mean(from_pivot), rtol=1e-6)


def test_a_margin_by_hand():
  """With f = -.6 only the first loses its negative, of cosine .5 > 1 - .6; 0 < .87 - .6 stays."""
  loss, extras = loss_by_hand(false_negatives="model", false_negative_margin=-0.6)
  np.testing.assert_allclose(loss, np.log(1 + np.exp(-HALF)) / 2, rtol=1e-6)
  assert extras["masked_by_margin"].compute() == 0.5
  # The guide's pivots have cosine .6 with each other, 1 with themselves: f = -.5 takes both.
  loss, extras = loss_by_hand(false_negatives="guide", false_negative_margin=-0.5)
  assert loss == 0 and extras["masked_by_margin"].compute() == 1
  plain, _ = loss_by_hand()
  assert loss_by_hand(false_negatives="guide", false_negative_margin=-0.3)[0] == plain


def test_hardness_is_that_of_sentence_transformers():
  """Its loss for anchors, positives and one hard negative each; all texts differ."""
  losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
  z, negatives, batch = drawn_batch(views=2, count=1)
  batch = {
    "text_hash": np.arange(12).reshape(6, 2),
    "negative_hash": np.arange(20, 26)[:, None],
    "has_negative": np.ones((6, 1), bool),
  }
  model = torch.nn.Identity()
  theirs = losses.MultipleNegativesRankingLoss(
    model, scale=4.0, hardness_mode="all_negatives", hardness_strength=3.0
  )
  sides = [torch.tensor(array, requires_grad=True) for array in (z[:, 1], z[:, 0], negatives[:, 0])]
  expected = theirs.compute_loss_from_embeddings(sides, None)
  expected.backward()
  settings = RANKING | {"temperature": 0.25} | HARDNESS

  def found(z, negatives):
    return translation_ranking.objective(context_of(z, negatives, **batch), **settings)[0].compute()

  loss, gradients = jax.value_and_grad(found, argnums=(0, 1))(z, negatives)
  np.testing.assert_allclose(loss, expected.item(), rtol=1e-5)
  of_sides = gradients[0][:, 1], gradients[0][:, 0], gradients[1][:, 0]
  for ours, side in zip(of_sides, sides, strict=True):
    np.testing.assert_allclose(ours, side.grad.numpy(), atol=1e-5)


@pytest.mark.parametrize("options", [SAME_TOWER, SAME_TOWER | MODEL])
def test_padding_a_mesh_and_microbatches_change_nothing(options):
  settings = RANKING | {"temperature": 0.3, "direction": "both"} | options
  function = functools.partial(translation_ranking.objective, **settings)
  model, params = network_of()
  short, long = (loss_of(model, params, batch_of(padded=n), function)[0] for n in (9, 12))
  np.testing.assert_allclose(short, long, rtol=2e-6)
  assert_a_mesh_changes_nothing(function, batch_with(rows=2))
  assert_microbatches_change_nothing(function, batch_of(LENGTHS))


def test_a_guide_changes_nothing_by_padding_or_mesh(tmp_path):
  """A network as the guide; it does not move, and an objective that follows it needs one."""
  network = taught.network_of(taught.OWN, width=24)
  section = {"translation_ranking": {"weight": 1.0, **RANKING, **SAME_TOWER, **OF_PIVOTS}}
  assert build.needs(section) == {"teacher"}
  short, long = taught.losses_of_paddings(
    section, network=network, lengths=[[5, 9], [7, 4], [6, 6], [9, 3]]
  )
  np.testing.assert_allclose(short, long, rtol=2e-6)
  found = [
    taught.trained(section, network=network, mesh={"fsdp": 1, **mesh}, workdir=tmp_path / name)
    for name, mesh in (("a", {"data": 8, "model": 1}), ("b", {"data": 4, "model": 2}))
  ]
  (state, means, guide), (other, other_means, _) = found
  assert means["masked_by_margin"] > 0
  for name, value in means.items():
    np.testing.assert_allclose(other_means[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state.params, other.params)
  jax.tree.map(np.testing.assert_array_equal, guide, network[1])


def test_an_unknown_judge_is_named():
  with pytest.raises(UserError, match="false_negatives 'taste' is none of text, model, guide"):
    loss_by_hand(false_negatives="taste")
