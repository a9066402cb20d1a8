"""Objectives against cases worked by hand, and what must not change them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dap_jax.core import train_step, unit_vectors
from dap_jax.core.mean import Mean
from dap_jax.core.objective import Context
from dap_jax.model.from_config import ENCODER_ALONE, make_model
from dap_jax.model.pooling import POOLINGS
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.objectives import representation_translation, translation_ranking
from dap_jax.training import build
from dap_jax.utils.errors import UserError
from tests.models import drawn, encoder_section, logits_of, model_section

VOCABULARY = Vocabulary(50, 0, 2, 3, 4, np.arange(5, 30, dtype=np.int32))
RANKING = {"temperature": 0.05, "margin": 0.0, "direction": "to_pivot", "legacy_world_size": 1}
RANKING |= {"hard_negatives": True, "same_tower_negatives": False}
RANKING |= {"false_negatives": "text", "false_negative_margin": 0.1, "hardness": 0.0}


def context_of(z, text_hash=None):
  """A context that only TR reads; z [B, 2, D]."""
  text_hash = jnp.arange(2 * len(z)).reshape(-1, 2) if text_hash is None else jnp.array(text_hash)
  return Context({"text_hash": text_hash}, None, z, VOCABULARY, jax.random.key(0))


def test_ranking_worked_by_hand():
  # English [1, 0] and [0, 2]; others [3, 4] and [0, 1]: cosines [[.6, .8], [0, 1]].
  z = jnp.array([[[1.0, 0.0], [3.0, 4.0]], [[0.0, 2.0], [0.0, 1.0]]])
  settings = RANKING | {"temperature": 0.5, "margin": 0.25}
  # After / 0.5 and - 0.25 on the diagonal: rows [.95, 1.6] and [0, 1.75].
  forward = (np.log(1 + np.exp(1.6 - 0.95)) + np.log(1 + np.exp(0 - 1.75))) / 2
  backward = (np.log(1 + np.exp(0 - 0.95)) + np.log(1 + np.exp(1.6 - 1.75))) / 2
  expected = {"to_pivot": forward, "from_pivot": backward, "both": (forward + backward) / 2}
  for direction, value in expected.items():
    loss, extras = translation_ranking.objective(
      context_of(z), **settings | {"direction": direction}
    )
    np.testing.assert_allclose(loss.compute(), value, rtol=1e-6)
    assert extras["masked_duplicates"].compute() == 0


def test_duplicates_are_no_negatives():
  # Rows 0 and 2 share their English text: the loss over [0, 1, 2] must treat each as if the other's
  # candidate were not there; worked out by deleting that column from the matrix.
  z = jax.random.normal(jax.random.key(1), (3, 2, 8))
  loss, extras = translation_ranking.objective(context_of(z, [[7, 1], [8, 2], [7, 3]]), **RANKING)
  cosine = np.asarray(unit_vectors.cosines(z[:, 1], z[:, 0])) / 0.05
  allowed = {0: [0, 1], 1: [0, 1, 2], 2: [1, 2]}
  rows = [np.log(np.exp(cosine[i, columns] - cosine[i, i]).sum()) for i, columns in allowed.items()]
  np.testing.assert_allclose(loss.compute(), np.mean(rows), rtol=1e-5)
  np.testing.assert_allclose(extras["masked_duplicates"].compute(), 2 / 3, rtol=1e-6)


def test_an_unknown_direction_is_named():
  with pytest.raises(UserError, match="sideways"):
    translation_ranking.objective(
      context_of(jnp.ones((2, 2, 4))), **RANKING | {"direction": "sideways"}
    )


@pytest.mark.parametrize("name", ["no_such", "__init__", "masked_lm.draw"])
def test_a_name_without_an_objective_is_unknown(name):
  """There is no such file, or it has no function `objective`."""
  with pytest.raises(UserError, match=f"unknown objective '{name}' in the config: there is no"):
    build.make_objectives({name: {"weight": 1.0}})


def test_legacy_gradient_is_what_n_workers_computed():
  """The released scheme, written out: each worker detaches the others' vectors; then the mean."""
  workers, z = 4, jax.random.normal(jax.random.key(2), (8, 2, 16))

  def loss(z, size=1):
    settings = RANKING | {"legacy_world_size": size}
    return translation_ranking.objective(context_of(z), **settings)[0].compute()

  def worker(rank):
    mine = (jnp.arange(8) // 2 == rank)[:, None, None]
    own = jax.grad(lambda z: loss(jnp.where(mine, z, jax.lax.stop_gradient(z))))
    return jax.jit(own)(z)

  expected = sum(worker(rank) for rank in range(workers)) / workers
  slope = jax.jit(jax.grad(lambda z: loss(z, workers)))(z)
  np.testing.assert_allclose(slope, expected, atol=1e-6)
  np.testing.assert_allclose(loss(z, workers), loss(z), rtol=1e-6)


def test_compact_labels():
  labels = representation_translation.compact_labels(jnp.array([4, 5, 29, 30]), VOCABULARY)
  assert labels.tolist() == [-1, 0, 24, -1]


def tiny(**settings):
  sizes = {"layers": 2, "width": 16, "heads": 2, "mlp_width": 32, "positions": 40}
  model = model_section(encoder=encoder_section(**sizes, token_types=1), **settings)
  decoder = {"layers": 1, "english_head": True}
  given = ENCODER_ALONE | {"vocabulary": VOCABULARY, "max_tokens": 12, "decoder": decoder}
  return make_model(**given, **model)


def batch_of(lengths, *, padded=12, seed=0):
  """Random English ids of the given lengths [B, 2]; [CLS] first and [SEP] last."""
  rng = np.random.default_rng(seed)
  ids = np.zeros((len(lengths), 2, padded), np.int32)
  for b, pair in enumerate(lengths):
    for k, length in enumerate(pair):
      ids[b, k, :length] = [2, *rng.integers(5, 30, length - 2), 3]
  text_hash = jnp.arange(2 * len(lengths), dtype=jnp.int32).reshape(-1, 2)
  return {
    "ids": jnp.array(ids),
    "mask": jnp.array(ids != 0),
    "text_hash": text_hash,
    "language": jnp.tile(jnp.arange(2, dtype=jnp.int32), (len(lengths), 1)),
  }


def objectives_of():
  reconstruct = {"mask_ratio": 1.0, "direction": "to_pivot"}
  return build.make_objectives(
    {
      "translation_ranking": {"weight": 1.0, **RANKING},
      "representation_translation": {"weight": 1.0, **reconstruct},
    }
  )


def losses_of(model, params, batch):
  loss, means = train_step.loss_fn(
    params, batch, model=model, objectives=objectives_of(), vocabulary=VOCABULARY, key=None
  )
  return {"loss": loss, **{name: mean.compute() for name, mean in means.items()}}


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_nothing(pooling):
  """The same sentences padded to 9 and to 12: every loss stays, since RTL's slots start at 12."""
  model, lengths = tiny(pooling=pooling), [[5, 9], [7, 4], [3, 6]]
  short, long = batch_of(lengths, padded=9), batch_of(lengths, padded=12)
  params = drawn(model)
  ours, theirs = losses_of(model, params, short), losses_of(model, params, long)
  for name in ours:
    np.testing.assert_allclose(ours[name], theirs[name], rtol=2e-6, err_msg=name)


def test_rtl_sees_neither_the_sentence_vector_nor_the_words_of_y():
  """Only the length of y, and the tokens of x after [CLS], reach the decoder."""
  model, batch = tiny(), batch_of([[6, 8], [7, 5]])
  params = drawn(model)
  h = jax.random.normal(jax.random.key(3), (2, 2, 12, 16))

  def logits(h):
    return logits_of(
      model,
      params,
      "decode",
      h[:, 1],
      source_mask=batch["mask"][:, 1],
      target_h=h[:, 0],
      target_mask=batch["mask"][:, 0],
      replaced=jnp.ones((2, 12), bool),
      language=batch["language"][:, 0],
      to_pivot=True,
    )[:, 1:]

  expected = logits(h)
  np.testing.assert_array_equal(logits(h.at[:, 0].multiply(-3)), expected)  # y's states
  np.testing.assert_array_equal(logits(h.at[:, 1, 0].multiply(-3)), expected)  # [CLS] of x
  assert not np.allclose(logits(h.at[:, 1, 1].multiply(-3)), expected)  # a token of x


def test_mean_merges_by_counts():
  whole = Mean.of(jnp.array([1.0, 2.0, 6.0]))
  parts = Mean.of(jnp.array([1.0, 9.0]), jnp.array([True, False])).merge(
    Mean.of(jnp.array([2.0, 6.0]))
  )
  assert whole.compute() == parts.compute() == 3.0
  assert Mean.of(jnp.ones(2), jnp.zeros(2, bool)).compute() == 0.0
