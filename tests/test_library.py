"""The library: `dap_jax.load` and what its model does, against the commands' own parts.

Expected values: the vectors of the exported folder in sentence-transformers; cosines and links of
the same states; texts that are their own translations.
"""

import math
import subprocess
import sys

import numpy as np
import pytest
import sentence_transformers

import dap_jax
from dap_jax.evals import word_links
from dap_jax.inference import embedder
from dap_jax.utils.errors import UserError
from tests.commands import ROOT

TEXTS = ["the red page opens it", "a big word keeps more", "the old user needs them"]


@pytest.fixture(scope="module")
def model(commands):
  return dap_jax.load(commands.straight)


def test_vectors_and_similarities(commands, model, tmp_path):
  commands.run("export", f"--workdir={commands.straight}", f"--output={tmp_path}/out")
  theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "out"))
  np.testing.assert_allclose(model.encode(TEXTS), theirs.encode(TEXTS), atol=1e-5)
  expected = theirs.similarity(theirs.encode(TEXTS), theirs.encode(TEXTS[:2])).numpy()
  np.testing.assert_allclose(model.similarity(TEXTS, TEXTS[:2]), expected, atol=1e-5)
  assert model.width == theirs.get_embedding_dimension()
  assert model.max_tokens == 12 and repr(model).startswith(f"SentenceEncoder(width={model.width}, ")
  assert model.encode([]).shape == (0, model.width)
  np.testing.assert_array_equal(
    dap_jax.load(tmp_path / "out").encode(TEXTS), embedder.load(tmp_path / "out").encode(TEXTS)
  )


def test_it_mines_every_text_as_its_own_translation(model):
  """Backwards, so that places matter; the threshold takes the last pair away."""
  pairs = model.mine(TEXTS, TEXTS[::-1])
  assert sorted((pair.source, pair.target) for pair in pairs) == [(0, 2), (1, 1), (2, 0)]
  assert [pair.score for pair in pairs] == sorted((pair.score for pair in pairs), reverse=True)
  np.testing.assert_allclose([pair.cosine for pair in pairs], 1, atol=1e-6)
  assert model.mine(TEXTS, TEXTS[::-1], threshold=math.nextafter(pairs[2].score, 9)) == pairs[:2]
  assert model.mine(TEXTS, []) == model.mine([], TEXTS) == []


def test_links_are_those_of_the_states(commands, model):
  source, target = [text.split() for text in TEXTS], [text.split()[::-1] for text in TEXTS]
  states = embedder.load(commands.straight).word_states([source[0], target[0]])
  how = {"method": "itermax", "threshold": 0.1, "unit_of_alignment": "word"}
  for layer, index in ((None, 1), (0, 0), (-1, 1)):  # of one layer and the embeddings
    expected = word_links.align(*(p._replace(states=p.states[index]) for p in states), **how)
    found = model.align(source, target, layer=layer, **how)
    assert len(found) == 3 and found[0] == expected and len(expected) >= 3
  assert model.align([[], ["a"]], [["a"], ["a"]])[0] == {}


def test_mistakes(model, tmp_path):
  with pytest.raises(TypeError, match="give a list"):
    model.encode("one text")
  with pytest.raises(UserError, match="margin=best"):
    model.mine(TEXTS, TEXTS, margin="best")
  with pytest.raises(UserError, match="layer=7: the model has layers 0"):
    model.align([["a"]], [["a"]], layer=7)
  with pytest.raises(UserError, match="method=nearest"):
    model.align([["a"]], [["a"]], method="nearest")
  with pytest.raises(ValueError, match="zip"):
    model.align([["a"]], [])
  with pytest.raises(UserError, match="nowhere"):
    dap_jax.load(tmp_path / "nowhere")


def test_the_package_alone_loads_nothing_heavy():
  code = "import sys, dap_jax; print('jax' in sys.modules, hasattr(dap_jax, 'nothing'))"
  ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
  assert ran.stdout == "False False\n", ran.stderr
