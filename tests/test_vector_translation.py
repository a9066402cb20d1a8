"""Translation through the sentence vector: loops in float64, by hand, and what must not change it.

Expected values: the decoder written out in numpy, one sentence and one next token at a time.
"""

import functools
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from configs import sonar
from dap_jax.core.cross_entropy import FactoredLogits
from dap_jax.core.objective import Context
from dap_jax.model.from_config import ENCODER_ALONE, make_model
from dap_jax.objectives import vector_translation
from dap_jax.training import build
from dap_jax.utils.errors import UserError
from dap_jax.workdir import restore
from tests.commands import lines_of
from tests.models import drawn, encoder_section, logits_of, model_section
from tests.test_masked_lm import (
  LENGTHS,
  OTHERS,
  SMALL,
  VOCABULARY,
  assert_a_mesh_changes_nothing,
  assert_microbatches_change_nothing,
  batch_of,
  head_by_hand,
  loss_of,
  network_of,
  without_gradient,
)

BOTH = functools.partial(vector_translation.objective, direction="both", mse_weight=0.7)


def norm(x, by):
  """LayerNorm of [..., D]."""
  centred = x - x.mean(-1, keepdims=True)
  return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-12) * by["scale"] + by["bias"]


def dense(x, by):
  return x @ by["kernel"] + by["bias"]


def layer_by_hand(x, by):
  """BERT's layer over [p, D], of which only the last row is asked for: all of them are read."""
  heads, attention = SMALL["heads"], by["attention"]
  q, k, v = (
    dense(x, attention[name]).reshape(len(x), heads, -1).swapaxes(0, 1)
    for name in ("query", "key", "value")
  )
  mixed = np.zeros_like(q)
  for head, row in np.ndindex(heads, len(x)):
    scores = k[head, : row + 1] @ q[head, row] / np.sqrt(q.shape[-1])
    weights = np.exp(scores) / np.exp(scores).sum()
    mixed[head, row] = weights @ v[head, : row + 1]
  x = norm(
    x + dense(mixed.swapaxes(0, 1).reshape(x.shape), attention["output"]), by["attention_norm"]
  )
  y = np.vectorize(lambda value: value * (1 + math.erf(value / math.sqrt(2))) / 2)(
    dense(x, by["mlp_in"])
  )
  return norm(x + dense(y, by["mlp_out"]), by["mlp_norm"])


def log_probabilities(params, z, language, tokens):
  """Of each id after the vector and the tokens before it: [V]."""
  decoder, embeddings = params["vector_decoder"], params["encoder"]["embeddings"]
  words = embeddings["word"]["embedding"]
  first = dense(z, decoder["dense"]) + decoder["language"]["embedding"][language]
  x = np.stack([first, *words[tokens]])
  x += embeddings["position"]["embedding"][: len(x)] + embeddings["token_type"]["embedding"][0]
  x = norm(x, embeddings["norm"])
  for name in ("layers_0", "layers_1"):
    x = layer_by_hand(x, decoder[name])
  return head_by_hand(decoder["head"], x[-1], words)


def reference(model, params, batch, *, direction):
  """The cross-entropies of all next tokens, and the squared difference, by loops."""
  encode = jax.jit(functools.partial(model.apply, deterministic=True, method="encode"))
  examples, views = batch["mask"].shape[:2]
  z, losses = np.zeros((examples, views, 16)), []
  for b, k in np.ndindex(examples, views):
    one = np.s_[b : b + 1, k : k + 1]
    z[b, k] = encode({"params": params}, batch["ids"][one], batch["mask"][one]).z[0, 0]
  for b, k in np.ndindex(examples, views - 1):
    routes = {"to_pivot": [(k + 1, 0)], "from_pivot": [(0, k + 1)]}
    for source, target in routes.get(direction, routes["to_pivot"] + routes["from_pivot"]):
      ids = batch["ids"][b, target][batch["mask"][b, target]]
      for p in range(1, len(ids)):
        given = z[b, source], batch["language"][b, target], ids[1:p]
        losses.append(-log_probabilities(params, *given)[ids[p]])
  return losses, np.mean((z[:, :1] - z[:, 1:]) ** 2)


@pytest.mark.parametrize("direction", ["to_pivot", "from_pivot", "both"])
def test_it_is_the_equation_and_its_gradient(direction):
  """Three views, float64."""
  with jax.enable_x64(True):
    model, params = network_of()
    params = jax.tree.map(lambda p: p.astype(np.float64), params)
    batch, settings = batch_of(), {"direction": direction, "mse_weight": 0.7}
    function = functools.partial(vector_translation.objective, **settings)
    loss, means = loss_of(model, params, batch, function)
    losses, mse = reference(model, params, batch, direction=direction)
    assert means["translated_tokens"].count == len(losses)
    np.testing.assert_allclose(means["translated_tokens"].compute(), np.mean(losses), rtol=1e-9)
    np.testing.assert_allclose(means["translation_mse"].compute(), mse, rtol=1e-9)
    np.testing.assert_allclose(loss, np.mean(losses) + 0.7 * mse, rtol=1e-9)
    if direction == "both":
      check = functools.partial(check_grads, order=1, modes=["rev"], eps=1e-6)
      check(lambda p: loss_of(model, p, batch, function)[0], (params,), atol=1e-6, rtol=1e-6)


def test_by_hand():
  """After z comes 7 (1/4), after 7 [SEP] (1/2), and of the [SEP]'s state nothing is asked."""
  logits = jnp.log(jnp.full((3, 9), 1e-9).at[0, 7].set(1 / 4).at[1, 3].set(1 / 2).at[2, 0].set(1))
  logits = logits.at[0, 8].set(jnp.log(3 / 4)).at[1, 8].set(jnp.log(1 / 2))

  def translate(z, *, ids, mask, language):
    assert ids.tolist() == [[2, 7, 3]] and language.tolist() == [0] and z.tolist() == [[2.0]]
    return FactoredLogits(jnp.eye(3)[None], kernel=logits, bias=jnp.zeros(9))

  ids = jnp.array([[[2, 7, 3], [2, 5, 3]]])
  batch = {"ids": ids, "mask": ids > 0, "language": jnp.array([[0, 4]])}
  model = types.SimpleNamespace(translate=translate)
  context = Context(batch, None, jnp.array([[[5.0], [2.0]]]), None, None, model=model)
  loss, _ = vector_translation.objective(context, direction="to_pivot", mse_weight=0.1)
  np.testing.assert_allclose(loss.compute(), (np.log(4) + np.log(2)) / 2 + 0.1 * 9, rtol=1e-6)


@pytest.mark.parametrize("model_type", ["bert", "xlm-roberta", "modernbert"])
def test_a_state_sees_the_vector_and_the_tokens_before_it(model_type):
  """A token changes its own state and later ones; the vector and the language change all."""
  given = ENCODER_ALONE | {"vocabulary": VOCABULARY, "max_tokens": 12}
  given |= {"vector_decoder": {"layers": 4, "languages": 3}}
  model = make_model(**given, **model_section(encoder=encoder_section(model_type)))
  params = jax.tree.map(lambda p: p + 0.1, drawn(model))
  batch, z = batch_of([[9]]), jax.random.normal(jax.random.key(0), (1, 48))

  def logits(z, ids, language=1):
    given = {"ids": ids, "mask": batch["mask"][:, 0], "language": jnp.array([language])}
    return np.asarray(logits_of(model, params, "translate", z, **given))[0]

  ids = jnp.asarray(batch["ids"][:, 0])
  expected = logits(z, ids)
  np.testing.assert_array_equal(logits(z, ids.at[0, 0].set(9)), expected)  # [CLS] is not there
  found = logits(z, ids.at[0, 4].set(9))
  np.testing.assert_array_equal(found[:4], expected[:4])
  for other in (found[4:9], logits(-z, ids)[:9], logits(z, ids, language=2)[:9]):
    assert (np.abs(other - expected[9 - len(other) : 9]).max(-1) > 1e-4).all()


def test_padding_a_mesh_and_microbatches_change_nothing():
  model, params = network_of()
  short, long = (loss_of(model, params, batch_of(padded=n), BOTH)[0] for n in (9, 12))
  np.testing.assert_allclose(short, long, rtol=2e-6)
  assert_a_mesh_changes_nothing(BOTH)
  assert_microbatches_change_nothing(BOTH, batch_of(LENGTHS))


def test_what_it_trains():
  """The encoder, through the vector and as what embeds the target, and its own decoder."""
  alone = functools.partial(BOTH, mse_weight=0.0)
  assert without_gradient(*network_of(), alone) == OTHERS - {"vector_decoder"}


def test_mistakes_and_needs():
  with pytest.raises(UserError, match="direction 'up' is none of to_pivot, from_pivot, both"):
    vector_translation.objective(None, direction="up", mse_weight=0.1)
  assert build.needs(sonar.get_config().objectives.to_dict()) == {"vector_decoder"}


def test_a_run(commands):
  folder = commands.prepared("translated")
  flags = ["--config.steps=20", "--config.objectives.vector_translation.weight=1.0"]
  flags += ["--config.objectives.representation_translation.weight=0.0"]
  commands.run(*commands.train_flags(folder, *flags))
  lines = [line for line in lines_of(folder) if "loss" in line]
  assert lines[-1]["translated_tokens"] < lines[0]["translated_tokens"]
  assert set(restore.shapes(folder)) == {"encoder", "vector_decoder"}
