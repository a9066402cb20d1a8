"""RTL over rows of several views, in both directions: one pair after the other is the measure.

Expected values: numpy cross-entropy over single, unpadded pairs; and the same loss over K = 2.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import dap_both
from dap_jax.core import train_step
from dap_jax.core.mean import Mean
from dap_jax.core.train_step import Frozen
from dap_jax.distributed import parameters, sharding
from dap_jax.model.from_config import ENCODER_ALONE, make_model
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.training import build
from dap_jax.utils.errors import UserError
from tests.models import drawn, encoder_section, logits_of, model_section
from tests.test_build import BUILT
from tests.test_masked_lm import LENGTHS, batch_of

VOCABULARY = Vocabulary(50, 0, 2, 3, 4, None)
SIZES = {"layers": 2, "width": 16, "heads": 2, "mlp_width": 32, "positions": 40, "token_types": 1}
DIRECTIONS = ["to_pivot", "from_pivot", "both"]


@functools.cache
def network():
  """A model with an RTL decoder for five languages, and its parameters, biases random too."""
  given = ENCODER_ALONE | {"vocabulary": VOCABULARY, "max_tokens": 12, "languages": 5}
  given["decoder"] = {"layers": 1, "english_head": False}
  model = make_model(**given, **model_section(encoder=encoder_section(**SIZES)))
  params = drawn(model)
  rng = np.random.default_rng(1)
  return model, jax.tree.map(lambda p: np.float32(p + rng.normal(0, 0.2, p.shape)), params)


def reconstruction(model, params, batch, direction, *, mask_ratio=1.0):
  """The mean of RTL alone, and its gradient."""
  settings = {"mask_ratio": mask_ratio, "direction": direction}
  objectives = build.make_objectives({"representation_translation": {"weight": 1.0, **settings}})

  def loss(params, batch):
    return train_step.loss_fn(
      params,
      batch,
      model=model,
      objectives=objectives,
      vocabulary=VOCABULARY,
      key=None,
      chunk_tokens=20,
    )

  (_, means), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, batch)
  return means["representation_translation"], grads


def routes(direction, views):
  """(source, target) views of every pair."""
  to_pivot = [(k, 0) for k in range(1, views)]
  from_pivot = [(0, k) for k in range(1, views)]
  return {"to_pivot": to_pivot, "from_pivot": from_pivot, "both": to_pivot + from_pivot}[direction]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_it_equals_single_unpadded_pairs(direction):
  model, params = network()
  batch = batch_of() | {"language": np.tile(np.array([0, 3, 1], np.int32), (4, 1))}
  encode = jax.jit(functools.partial(model.apply, deterministic=True, method="encode"))
  decode = jax.jit(
    functools.partial(logits_of, model, params, "decode"), static_argnames="to_pivot"
  )

  def states(tokens):
    ids = jnp.asarray(tokens)[None, None]
    variables = {"params": params}
    return encode(variables, ids, ids > 0).h[:, 0]

  losses = []
  for b in range(4):
    texts = [row[mask] for row, mask in zip(batch["ids"][b], batch["mask"][b], strict=True)]
    for source, target in routes(direction, 3):
      # The decoder takes one length: the shorter text is padded to the other's.
      length = max(len(texts[source]), len(texts[target]))
      h, target_h = (
        jnp.pad(states(texts[k]), ((0, 0), (0, length - len(texts[k])), (0, 0)))
        for k in (source, target)
      )
      real = [jnp.arange(length)[None] < len(texts[k]) for k in (source, target)]
      logits = decode(
        h,
        source_mask=real[0],
        target_h=target_h,
        target_mask=real[1],
        replaced=jnp.ones((1, length), bool),
        language=jnp.asarray(batch["language"][b, target])[None],
        to_pivot=target == 0,
      )
      logits = np.asarray(logits[0], np.float64)
      for position in range(1, len(texts[target])):
        row = logits[position]
        losses.append(np.log(np.exp(row).sum()) - row[texts[target][position]])
  found, _ = reconstruction(model, params, batch, direction)
  assert found.count == len(losses)
  np.testing.assert_allclose(found.compute(), np.mean(losses), rtol=2e-6)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_several_translations_are_as_many_pairs(direction):
  """Tokens and gradients of K = 3 are those of the two K = 2 together."""
  model, params = network()
  batch = batch_of()
  whole, grads = reconstruction(model, params, batch, direction)
  train_program = []
  for k in (1, 2):
    pair = {name: array[:, [0, k]] for name, array in batch.items()}
    train_program.append(reconstruction(model, params, pair, direction))
  merged = train_program[0][0].merge(train_program[1][0])
  np.testing.assert_allclose(whole, merged, rtol=2e-6)
  weighted = jax.tree.map(
    lambda a, b: (a * train_program[0][0].count + b * train_program[1][0].count) / merged.count,
    train_program[0][1],
    train_program[1][1],
  )
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), grads, weighted)


def test_who_gets_gradient():
  """Languages: those that are written, but the pivot's. The encoder: through the source alone."""
  model, params = network()
  batch = batch_of() | {"language": np.tile(np.array([0, 3, 1], np.int32), (4, 1))}
  for direction in ("from_pivot", "both"):
    _, grads = reconstruction(model, params, batch, direction)
    vectors = np.abs(grads["decoder"]["language"]["embedding"]).sum(1)
    assert np.flatnonzero(vectors).tolist() == [1, 3]
  for path, grad in jax.tree_util.tree_leaves_with_path(grads):
    name = parameters.path_name(path)
    if "projection" in name:  # of the sentence vector, which RTL does not read
      assert not np.any(grad), name
    else:
      assert np.any(grad), name


def test_part_of_the_slots():
  """With a ratio below 1 each pair draws its own slots: fewer tokens are predicted."""
  model, params = network()
  whole, _ = reconstruction(model, params, batch_of(), "both")
  half, _ = reconstruction(model, params, batch_of(), "both", mask_ratio=0.5)
  assert isinstance(half, Mean) and 0.3 * whole.count < half.count < 0.7 * whole.count


def test_mistakes():
  model, params = network()
  with pytest.raises(UserError, match="direction 'sideways'"):
    reconstruction(model, params, batch_of(), "sideways")
  vocabulary = VOCABULARY._replace(english_ids=np.arange(5, 30, dtype=np.int32))
  settings = {"weight": 1.0, "mask_ratio": 1.0, "direction": "both"}
  objectives = build.make_objectives({"representation_translation": settings})
  with pytest.raises(UserError, match=r"needs decoder\.english_head=False"):
    train_step.loss_fn(
      params, batch_of(), model=model, objectives=objectives, vocabulary=vocabulary, key=None
    )


def test_the_config_of_both_directions_trains():
  config = dap_both.get_config()
  encoder = config.model.encoder
  encoder.layers, encoder.width, encoder.heads, encoder.mlp_width = 1, 16, 2, 32
  config.max_tokens, config.optimizer.warmup_steps = 12, 0
  found = []
  for data in (8, 4):
    config.mesh = {"data": data, "fsdp": 1, "model": 8 // data}
    settings = config.to_dict()
    train_program = build.build(
      vocabulary=VOCABULARY, languages=5, **{key: settings[key] for key in (*BUILT, "mesh")}
    )
    state, batch = train_program.init({}), batch_of(LENGTHS * 2)
    for _ in range(4):
      placed = sharding.put_batch(batch, train_program.mesh, batch_size=8)
      state, means = train_program.step(state, placed, Frozen())
      found.append(float(means["representation_translation"].compute()))
  assert found[3] < found[2] < found[1] < found[0]
  np.testing.assert_allclose(found[:4], found[4:], rtol=1e-5)
