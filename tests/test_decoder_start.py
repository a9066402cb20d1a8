"""Where the RTL decoder starts: from a masked-LM run's last layers and head, or anew."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dap_jax.core.cross_entropy import FactoredLogits
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.model.decoder import Head
from dap_jax.training import initial_weights
from dap_jax.utils.errors import UserError
from tests.commands import lines_of
from tests.models import logits_of
from tests.test_warm_start import parts_of

ENGLISH = np.array([5, 7, 8, 11, 20], np.int32)
MASKED_LM_ALONE = (
  "--config.objectives.translation_ranking.weight=0.0",
  "--config.objectives.representation_translation.weight=0.0",
  "--config.objectives.masked_lm.weight=1.0",
  "--config.objectives.masked_lm.sequence=sentence",
  "--config.model.encoder.layers=2",
)


@pytest.fixture(scope="module")
def pretrained(commands):
  """A masked-LM run of two layers."""
  run = commands.prepared("pretrained")
  steps = ("--config.steps=20", "--config.eval_steps=20")
  commands.run(*commands.train_flags(run, *MASKED_LM_ALONE, *steps))
  return run


def started(run, *, new_decoder=False, **how):
  """The parameters of a DAP run that starts from another, its program, and the line of the log."""
  source = initial_weights.open_source(str(run))
  tokens = Tokenizer.from_files(source.tokenizer_files, where="test", max_tokens=12)
  train_program = parts_of(source, tokens, ENGLISH, **how)
  params, line = initial_weights.first_params(
    source, train_program.abstract_state.params, english_ids=ENGLISH, new_decoder=new_decoder
  )
  return train_program.init(params).params, train_program, line


@pytest.mark.parametrize("layers", [1, 2])
def test_it_is_the_end_of_the_masked_lm(pretrained, layers):
  """Its last layers, its embeddings and its head, of which the English ids have a row each."""
  params, program, line = started(pretrained, layers=layers, masked_lm=1.0)
  assert f"the RTL decoder starts from its last {layers} layers and its masked-LM head" in line
  encoder, decoder, head = params["encoder"], params["decoder"], params["masked_lm"]["head"]
  for i in range(layers):
    jax.tree.map(
      np.testing.assert_array_equal, decoder[f"layers_{i}"], encoder[f"layers_{2 - layers + i}"]
    )
  jax.tree.map(np.testing.assert_array_equal, decoder["embeddings"], encoder["embeddings"])
  for part in ("dense", "norm"):
    jax.tree.map(np.testing.assert_array_equal, decoder["head"][part], head[part])
  # The logits of any states are those of the masked-LM head at the English ids.
  states = jax.random.normal(jax.random.key(0), (3, 7, 32))
  places, mask = jnp.tile(jnp.arange(7), (3, 1)), jnp.ones((3, 7), bool)
  of_all = logits_of(program.model, params, "predict", states, mask, places)
  head = Head(program.model.encoder.family, size=len(ENGLISH), tied=False)
  projection = head.apply({"params": decoder["head"]}, None, method="projection")
  logits = FactoredLogits(head.apply({"params": decoder["head"]}, states), *projection).multiply()
  np.testing.assert_allclose(logits, of_all[..., ENGLISH], atol=1e-5)


def test_a_tied_head_keeps_all_ids(pretrained):
  params, _, _ = started(pretrained, layers=1, english_head=False, masked_lm=1.0)
  head = params["decoder"]["head"]
  assert set(head["vocabulary"]) == {"bias"}
  jax.tree.map(np.testing.assert_array_equal, head, params["masked_lm"]["head"])


def test_without_a_head_the_projection_is_the_words(commands):
  """A run of ranking alone: what a head has beside the words is drawn from the seed."""
  run = commands.prepared("ranking")
  off = "--config.objectives.representation_translation.weight=0.0"
  commands.run(*commands.train_flags(run, off, "--config.steps=2", "--config.eval_steps=2"))
  params, _, line = started(run, layers=1)
  assert "its last 1 layers and its word embeddings, since it has no masked-LM head" in line
  words = params["encoder"]["embeddings"]["word"]["embedding"]
  head = params["decoder"]["head"]
  np.testing.assert_array_equal(head["vocabulary"]["kernel"], words[ENGLISH].T)
  assert {"dense", "norm"} <= set(head)


def test_it_may_start_anew(pretrained):
  params, _, line = started(pretrained, layers=1, new_decoder=True)
  assert "the RTL decoder starts anew, as decoder.start asks" in line
  words = params["encoder"]["embeddings"]["word"]["embedding"]
  drawn = params["decoder"]["embeddings"]["word"]["embedding"]
  assert drawn.shape == words.shape
  assert not np.isclose(drawn, words).any(axis=1).all()


def test_mistakes(commands, pretrained):
  with pytest.raises(UserError, match=r"decoder.layers=3: init_from has only 2 layers"):
    started(pretrained, layers=3)
  flags = commands.train_flags(commands.folder / "none", "--config.decoder.start=old")
  assert "decoder.start='old': expected source or random" in commands.fail(*flags)
  assert not (commands.folder / "none").exists()


@pytest.mark.slow
def test_the_config_decides(commands, pretrained):
  """Two runs that differ in decoder.start alone: the log says which, the first losses differ."""
  losses = {}
  for start in ("source", "random"):
    run = commands.prepared(f"decoder_{start}")
    flags = ("--config.steps=2", "--config.log_steps=1", f"--config.init_from={pretrained}")
    flags = commands.train_flags(run, *flags, f"--config.decoder.start={start}")
    assert ("its masked-LM head" in commands.run(*flags)) == (start == "source")
    name = "representation_translation"
    losses[start] = next(line[name] for line in lines_of(run) if name in line)
  assert losses["source"] != losses["random"]
