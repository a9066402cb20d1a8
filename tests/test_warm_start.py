"""`init_from`: another workdir, an exported folder, a checkpoint of transformers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import tokenizers
import torch

from configs import base
from dap_jax.core.cross_entropy import FactoredLogits
from dap_jax.core.train_step import Frozen
from dap_jax.data import manifest
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.distributed import sharding
from dap_jax.hub import from_hf, to_hf
from dap_jax.hub import tokenizer_files as hub_tokenizer
from dap_jax.model.decoder import Head
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.training import build, initial_weights, vocabulary_rows
from dap_jax.utils.errors import UserError
from tests.commands import lines_of
from tests.models import model_section, transformers_model

TYPES = ["bert", "distilbert", "xlm-roberta", "xlm-roberta-xl", "modernbert"]
ENGLISH = np.array([5, 7, 8, 11, 20], np.int32)


def parts_of(
  source, tokens, english_ids, *, projection=False, layers=2, english_head=True, rows=0, **weights
):
  """The parts of a run that starts from a source; weights of further objectives."""
  config = base.get_config().to_dict()
  for name, weight in weights.items():
    config["objectives"][name]["weight"] = weight
  section = {**config["model"], "encoder": {**config["model"]["encoder"], "vocabulary_size": rows}}
  model = initial_weights.decide(section, source.model)
  model |= {"projection": projection, "dropout": 0.0}
  vocabulary = vocabulary_of(
    tokens, rows=model["encoder"]["vocabulary_size"], english_ids=english_ids
  )
  return build.build(
    vocabulary=vocabulary,
    seed=0,
    steps=10,
    max_tokens=12,
    model={**model, "compute_dtype": "float32"},
    decoder={"layers": layers, "english_head": english_head},
    objectives=config["objectives"],
    optimizer=config["optimizer"],
    mesh={"data": 4, "fsdp": 1, "model": 2},
  )


@pytest.fixture(scope="module", params=TYPES)
def checkpoint(request, tmp_path_factory):
  """transformers' module and its folder, a WordPiece vocabulary of 40 ids beside it."""
  folder = tmp_path_factory.mktemp("checkpoint")
  module = transformers_model(request.param, vocabulary_size=40)
  module.save_pretrained(folder)
  trained = tokenizers.BertWordPieceTokenizer(lowercase=False)
  trained.train_from_iterator(["the red page opens it"] * 9, vocab_size=40, show_progress=False)
  backend = tokenizers.Tokenizer.from_str(trained.to_str())
  backend.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
  roles = dict(
    zip(hub_tokenizer.ROLES, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), strict=True)
  )
  settings = {"tokenizer_class": "PreTrainedTokenizerFast", **roles}
  files = {"tokenizer.json": backend.to_str(), "tokenizer_config.json": json.dumps(settings)}
  hub_tokenizer.write_tokenizer(files, folder)
  return module, folder


def test_rows_of_no_id_change_nothing(checkpoint):
  """44 rows in place of 40 are cut by `model`, have no share of a softmax, and get no gradient."""
  _, folder = checkpoint
  source = initial_weights.open_source(str(folder))
  tokens = Tokenizer.from_files(source.tokenizer_files, where="test", max_tokens=12)
  ids = np.random.default_rng(0).integers(5, 40, (8, 2, 12)).astype(np.int32)
  batch = {"ids": ids, "mask": np.ones_like(ids, bool)}
  batch["language"] = np.tile(np.int32([0, 1]), (8, 1))
  batch["text_hash"] = np.arange(16, dtype=np.int32).reshape(8, 2)
  results = []
  for rows in (0, 44):
    train_program = parts_of(source, tokens, None, english_head=False, rows=rows, masked_lm=1.0)
    params, output = initial_weights.first_params(
      source, train_program.abstract_state.params, english_ids=None
    )
    assert ("4 rows of no id after its 40" in output) == (rows == 44)
    with jax.set_mesh(train_program.mesh):
      state = train_program.init(params)
      placed = sharding.put_whole_batch(batch, train_program.mesh)
      means, gradient = train_program.gradients(state, placed, Frozen())
    words = state.params["encoder"]["embeddings"]["word"]["embedding"]
    assert words.shape[0] == (rows or 40)
    of_words = gradient["encoder"]["embeddings"]["word"]["embedding"]
    np.testing.assert_array_equal(of_words[40:], 0)
    results.append((float(means["loss"].compute()), np.asarray(of_words[:40])))
  np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-6)
  np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-4, atol=1e-6)


def test_the_decoder_starts_from_the_checkpoint(checkpoint):
  """Its last layers, its own embeddings, and a head whose logits are transformers' own."""
  module, folder = checkpoint
  source = initial_weights.open_source(str(folder))
  tokens = Tokenizer.from_files(source.tokenizer_files, where="test", max_tokens=12)
  train_program = parts_of(source, tokens, ENGLISH)
  params, output = initial_weights.first_params(
    source, train_program.abstract_state.params, english_ids=ENGLISH
  )
  assert "its last 2 layers and its masked-LM head" in output
  state = train_program.init(params)
  encoder, decoder = state.params["encoder"], state.params["decoder"]
  depth = train_program.model.encoder.family.layers
  for i in range(2):
    jax.tree.map(
      np.testing.assert_array_equal, decoder[f"layers_{i}"], encoder[f"layers_{depth - 2 + i}"]
    )
  jax.tree.map(np.testing.assert_array_equal, decoder["embeddings"], encoder["embeddings"])
  ids = np.arange(5, 17)[None]
  mask = jnp.ones(ids.shape, bool)
  states = train_program.model.encoder.apply(
    {"params": encoder}, jnp.array(ids), mask, deterministic=True
  )[-1]
  head = Head(train_program.model.encoder.family, size=len(ENGLISH), tied=False)
  states = head.apply({"params": decoder["head"]}, states)
  projection = head.apply({"params": decoder["head"]}, None, method="projection")
  logits = FactoredLogits(states, *projection).multiply()
  with torch.no_grad():
    expected = module(torch.from_numpy(ids)).logits.numpy()[..., ENGLISH]
  np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_without_a_head_the_projection_starts_from_the_word_embeddings(checkpoint, tmp_path):
  module, folder = checkpoint
  module.base_model.save_pretrained(tmp_path)
  hub_tokenizer.write_tokenizer(hub_tokenizer.convert_tokenizer(folder), tmp_path)
  source = initial_weights.open_source(str(tmp_path))
  tokens = Tokenizer.load(tmp_path, max_tokens=12)
  train_program = parts_of(source, tokens, ENGLISH, layers=1)
  params, output = initial_weights.first_params(
    source, train_program.abstract_state.params, english_ids=ENGLISH
  )
  assert "its word embeddings, since it has no masked-LM head" in output
  state = train_program.init(params)
  words = np.asarray(state.params["encoder"]["embeddings"]["word"]["embedding"])
  kernel = state.params["decoder"]["head"]["vocabulary"]["kernel"]
  np.testing.assert_array_equal(kernel, words[ENGLISH].T)
  assert "dense" in state.params["decoder"]["head"]  # drawn from the seed


def test_a_tied_head_keeps_all_ids(checkpoint):
  module, folder = checkpoint
  source = initial_weights.open_source(str(folder))
  tokens = Tokenizer.load(folder, max_tokens=12)
  train_program = parts_of(source, tokens, ENGLISH, english_head=False)
  params, _ = initial_weights.first_params(
    source, train_program.abstract_state.params, english_ids=ENGLISH
  )
  head = params["decoder"]["head"]["vocabulary"]
  bias = module.get_output_embeddings().bias.detach().numpy()
  np.testing.assert_array_equal(head["bias"], bias)
  assert "kernel" not in head


def test_more_decoder_layers_than_the_checkpoint_has(checkpoint):
  _, folder = checkpoint
  source = initial_weights.open_source(str(folder))
  train_program = parts_of(source, Tokenizer.load(folder, max_tokens=12), ENGLISH, layers=9)
  with pytest.raises(UserError, match="decoder.layers=9: .* has only"):
    initial_weights.first_params(source, train_program.abstract_state.params, english_ids=ENGLISH)


def test_all_that_trains_comes_back_from_an_exported_folder(checkpoint, tmp_path):
  """Encoder, decoder and projection, bit for bit."""
  _, folder = checkpoint
  source = initial_weights.open_source(str(folder))
  tokens = Tokenizer.load(folder, max_tokens=12)
  train_program = parts_of(source, tokens, ENGLISH, projection=True)
  abstract = train_program.abstract_state.params
  state = train_program.init(initial_weights.first_params(source, abstract, english_ids=ENGLISH)[0])
  hub_tokenizer.write_tokenizer(source.tokenizer_files, tmp_path / "tokenizer")
  to_hf.write_folder(
    tmp_path / "model",
    params=jax.device_get(state.params),
    model_config=model_section(encoder=source.model["encoder"]),
    english_ids=ENGLISH,
    tokenizer_directory=tmp_path / "tokenizer",
    special_ids={"pad": tokens.pad_id, "cls": tokens.cls_id, "sep": tokens.sep_id},
    max_tokens=12,
    readme="",
    dtype="float32",
  )
  again, output = initial_weights.first_params(
    initial_weights.open_source(str(tmp_path / "model")), abstract, english_ids=ENGLISH
  )
  assert "its RTL decoder included" in output
  assert set(again) == {"encoder", "decoder", "projection"}
  jax.tree.map(np.testing.assert_array_equal, again, dict(state.params))
  # A tensor of a layer less is damage, not another decoder.
  file = tmp_path / "model" / from_hf.DECODER / "model.safetensors"
  tensors = safetensors.numpy.load_file(file)
  lost = next(name for name in sorted(tensors) if "layer" in name and name.endswith("weight"))
  del tensors[lost]
  safetensors.numpy.save_file(tensors, file)
  with pytest.raises(UserError, match=f"missing {lost}"):
    initial_weights.first_params(
      initial_weights.open_source(str(tmp_path / "model")), abstract, english_ids=ENGLISH
    )


def test_head_rows_by_hand():
  """Stored are ids 2, 4, 5, wanted 3, 4: 4 comes from the stored rows, 3 from the words."""
  rows = vocabulary_rows.head_rows(
    jnp.array([[2.0, 4.0, 5.0], [20.0, 40.0, 50.0]]),
    jnp.array([0.25, 0.5, 0.75]),
    jnp.array([[float(i), -float(i)] for i in range(6)]),
    stored_ids=np.array([2, 4, 5]),
    english_ids=np.array([3, 4]),
  )
  np.testing.assert_array_equal(rows["kernel"], [[3, 4], [-3, 40]])
  np.testing.assert_array_equal(rows["bias"], [0, 0.5])


def early_loss(commands, name, init_from, *flags):
  """The loss of the second step of a run from `init_from`, and what the run said."""
  run = commands.folder / name
  flags = ("--config.steps=2", "--config.log_steps=1", "--config.model.dropout=0.0", *flags)
  output = commands.run(*commands.train_flags(run, f"--config.init_from={init_from}", *flags))
  losses = [line["loss"] for line in lines_of(run) if "loss" in line]
  return losses[0], output


def test_an_exported_folder_continues_with_the_workdirs_loss(commands):
  """With its decoder: the same loss on the same batch to 1e-5, and equal parameters."""
  folder = commands.folder / "with_decoder"
  commands.run(
    "export", f"--workdir={commands.straight}", f"--output={folder}", "--include_decoder"
  )
  expected, output = early_loss(commands, "from_workdir", commands.straight)
  assert "weights of" in output and "at step 60" in output
  ours, output = early_loss(commands, "from_folder", folder)
  assert "its RTL decoder included" in output
  assert ours == pytest.approx(expected, rel=1e-5)
  random = lines_of(commands.straight)[0]["loss"]
  assert ours < random / 2  # it did continue


@pytest.mark.slow
def test_two_processes_start_from_a_folder_as_one_does(commands):
  """Each reads its own shards of the weights; sharded over `model` too, other English ids."""
  folder = commands.folder / "for_two"
  commands.run(
    "export", f"--workdir={commands.straight}", f"--output={folder}", "--include_decoder"
  )
  expected, _ = early_loss(commands, "by_one", folder, "--config.max_tokens=4")
  run = commands.folder / "by_two"
  flags = ("--config.steps=2", "--config.log_steps=1", "--config.model.dropout=0.0")
  flags += ("--config.max_tokens=4", "--config.mesh.model=2", f"--config.init_from={folder}")
  commands.run_processes(*commands.train_flags(run, *flags))
  losses = [line["loss"] for line in lines_of(run) if "loss" in line]
  assert losses[0] == pytest.approx(expected, rel=1e-5)


def test_a_folder_without_the_decoder_starts_a_new_one(commands):
  folder = commands.folder / "without_decoder"
  commands.run("export", f"--workdir={commands.straight}", f"--output={folder}")
  assert not (folder / from_hf.DECODER).exists()
  _, output = early_loss(commands, "from_bare_folder", folder)
  assert "since it has no masked-LM head" in output


def test_other_english_ids_keep_the_rows_they_share(commands):
  """Shorter sentences have fewer English ids: the head's rows are matched id by id."""
  run = commands.folder / "fewer"
  early_loss(commands, "fewer", commands.straight, "--config.max_tokens=4")
  source_ids = manifest.english_ids(commands.straight / "data")
  ours = manifest.english_ids(run / "data")
  assert 0 < len(ours) < len(source_ids)


def test_a_begun_run_resumes_without_its_source(commands, tmp_path):
  """What init_from decided is in the workdir's config."""
  source = tmp_path / "source"
  commands.run("export", f"--workdir={commands.straight}", f"--output={source}")
  early_loss(commands, "begun", source)
  source.rename(tmp_path / "gone")
  output = early_loss(commands, "begun", source)[1]
  assert "resumed at step 2" in output


def test_english_ids_that_lie_are_refused(commands, tmp_path):
  folder = tmp_path / "model"
  commands.run(
    "export", f"--workdir={commands.straight}", f"--output={folder}", "--include_decoder"
  )
  file = folder / from_hf.DECODER / "model.safetensors"
  tensors = safetensors.numpy.load_file(file)
  tensors[from_hf.ENGLISH_IDS] = tensors[from_hf.ENGLISH_IDS][::-1].copy()
  safetensors.numpy.save_file(tensors, file)
  output = commands.fail(*commands.train_flags(tmp_path / "run", f"--config.init_from={folder}"))
  assert "english_ids are not rising ids" in output


def test_a_run_that_never_stepped_may_be_mended(commands):
  """A mistake in the config is corrected in the same workdir; its prepared data is kept."""
  run = commands.prepared("mended")
  wrong = "--config.objectives.translation_ranking.direction=sideways"
  commands.fail(*commands.train_flags(run, wrong))
  other_data = commands.fail(*commands.train_flags(run, "--config.max_tokens=9"))
  assert "holds a run with max_tokens=12" in other_data
  commands.run(*commands.train_flags(run, "--config.steps=1"))
  output = commands.fail(*commands.train_flags(run, "--config.steps=1", "--config.seed=5"))
  assert "holds a run with seed=0" in output


def test_a_failed_start_leaves_no_vocabulary_to_the_next(commands):
  """First with a checkpoint's, whose data then failed; then with the data's own."""
  run = commands.folder / "own"
  wrong = "--config.data.languages=('xx',)"
  flags = (wrong, f"--config.init_from={commands.straight}", "--config.steps=1")
  commands.fail(*commands.train_flags(run, *flags))
  commands.run(
    *commands.train_flags(run, "--config.tokenizer.vocabulary_size=99", "--config.steps=1")
  )
  assert Tokenizer.load(run / "tokenizer", max_tokens=9).size == 99


def test_mistakes(commands, tmp_path):
  def fail(init_from):
    return commands.fail(*commands.train_flags(tmp_path / "run", f"--config.init_from={init_from}"))

  assert "is no folder, and no id of a model hub" in fail(tmp_path / "none")
  line = fail("no-such-user/no-such-model")
  assert "no-such-user/no-such-model is no folder here, and https://" in line
  assert "cannot be asked, since HF_HUB_OFFLINE is set" in line
  (tmp_path / "empty").mkdir()
  assert "has no config.json" in fail(tmp_path / "empty")
  assert not (tmp_path / "run").exists()
