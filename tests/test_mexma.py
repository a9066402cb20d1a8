"""MEXMA against loops and by hand; and both token heads in runs, warm starts and exports.

Expected values: worked by hand; numpy loops over single sentences; transformers' own masked-LM
heads; runs that nothing interrupted.
"""

import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch
from jax.test_util import check_grads

from configs import base, mlm, tr_tlm
from configs import mexma as mexma_config
from dap_jax.data import tokenizer_training
from dap_jax.hub import from_hf
from dap_jax.inference import embedder
from dap_jax.objectives import mexma
from dap_jax.training import build, initial_weights
from dap_jax.utils.errors import UserError
from tests.commands import final_state, lines_of
from tests.models import logits_of, transformers_model
from tests.test_build import BUILT
from tests.test_hub import saved
from tests.test_masked_lm import (
  LENGTHS,
  OTHERS,
  VOCABULARY,
  assert_a_mesh_changes_nothing,
  batch_of,
  drawn_of,
  loss_of,
  network_of,
  without_gradient,
)

SETTINGS = {"mask_ratio": 0.3, "mask_share": 0.8, "mse_weight": 0.7, "koleo_weight": 0.2}


def koleo_of(z, text_hash):
  """By loops: z [B, K, D]."""
  found = []
  for k in range(z.shape[1]):
    u = [row / np.linalg.norm(row) for row in z[:, k]]
    for i, own in enumerate(text_hash):
      others = [j for j, their in enumerate(text_hash) if not np.any(own == their)]
      if others:
        found.append(-np.log(min(np.linalg.norm(u[i] - u[j]) for j in others)))
  return np.mean(found)


def test_koleo_by_hand():
  """Unit vectors at 0, 60 and 180 degrees: the nearest are 1, 1 and sqrt(3) away."""
  half = np.sqrt(3) / 2
  z = jnp.array([[[2.0, 0.0]], [[0.5, half]], [[-3.0, 0.0]]])
  apart = jnp.arange(3)[:, None]
  np.testing.assert_allclose(mexma.koleo(z, apart).compute(), -np.log(3) / 6, rtol=1e-6)
  # The first two are the same text: sqrt(3) is left to the second, 2 to the first.
  same = jnp.array([[5], [5], [6]])
  expected = -(np.log(2) + np.log(3) / 2 + np.log(3) / 2) / 3
  np.testing.assert_allclose(mexma.koleo(z, same).compute(), expected, rtol=1e-6)
  # Translations of one text are no neighbours either; nor is anyone of a text that is alone.
  shared = jnp.array([[5, 1], [5, 2]])
  alone = mexma.koleo(jnp.ones((2, 2, 3)), shared)
  assert alone.count == alone.compute() == 0


def test_equal_vectors_of_other_texts_have_a_finite_gradient():
  z = jnp.ones((2, 1, 3))
  slope = jax.grad(lambda z: mexma.koleo(z, jnp.arange(2)[:, None]).compute())(z)
  assert np.isfinite(slope).all()


def reference(model, params, batch, drawn):
  """The three parts, by loops: each sentence is encoded and unmasked alone."""

  encode = jax.jit(functools.partial(model.apply, deterministic=True, method="encode"))
  unmask = jax.jit(functools.partial(logits_of, model, params, "unmask"))
  examples, views = batch["mask"].shape[:2]
  z = np.zeros((examples, views, 16))
  losses = [[], []]
  for b, k in np.ndindex(examples, views):
    one = np.s_[b : b + 1, k : k + 1]
    z[b, k] = encode({"params": params}, batch["ids"][one], batch["mask"][one]).z[0, 0]
  for b, k in np.ndindex(examples, views):
    one = np.s_[b : b + 1, k : k + 1]
    h = encode({"params": params}, drawn.ids[one], batch["mask"][one]).h[0]
    for other in range(1, views) if k == 0 else [0]:
      given = (h.at[0, 0].set(z[b, other]), batch["mask"][one][0], drawn.positions[one][0])
      logits = np.asarray(unmask(*given)[0])
      labelled = zip(logits, drawn.labels[b, k], drawn.counted[b, k], strict=True)
      losses[min(k, 1)] += [np.log(np.exp(x).sum()) - x[label] for x, label, yes in labelled if yes]
  mse = np.mean([(z[b, 0] - z[b, k]) ** 2 for b in range(examples) for k in range(1, views)])
  masked = (np.mean(losses[0]) + np.mean(losses[1])) / 2
  return masked, mse, koleo_of(z, batch["text_hash"])


@pytest.mark.parametrize("views", [2, 3])
def test_it_is_the_formula_and_its_gradient(views):
  """In float64; the first and the last example share a text."""
  with jax.enable_x64(True):
    model, params = network_of()
    params = jax.tree.map(lambda p: p.astype(np.float64), params)
    batch = batch_of([row[:views] for row in LENGTHS])
    batch["text_hash"][3, 1] = batch["text_hash"][0, 1]

    def function(context):
      draw_key = jax.random.fold_in(jax.random.key(5), 0)
      return mexma.objective(context._replace(key=draw_key), **SETTINGS)

    loss, means = loss_of(model, params, batch, function)
    masked, mse, koleo = reference(model, params, batch, drawn_of(batch))
    np.testing.assert_allclose(means["mexma_masked"].compute(), masked, rtol=1e-9)
    np.testing.assert_allclose(means["mexma_mse"].compute(), mse, rtol=1e-9)
    np.testing.assert_allclose(means["mexma_koleo"].compute(), koleo, rtol=1e-9)
    np.testing.assert_allclose(loss, masked + 0.7 * mse + 0.2 * koleo, rtol=1e-9)
    check = functools.partial(check_grads, order=1, modes=["rev"], eps=1e-6)
    check(lambda p: loss_of(model, p, batch, function)[0], (params,), atol=1e-6, rtol=1e-6)


def test_padding_and_a_mesh_change_nothing():
  model, params = network_of()
  function = functools.partial(mexma.objective, **SETTINGS)
  short, long = (
    loss_of(model, params, batch_of(padded=padded), function, key=jax.random.key(3))[1]
    for padded in (9, 12)
  )
  for name in short:
    np.testing.assert_allclose(short[name].compute(), long[name].compute(), rtol=2e-6)
  assert_a_mesh_changes_nothing(function)


def test_what_it_trains():
  """With its masked term alone: the encoder by the tokens, and by the vector that helps them."""
  alone = SETTINGS | {"mse_weight": 0.0, "koleo_weight": 0.0}
  function = functools.partial(mexma.objective, **alone)
  assert without_gradient(*network_of(), function) == OTHERS - {"unmasking"}

  def of_tokens(context):
    return function(context._replace(z=jax.lax.stop_gradient(context.z)))

  assert without_gradient(*network_of(), of_tokens) == {"projection"} | OTHERS - {"unmasking"}


def test_a_vector_that_is_no_token_state_is_named():
  model, params = network_of(dense={"width": 8, "activation": "tanh"}, projection=False)
  with pytest.raises(UserError, match="vector of width 8 among token states of width 16: set"):
    loss_of(model, params, batch_of(), functools.partial(mexma.objective, **SETTINGS))


@pytest.mark.parametrize(
  ("config", "names"),
  [
    (mlm, ["masked_lm"]),
    (tr_tlm, ["masked_lm", "translation_ranking"]),
    (mexma_config, ["mexma"]),
  ],
)
def test_configs_build(config, names):
  settings = config.get_config().to_dict()
  vocabulary = VOCABULARY._replace(size=settings["tokenizer"]["vocabulary_size"])
  mesh = {"data": 8, "fsdp": 1, "model": 1}
  train_program = build.build(
    vocabulary=vocabulary, mesh=mesh, **{key: settings[key] for key in BUILT}
  )
  assert sorted(train_program.objectives) == names
  assert "decoder" not in train_program.abstract_state.params


def parts_of(source):
  """The parts of a run that starts from a source and has both heads."""
  config = base.get_config().to_dict()
  config["objectives"] = {
    name: config["objectives"][name] | {"weight": 1.0} for name in ("masked_lm", "mexma")
  }
  model = {**config["model"], **source.model, "compute_dtype": "float32"}
  given = {key: config[key] for key in BUILT} | {"model": model, "max_tokens": 12}
  vocabulary = VOCABULARY._replace(size=model["encoder"]["vocabulary_size"])
  return build.build(vocabulary=vocabulary, mesh={"data": 4, "fsdp": 1, "model": 2}, **given)


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "xlm-roberta", "modernbert"])
def test_the_head_starts_from_the_checkpoints(tmp_path, model_type):
  """Its logits are transformers' own; without one, it starts anew."""
  texts = ["red page", "old user opens the page", "new file"]
  tokenizer_training.train(texts * 9, vocabulary_size=23, directory=tmp_path / "tokens")
  module = transformers_model(model_type, vocabulary_size=23)
  source = initial_weights.open_source(str(saved(tmp_path / "whole", module, tmp_path / "tokens")))
  train_program = parts_of(source)
  abstract = train_program.abstract_state.params
  params, said = initial_weights.first_params(source, abstract, english_ids=None)
  assert "the masked-LM head is its own; the unmasking head starts anew" in said
  params = train_program.init(params).params
  assert jax.tree.structure(params) == jax.tree.structure(abstract)
  ids = np.arange(5, 17)[None]
  mask, places = jnp.ones(ids.shape, bool), jnp.array([[3, 0, 11]])
  call = functools.partial(train_program.model.apply, {"params": params}, deterministic=True)
  h = call(jnp.array(ids)[None], mask[None], method="encode").h[0]
  with torch.no_grad():
    expected = module(torch.from_numpy(ids)).logits.numpy()[:, [3, 0, 11]]
  logits = logits_of(train_program.model, params, "predict", h, mask, places)
  np.testing.assert_allclose(logits, expected, atol=1e-5)

  bare = saved(tmp_path / "bare", module.base_model, tmp_path / "tokens")
  found, said = initial_weights.first_params(
    initial_weights.open_source(str(bare)), abstract, english_ids=None
  )
  assert "the masked-LM head starts anew, since it has none" in said
  assert set(found) == {"encoder"}


HEADS = ("--config.objectives.masked_lm.weight=0.1", "--config.objectives.mexma.weight=0.5")
HEADS += ("--config.unmasking.layers=1",)  # the encoder has one layer


@pytest.fixture(scope="module")
def run(commands):
  """Twenty steps with RTL, TLM and MEXMA."""
  folder = commands.prepared("heads")
  commands.run(*commands.train_flags(folder, "--config.steps=20", *HEADS))
  return folder


def test_a_run_learns_and_resumes_bit_for_bit(commands, run):
  lines = [line for line in lines_of(run) if "loss" in line]
  assert lines[-1]["masked_lm"] < lines[0]["masked_lm"]
  assert lines[-1]["mexma_masked"] < lines[0]["mexma_masked"]
  again = commands.folder / "heads_again"
  shutil.copytree(run, again)
  shutil.rmtree(again / "checkpoints" / "20")
  said = commands.run(*commands.train_flags(again, "--config.steps=20", *HEADS))
  assert "resumed at step 10" in said
  expected, found = final_state(run), final_state(again)
  assert set(expected[0].params) == {"encoder", "decoder", "masked_lm", "unmasking"}
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_what_leaves_a_run_has_no_unmasking_head(commands, run, tmp_path):
  """Encoding, evaluation, and exports with and without the decoder; the masked-LM head stays."""
  texts = ["the red page opens it", "a new file"]
  expected = embedder.load(run).encode(texts)
  commands.run("evaluate", f"--model={run}")
  for name, *flags in (("bare",), ("more", "--include_decoder")):
    folder = tmp_path / name
    commands.run("export", f"--workdir={run}", f"--output={folder}", *flags)
    np.testing.assert_allclose(embedder.load(folder).encode(texts), expected, atol=1e-5)
    stored = safetensors.numpy.load_file(folder / "model.safetensors")
    heads = {name for name in stored if not name.startswith("bert.")}
    assert heads == set(transformers_model("bert", vocabulary_size=20).state_dict()) & heads
    assert "cls.predictions.transform.dense.weight" in heads
    assert (folder / from_hf.DECODER).exists() == bool(flags)


def test_a_run_starts_from_another(commands, run):
  """Its heads go on; where it has none they start anew, and the log says so."""
  said, losses = {}, {}
  for name, source in (("goes_on", run), ("anew", commands.straight)):
    folder = commands.prepared(name)
    flags = ("--config.steps=2", "--config.log_steps=1", *HEADS, f"--config.init_from={source}")
    said[name] = commands.run(*commands.train_flags(folder, *flags))
    losses[name] = next(line["masked_lm"] for line in lines_of(folder) if "loss" in line)
  assert "start anew" not in said["goes_on"]
  assert "masked_lm and unmasking start anew" in said["anew"]
  assert losses["goes_on"] < losses["anew"]
