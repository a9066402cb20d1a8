"""Compute in bfloat16: the gradients of parameters are near those of float32.

A gradient that sums over tokens in bfloat16, which has 8 bits, stops growing: 256 ones and one more
are 256. So each module is tried with as many tokens as a batch has.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from dap_jax.core.train_step import NOTHING_FROZEN
from dap_jax.model.architectures.bert import Embeddings
from dap_jax.model.layers import Dense, Embed, spread
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.training import build
from dap_jax.utils.trees import flatten

ROWS, WIDTH = 4096, 8


def gradient(module, params, *inputs, **arguments):
  """Of the sum of the outputs, of which each is weighted by a number of one sign."""

  def total(params):
    outputs = module.apply({"params": params}, *inputs, **arguments).astype(jnp.float32)
    return (outputs * WEIGHTS.reshape(outputs.shape)).sum()

  return jax.grad(total)(params)


# Multiples of 1/64 in [0, 1]: exact in bfloat16, so that only sums can lose anything.
WEIGHTS = jnp.asarray(np.random.default_rng(0).integers(0, 65, (ROWS, WIDTH)) / 64, jnp.float32)
SUM = np.asarray(WEIGHTS, np.float64).sum(0)


def test_a_row_that_every_token_reads():
  module = Embed(5, WIDTH, dtype=jnp.bfloat16)
  ids = jnp.full(ROWS, 3)
  table = gradient(module, {"embedding": jnp.zeros((5, WIDTH))}, ids)["embedding"]
  np.testing.assert_allclose(table, np.outer([0, 0, 0, 1, 0], SUM), rtol=1e-6)
  assert table.dtype == jnp.float32


def test_a_bias():
  module = Dense(WIDTH, dtype=jnp.bfloat16)
  params = {"kernel": jnp.eye(WIDTH), "bias": jnp.zeros(WIDTH)}
  inputs = jnp.ones((ROWS, WIDTH), jnp.bfloat16)
  assert module.apply({"params": params}, inputs).dtype == jnp.bfloat16
  np.testing.assert_allclose(gradient(module, params, inputs)["bias"], SUM, rtol=1e-6)


def test_a_vector_that_is_spread():
  def total(vector):
    return (spread(vector, (ROWS, WIDTH)).astype(jnp.float32) * WEIGHTS).sum()

  slope = jax.grad(total)(jnp.zeros((1, WIDTH), jnp.bfloat16))
  np.testing.assert_allclose(slope[0].astype(jnp.float32), SUM, rtol=2**-8)  # rounded once


@pytest.mark.parametrize("shape", [(8,), (ROWS // 8, 8)])
def test_positions_and_types(shape):
  """Each of 8 positions is read by 512 sentences; without a norm the sum is known."""
  module = Embeddings(9, WIDTH, 8, 2, norm_eps=1e-12, dropout=0.0, dtype=jnp.bfloat16)
  positions = jnp.broadcast_to(jnp.arange(8), shape)
  x = jnp.zeros((ROWS // 8, 8, WIDTH), jnp.bfloat16)
  params = module.init(jax.random.key(0), x, positions, deterministic=True, method="place")[
    "params"
  ]
  assert {"position", "token_type"} <= set(params)
  wide = module.clone(dtype=jnp.float32)
  arguments = {"deterministic": True, "method": "place"}
  of_narrow = gradient(module, params, x, positions, **arguments)
  of_wide = gradient(wide, params, x.astype(jnp.float32), positions, **arguments)
  for table in ("position", "token_type"):
    narrow, expected = (tree[table]["embedding"] for tree in (of_narrow, of_wide))
    distance = np.linalg.norm(narrow - expected) / np.linalg.norm(expected)
    assert distance < 0.05, table


def gradient_of_a_step(dtype):
  """Of DAP and TLM on 256 pairs of 32 tokens, whose frequencies are those of words."""
  config = base.get_config().to_dict() | {"seed": 0, "steps": 10, "max_tokens": 32}
  config["model"] |= {"dropout": 0.0, "compute_dtype": dtype}
  config["model"]["encoder"] |= {"layers": 2, "width": 64, "heads": 2, "mlp_width": 128}
  config["decoder"]["layers"], config["mesh"] = 1, dict.fromkeys(config["mesh"], 1)
  config["objectives"]["masked_lm"]["weight"] = 1.0
  english_ids = np.arange(1000, dtype=np.int32)
  program = build.build(
    vocabulary=Vocabulary(1000, 0, 2, 3, 4, english_ids),
    devices=jax.devices()[:1],
    **{key: config[key] for key in build.KEYS},
  )
  ids = np.random.default_rng(0).zipf(1.3, (256, 2, 32)).clip(max=990).astype(np.int32) + 5
  ids[..., 0], ids[..., -1] = 2, 3
  batch = {
    "ids": ids,
    "mask": np.ones(ids.shape, bool),
    "text_hash": np.arange(512, dtype=np.int32).reshape(256, 2),
    "language": np.tile(np.arange(2, dtype=np.int32), (256, 1)),
  }
  with jax.set_mesh(program.mesh):
    _, grads = program.gradients(program.init({}), batch, NOTHING_FROZEN)
  return flatten(jax.device_get(grads))


@pytest.mark.slow
def test_a_whole_step():
  """Every parameter's gradient, and that of the rows that are read most, as a distance / length."""
  narrow, expected = gradient_of_a_step("bfloat16"), gradient_of_a_step("float32")
  for name, array in expected.items():
    # Keys' biases have none; of the projection, at cosines near 1, the terms cancel.
    if np.linalg.norm(array) > 1e-5 and not name.startswith("projection"):
      assert np.linalg.norm(narrow[name] - array) < 0.05 * np.linalg.norm(array), name
  for part, ids in {"encoder": [2, 3, 4, 6], "decoder": [4]}.items():
    for row in ids:
      name = f"{part}/embeddings/word/embedding"
      ours, theirs = narrow[name][row], expected[name][row]
      assert np.linalg.norm(ours - theirs) < 0.05 * np.linalg.norm(theirs), (part, row)
