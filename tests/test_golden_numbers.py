"""Agreement with the released program's method, for anyone: golden.json holds the numbers.

They come from `golden_reference.py`, plain torch on inputs of a seed. That it stands for the
released program is shown where ../shared is there: on that program's own weights and batch it gives
its losses, gradients and parameters.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import golden_inputs, golden_reference
from tests.test_golden import CASES, Case, golden, precision, three_steps, torch_names

__all__ = ["golden", "precision"]  # fixtures
NUMBERS = json.loads(golden_reference.PATH.read_text())


@pytest.fixture(scope="module")
def arrays():
  return golden_inputs.inputs()


def test_every_case_has_numbers():
  assert set(NUMBERS["cases"]) == set(CASES) == set(golden_reference.CASES)
  assert golden_reference.PATH.stat().st_size < 10_000


@pytest.mark.parametrize("name", list(CASES))
def test_losses_and_gradients(arrays, precision, name):
  _, dtype, tolerance, gradient_tolerance = precision
  expected = NUMBERS["cases"][name]
  case = Case(arrays, name)
  params = jax.tree.map(lambda w: jnp.asarray(w, dtype), case.params)
  (loss, means), grads = case.value_and_grad(params)
  found = {"loss": loss, "tr_loss": means["translation_ranking"].compute(), "rtl_loss": 0}
  if "representation_translation" in means:
    found["rtl_loss"] = means["representation_translation"].compute()
  for key, value in found.items():
    np.testing.assert_allclose(value, expected[key], rtol=tolerance, err_msg=key)
  gradients = [np.asarray(g, np.float64) for g in torch_names(grads).values()]
  length = expected["gradient_norm"]
  np.testing.assert_allclose(golden_reference.norm(gradients), length, rtol=gradient_tolerance)
  sine = golden_reference.sine(gradients)
  assert sine == pytest.approx(expected["gradient_sine"], abs=gradient_tolerance * length)


@pytest.mark.parametrize("name", golden_reference.OPTIMIZERS)
def test_three_optimizer_steps(arrays, precision, name):
  _, dtype, *_ = precision
  tolerance = 1e-5  # in float64 too: torch's clipping adds 1e-6 to the norm, optax's does not
  rate, decay, warmup = golden_reference.OPTIMIZERS[name]
  expected, case = NUMBERS["optimizers"][name], Case(arrays, "rtl_target_en")
  losses, params = three_steps(case, dtype=dtype, rate=rate, decay=decay, warmup=warmup)
  np.testing.assert_allclose(losses, expected["losses"][:3], rtol=tolerance)
  after = {name: np.asarray(w, np.float64) for name, w in torch_names(params).items()}
  # The English head has its name here, and its own rows among the inputs.
  head = ("decoder.cls.predictions.bias", "decoder.cls.predictions.decoder.weight")
  after |= {f"{name}@en": after.pop(name) for name in head}
  changes = golden_reference.changes_of(arrays, after)
  # In float32 a step of 5e-5 is rounded to the places of the weight it changes.
  tolerance = tolerance if dtype == np.float64 else 1e-3
  length = expected["change_norm"]
  assert golden_reference.norm(changes) == pytest.approx(length, rel=tolerance)
  sine = golden_reference.sine(changes)
  assert sine == pytest.approx(expected["change_sine"], abs=tolerance * length)


@pytest.mark.parametrize("name", list(CASES))
def test_the_stored_numbers_are_the_references(arrays, name):
  found = golden_reference.numbers_of(arrays, name)
  assert found == pytest.approx(NUMBERS["cases"][name], rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("name", list(CASES))
def test_the_reference_is_the_released_program(golden, name):
  """On the released program's weights and batch: losses, and every gradient's norm and sine."""
  tensors = golden_reference.tensors_of(golden)
  losses = golden_reference.losses_of(tensors, golden, name)
  for key, loss in zip(("loss", "tr_loss", "rtl_loss"), losses, strict=True):
    np.testing.assert_allclose(loss.item(), golden[f"{name}/f64/eval/{key}"], rtol=1e-10)
  gradients = golden_reference.gradients_of(tensors, losses[0])
  names = json.loads(str(golden["meta"]))["cases"][name]["grad_names"]
  length = float(golden[f"{name}/f64/grad_total_norm"])
  for kind in ("norm", "sine"):
    stored = golden[f"{name}/f64/grad_{'norms' if kind == 'norm' else 'sin'}"]
    expected = dict(zip(names, stored, strict=True))
    for tensor, gradient in gradients.items():
      value = getattr(golden_reference, kind)([gradient.numpy()])
      plain = tensor.removesuffix("@en")
      assert value == pytest.approx(expected[plain], rel=1e-9, abs=1e-10 * length), tensor


@pytest.mark.parametrize("name", golden_reference.OPTIMIZERS)
def test_the_references_optimizer_is_the_released_programs(golden, name):
  losses, after = golden_reference.three_steps(golden, name)
  np.testing.assert_allclose(losses, golden[f"{name}/f64/losses"][:, 0], rtol=1e-10)
  for tensor, array in after.items():
    loose = 1e-2 if "attention.self.key.bias" in tensor else 1e-9
    expected = golden[f"{name}/f64/param/{tensor.removesuffix('@en')}"]
    np.testing.assert_allclose(array, expected, rtol=1e-9, atol=loose, err_msg=tensor)
