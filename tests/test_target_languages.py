"""Vectors of target languages in first weights: their numbers are those of one run's languages."""

import pytest

from dap_jax.training import initial_weights

BOTH = (
  "--config.objectives.representation_translation.direction=both",
  "--config.decoder.english_head=False",
  "--config.steps=1",
)


@pytest.fixture(scope="module")
def sources(commands):
  """A run with such vectors, and its export with the decoder."""
  run, folder = commands.folder / "both", commands.folder / "both_exported"
  commands.run(*commands.train_flags(run, *BOTH))
  commands.run("export", f"--workdir={run}", f"--output={folder}", "--include_decoder")
  return run, folder


@pytest.mark.parametrize("kind", [0, 1])
def test_the_decoder_goes_on_without_them(commands, sources, kind):
  """From the workdir and from the folder: nothing but the vectors starts anew."""
  run = commands.folder / f"both_goes_on_{kind}"
  source = sources[kind]
  said = commands.run(*commands.train_flags(run, *BOTH, f"--config.init_from={source}"))
  assert f"weights of {source}" in said
  assert "anew" not in said.split("weights of")[1].split("the optimizer")[0]


def test_what_is_left_out():
  params = {"encoder": {"x": 1}, "decoder": {"head": 2, "language": 3}}
  assert initial_weights.without_languages(params) == {"encoder": {"x": 1}, "decoder": {"head": 2}}
  assert initial_weights.without_languages({"encoder": {"x": 1}}) == {"encoder": {"x": 1}}
