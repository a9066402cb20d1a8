"""Weights of objectives, their schedules, and Matryoshka dimensions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dap_jax.core import train_step
from dap_jax.model.from_config import check_dimensions
from dap_jax.objectives import translation_ranking
from dap_jax.training import build
from dap_jax.utils.errors import UserError
from tests.models import drawn
from tests.test_objectives import RANKING, VOCABULARY, batch_of, context_of, tiny


def objectives(**entry):
  return build.make_objectives({"translation_ranking": {"weight": 1.0, **RANKING} | entry})


def test_a_schedule_is_linear_between_its_steps_and_constant_outside():
  (objective,) = objectives(weight=((10, 0.5), (20, 2.5), (30, 1.0))).values()
  expected = {0: 0.5, 10: 0.5, 15: 1.5, 20: 2.5, 28: 1.3, 1000: 1.0}
  for step, weight in expected.items():
    np.testing.assert_allclose(objective.weight_at(jnp.int32(step)), weight, rtol=1e-6)


def test_the_step_weighs_the_loss():
  model, batch = tiny(), batch_of([[6, 8], [7, 5], [4, 4]])
  params = drawn(model)

  def loss(weight, step):
    return train_step.loss_fn(
      params,
      batch,
      model=model,
      objectives=objectives(weight=weight),
      vocabulary=VOCABULARY,
      key=None,
      step=jnp.int32(step),
    )[0]

  ramp = [[0, 0.0], [100, 4.0]]  # lists, as a workdir's config.json holds them
  np.testing.assert_allclose(loss(ramp, 25), loss(1.0, 7), rtol=1e-6)
  assert loss(ramp, 0) == 0


@pytest.mark.parametrize(
  ("weight", "message"),
  [
    (-0.1, "weight=-0.1: expected a number of 0 or more"),
    (float("nan"), "expected a number of 0 or more"),
    ("heavy", "expected a number of 0 or more"),
    (((0, 1.0), (10, -1.0)), "expected a number of 0 or more"),
    (((10, 1.0), (0, 2.0)), "rising steps"),
    (((10, 1.0), 3), "pairs"),
    ((), "pairs"),
    (0.0, "no objective has a weight above 0"),
    (((0, 0.0), (10, 0.0)), "no objective has a weight above 0"),
  ],
)
def test_wrong_weights_are_named(weight, message):
  with pytest.raises(UserError, match=message):
    objectives(weight=weight)


def test_matryoshka_is_the_sum_over_its_dimensions():
  """The same objective called on cut vectors, added up."""
  z = jax.random.normal(jax.random.key(1), (6, 2, 16))
  settings = {"translation_ranking": {"weight": 1.0, **RANKING}}
  made = build.make_objectives(settings, matryoshka_dimensions=(4, 8))["translation_ranking"]
  context = context_of(z)._replace(negatives=jnp.zeros((6, 0, 16)))
  found, extras = made.function(context)
  parts = [
    translation_ranking.objective(context._replace(z=z[..., :size]), **RANKING)[0].compute()
    for size in (4, 8, 16)
  ]
  np.testing.assert_allclose(found.compute(), sum(parts), rtol=1e-6)
  whole = translation_ranking.objective(context, **RANKING)[1]
  for name, mean in whole.items():
    np.testing.assert_array_equal(extras[name].compute(), mean.compute())


@pytest.mark.parametrize("dimensions", [(0,), (4, 16), (-3,)])
def test_matryoshka_dimensions_that_are_no_part_of_the_width(dimensions):
  with pytest.raises(UserError, match="expected 1 or more, and less than the width, 16"):
    check_dimensions(dimensions, tiny())


def test_matryoshka_without_sentence_vectors():
  tokens = {"mask_ratio": 1.0, "direction": "to_pivot"}
  with pytest.raises(UserError, match="no objective that is on reads sentence vectors alone"):
    build.make_objectives(
      {"representation_translation": {"weight": 1.0, **tokens}}, matryoshka_dimensions=(4,)
    )
