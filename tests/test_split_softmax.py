"""Split-softmax hard negatives: loops in float64, a case by hand, and what must not change them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from configs import split_softmax as config
from dap_jax.core import train_step
from dap_jax.core.objective import Context
from dap_jax.objectives import split_softmax, translation_ranking
from dap_jax.training import build
from dap_jax.utils.errors import UserError
from tests.commands import lines_of
from tests.test_hard_negatives import CONFIG, context_of, prepared  # noqa: F401, a fixture
from tests.test_masked_lm import (
  VOCABULARY,
  assert_a_mesh_changes_nothing,
  assert_microbatches_change_nothing,
  batch_of,
  loss_of,
  network_of,
)
from tests.test_objectives import RANKING

SETTINGS = {"temperature": 0.3}
FUNCTION = functools.partial(split_softmax.objective, **SETTINGS)


def reference(z, negatives, *, text_hash, negative_hash, has_negative, temperature):
  """L_hard and the accuracy, from the equation: loops over anchors."""

  def cosine(a, b):
    return a @ b / np.sqrt(a @ a) / np.sqrt(b @ b)

  losses, nearer = [], []
  for i, k in np.ndindex(z.shape[0], z.shape[1] - 1):
    positive = cosine(z[i, k + 1], z[i, 0])
    hard = [
      cosine(z[i, k + 1], v)
      for v, text, there in zip(negatives[i], negative_hash[i], has_negative[i], strict=True)
      if there and text != text_hash[i, 0]
    ]
    terms = np.exp(np.array([positive, *hard]) / temperature)
    losses.append(-np.log(terms[0] / terms.sum()))
    nearer += [all(positive > other for other in hard)] if hard else []
  return np.mean(losses), np.mean(nearer)


@pytest.mark.parametrize("views", [2, 4])
def test_it_is_the_equation(views):
  """Hashes from few numbers: some negatives are the pivot; some examples have none at all."""
  rng = np.random.default_rng(7)
  z, negatives = rng.normal(size=(6, views, 5)), rng.normal(size=(6, 3, 5))
  batch = {
    "text_hash": rng.integers(0, 5, (6, views)),
    "negative_hash": rng.integers(0, 5, (6, 3)),
    "has_negative": rng.random((6, 3)) < 0.6,
  }
  batch["has_negative"][2] = False
  expected, accuracy = reference(z, negatives, **batch, **SETTINGS)
  with jax.enable_x64(True):

    def loss(z, negatives):
      return FUNCTION(context_of(z, negatives, **batch))

    found, extras = loss(jnp.asarray(z), jnp.asarray(negatives))
    assert found.count == 6 * (views - 1)
    np.testing.assert_allclose(found.compute(), expected, rtol=1e-9)
    np.testing.assert_allclose(extras["hard_negative_accuracy"].compute(), accuracy, rtol=1e-6)
    check = functools.partial(check_grads, order=1, modes=["rev"], atol=1e-6, rtol=1e-6)
    check(lambda *given: loss(*given)[0].compute(), (jnp.asarray(z), jnp.asarray(negatives)))


def test_by_hand():
  """Cosines with t = 1: the pivot 0, its negatives 1 and 0; another's are of no concern.

  The first anchor sees 0 against 1 and 0: log(1 + e + 1). The second has none: 0.
  """
  z = jnp.array([[[0.0, 3.0], [2.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]]])
  negatives = jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
  batch = {"text_hash": [[1, 2], [3, 4]], "negative_hash": [[5, 6], [3, 7]]}
  batch["has_negative"] = [[True, True], [True, False]]  # one is its pivot, one is not there
  loss, extras = split_softmax.objective(context_of(z, negatives, **batch), temperature=1.0)
  np.testing.assert_allclose(loss.compute(), np.log(2 + np.e) / 2, rtol=1e-6)
  assert extras["hard_negative_accuracy"] == (0.0, 1.0)


def batch_with(*, rows=1, padded=12):
  """Examples of two views and two hard negatives, of which some are missing."""
  lengths = [[5, 9, 3, 4], [7, 4, 5, 2], [3, 6, 8, 6], [9, 2, 9, 3]] * rows
  batch = batch_of(lengths, padded=padded)
  has_negative = np.array([[True, True], [True, False], [False, False], [True, True]] * rows)
  return batch | {"language": batch["language"][:, :2], "has_negative": has_negative}


def test_padding_a_mesh_and_microbatches_change_nothing():
  model, params = network_of()
  short, long = (
    loss_of(model, params, batch_with(padded=padded), FUNCTION)[0] for padded in (9, 12)
  )
  np.testing.assert_allclose(short, long, rtol=2e-6)
  assert_a_mesh_changes_nothing(FUNCTION, batch_with(rows=2))
  assert_microbatches_change_nothing(FUNCTION, batch_with())


def test_the_config_is_the_paper_s_sum():
  """(1 - g) of the ranking that knows of no hard negatives, bit for bit, and g of theirs."""
  model, params = network_of()
  section = config.get_config().objectives.to_dict()
  objectives = build.make_objectives(section)
  batch = batch_with()
  given = {"model": model, "vocabulary": VOCABULARY, "key": None}
  loss, means = train_step.loss_fn(params, batch, objectives=objectives, **given)
  contrast, hard = (means[name].compute() for name in ("translation_ranking", "split_softmax"))
  np.testing.assert_allclose(loss, 0.8 * contrast + 0.2 * hard, rtol=1e-6)

  z = model.apply(
    {"params": params}, batch["ids"], batch["mask"], deterministic=True, method="encode"
  ).z
  plain = Context({"text_hash": jnp.asarray(batch["text_hash"])}, None, z, VOCABULARY, None)
  ranking = {key: value for key, value in section["translation_ranking"].items() if key != "weight"}
  without = plain._replace(z=z[:, :2])
  hidden = without._replace(
    negatives=z[:, 2:], batch=plain.batch | {"has_negative": batch["has_negative"]}
  )
  with_none = translation_ranking.objective(without, **ranking | {"hard_negatives": True})
  assert translation_ranking.objective(hidden, **ranking) == with_none
  assert RANKING["hard_negatives"] is True


def test_without_hard_negatives_it_is_refused():
  model, params = network_of()
  with pytest.raises(UserError, match=r"set data\.hard_negatives to 1 or more"):
    loss_of(model, params, batch_of(), FUNCTION)


def test_a_run(commands, prepared, tmp_path):  # noqa: F811
  folder, _ = prepared
  (tmp_path / "config.py").write_text(CONFIG.format(path=folder / "aa-en.tsv"))
  commands.run(
    "train",
    f"--config={tmp_path}/config.py",
    f"--workdir={tmp_path}/run",
    "--config.objectives.translation_ranking.hard_negatives=False",
    "--config.objectives.translation_ranking.weight=0.8",
    "--config.objectives.split_softmax.weight=0.2",
  )
  lines = [line for line in lines_of(tmp_path / "run") if "split_softmax" in line]
  assert lines[-1]["split_softmax"] < lines[0]["split_softmax"]
