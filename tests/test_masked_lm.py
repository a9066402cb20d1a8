"""MLM and TLM: the draw, the loss against loops, and the released program's TLM.

Expected values: worked by hand; numpy loops over single, unpadded sequences; and the numbers of the
released program in ../shared/golden/dap_bert.npz (its README says how; skipped without it).
"""

import functools
import json
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

from dap_jax.core import train_step
from dap_jax.core.cross_entropy import FactoredLogits
from dap_jax.core.objective import Objective
from dap_jax.distributed import parameters, sharding
from dap_jax.hub import names
from dap_jax.hub.model_types import tensor_names
from dap_jax.model.from_config import ENCODER_ALONE, make_model
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.objectives import masked_lm, translation_ranking
from dap_jax.utils import trees
from dap_jax.utils.binding import bind
from dap_jax.utils.errors import UserError
from tests.models import drawn, encoder_section, model_section
from tests.test_golden import SIZES, TR, torch_names, tree_of, weights

VOCABULARY = Vocabulary(50, 0, 2, 3, 4, None)
SETTINGS = {"sequence": "both", "mask_ratio": 0.3}
SMALL = {"layers": 1, "width": 16, "heads": 2, "mlp_width": 32, "positions": 24, "token_types": 1}
LENGTHS = [[5, 9, 3], [7, 4, 2], [3, 6, 8], [9, 2, 9]]  # of three views, [CLS] and [SEP] in


OTHERS = {"masked_lm", "unmasking", "bag_of_tokens", "vector_decoder"}  # heads of `network_of`


def batch_of(lengths=LENGTHS, *, padded=12, seed=0):
  """Random ordinary ids of the given lengths [B, K]; [CLS] first and [SEP] last."""
  rng, shape = np.random.default_rng(seed), np.shape(lengths)
  ids = np.zeros((*shape, padded), np.int32)
  for b, k in np.ndindex(shape):
    ids[b, k, : lengths[b][k]] = [2, *rng.integers(5, 50, lengths[b][k] - 2), 3]
  text_hash = np.arange(ids[..., 0].size, dtype=np.int32).reshape(shape)
  language = np.tile(np.arange(shape[1], dtype=np.int32), (shape[0], 1))
  return {"ids": ids, "mask": ids != 0, "text_hash": text_hash, "language": language}


def network_of(**settings):
  """A model with the heads of tokens, and its parameters, biases and norms random too."""
  given = ENCODER_ALONE | {"vocabulary": VOCABULARY, "max_tokens": 12}
  given |= {"masked_lm": True, "unmasking": {"layers": 1}, "bag_of_tokens": 3}
  given |= {"vector_decoder": {"layers": 2, "languages": 3}}
  model = make_model(**given, **model_section(encoder=encoder_section(**SMALL), **settings))
  params = drawn(model)
  rng = np.random.default_rng(1)
  return model, jax.tree.map(lambda p: np.float32(p + rng.normal(0, 0.2, p.shape)), params)


def loss_of(model, params, batch, function, *, key=None):
  """The loss of one objective alone, and all means."""
  objectives = {"own": Objective(1.0, function)}
  given = {"model": model, "objectives": objectives, "vocabulary": VOCABULARY}
  return jax.jit(functools.partial(train_step.loss_fn, **given))(params, batch, key=key)


def without_gradient(model, params, function):
  """The parts of the model that an objective gives no gradient; else every parameter must get one.

  That of a key's bias is exactly zero, since it moves all scores of a row alike.
  """
  grads = jax.jit(jax.grad(lambda p: loss_of(model, p, batch_of(), function)[0]))(params)
  flat = trees.flatten(grads)
  none = {path for path, leaf in flat.items() if not np.abs(leaf).max() > 1e-7}
  none = {path for path in none if not path.endswith("key/bias")}
  parts = {path.split("/")[0] for path in none}
  assert none >= {path for path in flat if path.split("/")[0] in parts and "key/bias" not in path}
  return parts


def assert_a_mesh_changes_nothing(function, batch=None):
  """Loss and gradients of 8 examples on one device and on a 4 x 2 mesh, with dropout."""
  model, params = network_of(dropout=0.1)
  batch = batch_of(LENGTHS * 2) if batch is None else batch
  mesh = sharding.make_mesh(data=4, model=2)
  objectives = {"own": Objective(1.0, function)}
  given = {"model": model, "objectives": objectives, "vocabulary": VOCABULARY}
  loss = jax.value_and_grad(functools.partial(train_step.loss_fn, **given), has_aux=True)
  (expected, _), slope = jax.jit(loss)(params, batch, key=jax.random.key(3))
  places = jax.tree.map(lambda leaf: leaf.sharding, parameters.with_shardings(params, mesh))
  placed = jax.device_put(params, places), sharding.put_batch(batch, mesh, batch_size=8)
  with jax.set_mesh(mesh):
    step = jax.jit(loss, out_shardings=NamedSharding(mesh, P()))
    (found, _), grads = step(*placed, key=jax.random.key(3))
  np.testing.assert_allclose(found, expected, rtol=2e-6)
  largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(slope))
  close = functools.partial(np.testing.assert_allclose, rtol=0, atol=2e-6 * largest)
  jax.tree.map(close, grads, slope)


def assert_microbatches_change_nothing(function, batch):
  """Loss and gradients of one pass and of two chunks of the rows, in float64."""
  with jax.enable_x64(True):
    model, params = network_of()
    params = jax.tree.map(lambda p: p.astype(np.float64), params)
    given = {"model": model, "objectives": {"own": Objective(1.0, function)}, "key": None}
    given |= {"vocabulary": VOCABULARY, "chunk_tokens": 3}
    (expected, slope), (found, grads) = (
      jax.jit(
        jax.value_and_grad(
          lambda p, b, chunks=chunks: train_step.loss_fn(p, b, microbatches=chunks, **given)[0]
        )
      )(params, batch)
      for chunks in (1, 2)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12), grads, slope)


def drawn_of(batch, *, sequence="sentence", ratio=0.3, share=0.8, number=0):
  """The draw of the objective's part `number`, where its key is `key(5)`."""
  ids, mask = (masked_lm.sequences(jnp.asarray(batch[name]), sequence) for name in ("ids", "mask"))
  key = jax.random.fold_in(jax.random.key(5), number)
  given = {"vocabulary": VOCABULARY, "mask_ratio": ratio, "mask_share": share, "key": key}
  return masked_lm.draw(ids, mask, **given)


@pytest.mark.parametrize("sequence", ["sentence", "pair"])
@pytest.mark.parametrize("ratio", [0.05, 0.2, 0.5, 1.0])
def test_a_draw_hides_so_many_ordinary_tokens(sequence, ratio):
  """max(1, round(ratio n)) of each sequence's n, none where n = 0; the rest stays as it is."""
  batch = batch_of()
  drawn = drawn_of(batch, sequence=sequence, ratio=ratio)
  ids = np.asarray(masked_lm.sequences(jnp.asarray(batch["ids"]), sequence))
  ids = ids.reshape(drawn.ids.shape)
  for b, g in np.ndindex(ids.shape[:2]):
    ordinary = np.flatnonzero(ids[b, g] >= 5)
    expected = max(1, round(ratio * len(ordinary))) if len(ordinary) else 0
    places = np.asarray(drawn.positions[b, g])[np.asarray(drawn.counted[b, g])]
    assert len(places) == len(set(places)) == expected
    assert set(places) <= set(ordinary)
    np.testing.assert_array_equal(drawn.labels[b, g], ids[b, g][drawn.positions[b, g]])
    others = np.setdiff1d(np.arange(ids.shape[-1]), places)
    np.testing.assert_array_equal(drawn.ids[b, g][others], ids[b, g][others])


def test_a_draw_is_uniform_and_replaces_as_bert_does():
  """6,000 sentences of 9 ordinary tokens, 3 of them hidden; five standard deviations of room."""
  batch = batch_of([[11]] * 6000)
  drawn = drawn_of(batch, ratio=1 / 3)
  places = np.asarray(drawn.positions)[np.asarray(drawn.counted)]
  assert len(places) == 18_000
  often = np.bincount(places, minlength=12) / 6000
  np.testing.assert_array_equal(often[[0, 10, 11]], 0)
  np.testing.assert_allclose(often[1:10], 1 / 3, atol=5 * math.sqrt(2 / 9 / 6000))
  read = np.take_along_axis(np.asarray(drawn.ids), np.asarray(drawn.positions), -1)
  read, was = (np.asarray(x)[np.asarray(drawn.counted)] for x in (read, drawn.labels))
  other = read[(read != 4) & (read != was)]
  # A random id is the token's own with chance 1 / 46.
  expected = {"mask": 0.8, "kept": 0.1 + 0.1 / 46, "other": 0.1 - 0.1 / 46}
  found = {"mask": (read == 4).mean(), "kept": (read == was).mean(), "other": len(other) / 18_000}
  for name, share in expected.items():
    np.testing.assert_allclose(found[name], share, atol=5 * math.sqrt(share / 18_000))
  assert set(other) == {1, *range(5, 50)}  # every id but [PAD], [CLS], [SEP] and [MASK]


def test_a_draw_by_hand():
  ids = np.array([[[2, 7, 8, 3, 0], [2, 3, 0, 0, 0]]])
  drawn = drawn_of({"ids": ids, "mask": ids != 0}, ratio=1.0, share=1.0)
  np.testing.assert_array_equal(drawn.ids, [[[2, 4, 4, 3, 0], [2, 3, 0, 0, 0]]])
  # A sentence of length 5 may have 3 ordinary tokens; these have 2 and 0.
  assert drawn.counted.tolist() == [[[True, True, False], [False] * 3]]
  assert sorted(drawn.labels[0, 0, :2].tolist()) == [7, 8]


def test_a_loss_by_hand():
  """Two examples of one sequence, two places each; the last place only fills up."""
  logits = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], [[0.25, 0.5, 0.25], [1] * 3]]))
  factored = FactoredLogits(logits, jnp.eye(3), jnp.zeros(3))
  labels = jnp.array([[[0, 2]], [[2, 1]]])
  counted = jnp.array([[[True, True]], [[True, False]]])
  drawn = masked_lm.Draw(labels, labels, labels, counted)
  loss = masked_lm.hidden_loss(factored, drawn, chunk_tokens=1)
  np.testing.assert_allclose(loss.compute(), np.log(2 / 0.8 * 4) / 3, rtol=1e-6)


def head_by_hand(head, x, words):
  """BERT's masked-LM head: x [D] -> log-probabilities [V]."""
  x = x @ head["dense"]["kernel"] + head["dense"]["bias"]
  x = np.array([value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in x])
  x = (x - x.mean()) / np.sqrt(x.var() + 1e-12) * head["norm"]["scale"] + head["norm"]["bias"]
  logits = words @ x + head["vocabulary"]["bias"]
  return logits - np.log(np.exp(logits).sum())


def reference(model, params, batch, drawn, *, sequence):
  """Sum of the losses of a draw and their number, by loops, each sequence encoded alone."""
  total, count = 0.0, 0
  mask = np.asarray(masked_lm.sequences(jnp.asarray(batch["mask"]), sequence))
  mask = mask.reshape(drawn.ids.shape)
  words = params["encoder"]["embeddings"]["word"]["embedding"]
  positions = jnp.array([[*range(12)] * (mask.shape[-1] // 12)])
  encode = functools.partial(model.apply, positions=positions, deterministic=True, method="encode")
  encode = jax.jit(encode)
  for b, g in np.ndindex(mask.shape[:2]):
    one = np.s_[b : b + 1, g : g + 1]
    h = np.asarray(encode({"params": params}, drawn.ids[one], mask[one]).h[0, 0])
    for position, label, counted in zip(*(x[b, g] for x in drawn[1:]), strict=True):
      if counted:
        total -= head_by_hand(params["masked_lm"]["head"], h[position], words)[label]
        count += 1
  return total, count


@pytest.mark.parametrize("sequence", ["sentence", "pair", "both"])
def test_it_is_the_formula_and_its_gradient(sequence):
  """Three views, float64."""
  with jax.enable_x64(True):
    model, params = network_of()
    params = jax.tree.map(lambda p: p.astype(np.float64), params)
    batch = batch_of()
    total, count = 0.0, 0
    for number, kind in enumerate(masked_lm.SEQUENCES[sequence]):
      drawn = drawn_of(batch, sequence=kind, number=number)
      part = reference(model, params, batch, drawn, sequence=kind)
      total, count = total + part[0], count + part[1]

    def function(context):
      context = context._replace(key=jax.random.key(5))
      return masked_lm.objective(context, **SETTINGS | {"sequence": sequence})

    loss, means = loss_of(model, params, batch, function)
    assert means["own"].count == count > 8
    np.testing.assert_allclose(loss, total / count, rtol=1e-9)
    if sequence == "both":
      check = functools.partial(check_grads, order=1, modes=["rev"], eps=1e-6)
      check(lambda p: loss_of(model, p, batch, function)[0], (params,), atol=1e-6, rtol=1e-6)


def test_padding_and_a_mesh_change_nothing():
  """The draw is the same too: it does not depend on the padded length."""
  model, params = network_of()
  function = functools.partial(masked_lm.objective, **SETTINGS | {"sequence": "pair"})
  short, long = (
    loss_of(model, params, batch_of(padded=padded), function, key=jax.random.key(3))[1]["own"]
    for padded in (9, 12)
  )
  assert short.count == long.count
  np.testing.assert_allclose(short.compute(), long.compute(), rtol=2e-6)
  assert_a_mesh_changes_nothing(function)


def test_what_it_trains():
  """The encoder and its own head, not what makes the sentence vector."""
  function = functools.partial(masked_lm.objective, **SETTINGS)
  assert without_gradient(*network_of(), function) == {"projection"} | OTHERS - {"masked_lm"}


def test_mistakes():
  with pytest.raises(UserError, match="sequence 'word' is none of sentence, pair, both"):
    masked_lm.objective(None, **SETTINGS | {"sequence": "word"})


@pytest.fixture(params=[("f32", np.float32, 1e-5, 1e-4), ("f64", np.float64, 1e-10, 1e-9)])
def precision(request):
  with jax.enable_x64(request.param[0] == "f64"):
    yield request.param


def released(golden):
  """The released program's TLM: model, parameters, the projection [V, D] that its head has."""
  given = {"vocabulary": Vocabulary(400, 0, 2, 3, 4, None), "max_tokens": 16, "masked_lm": True}
  section = model_section(encoder=encoder_section(**SIZES), pooling="cls")
  model = make_model(**ENCODER_ALONE | given, **section)
  params = weights(golden, english=False, projection=True, decoder=False)
  prefix = "w/lm_head."
  head = {
    f"cls.predictions.{name.removeprefix(prefix)}": golden[name]
    for name in golden.files
    if name.startswith(prefix)
  }
  params["masked_lm"] = tree_of(head, names.head_entries(tensor_names.BERT, tied=True))
  return model, params, head["cls.predictions.decoder.weight"]


def released_draw(golden):
  """Its masks: all of the 32 places of a pair, of which those with a label count."""
  ids, labels = (golden[f"tlm/in/tlm_{name}"].reshape(8, 1, 32) for name in ("input_ids", "labels"))
  positions = np.broadcast_to(np.arange(32), ids.shape)
  arrays = (ids, positions, np.maximum(labels, 0))
  return masked_lm.Draw(*(jnp.asarray(x, jnp.int32) for x in arrays), jnp.asarray(labels >= 0))


def test_the_released_tlm(shared, precision):
  """TR + 0.1 TLM: states, losses, and every parameter's gradient."""
  golden = np.load(shared / "golden" / "dap_bert.npz")
  folder, dtype, tolerance, grad_tolerance = precision
  meta, drawn = json.loads(str(golden["meta"])), released_draw(golden)
  model, *params = released(golden)
  params = jax.tree.map(lambda w: jnp.asarray(w, dtype), params)
  mask = jnp.asarray(golden["in/attention_mask"].reshape(8, 1, 32), bool)
  flip = [1, 0]  # the released order is (x, y); ours has the pivot y first
  batch = batch_of([[2, 2]] * 8) | {
    "ids": jnp.asarray(golden["in/input_ids"][:, flip], jnp.int32),
    "mask": jnp.asarray(golden["in/attention_mask"][:, flip], bool),
  }

  def loss(params):
    own, projection = params

    def predict(h, mask, positions):
      apply = functools.partial(model.apply, {"params": own})
      states = apply(h, mask, positions, deterministic=True, method="predict")
      _, bias = apply(method="predict_projection")
      return FactoredLogits(states, projection.T, bias)

    def tlm(context):
      heads = types.SimpleNamespace(encode=context.model.encode, predict=predict)
      context = context._replace(model=heads)
      return masked_lm.prediction(context, drawn, mask, sentences=2), {}

    ranking = bind(translation_ranking.objective, TR, where="test")
    objectives = {
      "translation_ranking": Objective(1.0, ranking),
      "masked_lm": Objective(meta["tlm_weight"], tlm),
    }
    given = {"model": model, "objectives": objectives, "vocabulary": VOCABULARY, "key": None}
    return train_step.loss_fn(own, batch, chunk_tokens=10, **given)

  step = jax.jit(jax.value_and_grad(loss, has_aux=True))
  (total, means), (grads, of_projection) = step(params)
  found = {"loss": total, "tr_loss": means["translation_ranking"].compute()}
  found["tlm_loss"] = means["masked_lm"].compute()
  for name, value in found.items():
    np.testing.assert_allclose(value, golden[f"tlm/{folder}/eval/{name}"], rtol=tolerance)

  given = {
    "positions": jnp.tile(jnp.arange(16), 2)[None],
    "deterministic": True,
    "method": "encode",
  }
  encode = jax.jit(functools.partial(model.apply, **given))
  h = encode({"params": params[0]}, drawn.ids, mask).h[:, 0]
  np.testing.assert_allclose(h, golden["tlm/f64/tlm_last_hidden"], rtol=0, atol=5 * tolerance)

  head = names.to_torch(grads.pop("masked_lm"), names.head_entries(tensor_names.BERT, tied=True))
  ours = torch_names(grads) | {"lm_head.decoder.weight": of_projection}
  ours |= {name.replace("cls.predictions", "lm_head"): array for name, array in head.items()}
  theirs = dict(
    zip(meta["cases"]["tlm"]["grad_names"], golden[f"tlm/{folder}/grad_norms"], strict=True)
  )
  assert set(ours) == set(theirs)
  noise = 1e-7 * float(golden[f"tlm/{folder}/grad_total_norm"])
  for name, array in ours.items():
    norm = np.linalg.norm(np.asarray(array, np.float64))
    # The gradient of a key bias is exactly zero; both programs hold rounding noise there.
    atol = noise if "attention.self.key.bias" in name else 0.0
    np.testing.assert_allclose(norm, theirs[name], rtol=grad_tolerance, atol=atol, err_msg=name)
