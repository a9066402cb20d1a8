"""MEXA: the strict inequality, brute force, layers and means."""

import numpy as np
import pytest

from dap_jax.evals import mexa
from dap_jax.utils.errors import UserError


def test_the_inequality_is_strict():
  """Rows 0 and 1 tie with each other in both directions, row 2 wins in both: 1 of 3."""
  similarity = np.array([[0.9, 0.9, 0.1], [0.9, 0.9, 0.2], [0.1, 0.1, 0.8]])
  assert mexa.mexa(similarity).tolist() == [False, False, True]


def test_both_directions_must_win():
  """Row 0 wins its row but not its column (.7 above .6); row 1 its column but not its row."""
  assert not mexa.mexa(np.array([[0.6, 0.5], [0.7, 0.6]])).any()
  assert mexa.mexa(np.array([[0.8, 0.5], [0.7, 0.75]])).all()


def test_brute_force():
  rng = np.random.default_rng(0)
  similarity = rng.normal(size=(30, 30)) + 2 * np.eye(30)
  aligned = 0
  for i in range(30):
    others = [similarity[i, j] for j in range(30) if j != i]
    others += [similarity[j, i] for j in range(30) if j != i]
    aligned += all(similarity[i, i] > other for other in others)
  assert 0 < aligned < 30
  assert mexa.mexa(similarity).sum() == aligned


# Three layers, the first the embeddings: layer 1 finds one of two rows, layer 2 both.
LAYERS = {
  "one": [(1, 0), (1, 0), (1, 0)],
  "two": [(0, 1), (0, 1), (0, 1)],
  "eins": [(0, 1), (1, 0), (5, 1)],
  "zwei": [(1, 0), (1, 0), (1, 3)],
  "un": [(1, 0), (1, 0), (1, 0)],
  "deux": [(0, 1), (0, 1), (0, 1)],
}


class Model:
  def layer_vectors(self, texts):
    return np.array([LAYERS[text] for text in texts], np.float32)


def test_layers_are_pooled_after_they_are_scored(tmp_path):
  """Layer 1 of German: `eins` and `zwei` tie as the nearest of `one`, so none is aligned.

  French finds all in both layers. So German has mean 1/2 and maximum 1, French 1 and 1.
  """
  for code, texts in {"en": "one\ntwo\n", "de": "eins\nzwei\n", "fr": "un\ndeux\n"}.items():
    (tmp_path / f"{code}.txt").write_text(texts)
  result = mexa.evaluate(Model(), str(tmp_path))
  assert result.scores == {
    "mean/mean": 0.75,
    "mean/de": 0.5,
    "mean/fr": 1.0,
    "max/mean": 1.0,
    "max/de": 1.0,
    "max/fr": 1.0,
    "layer_1/mean": 0.5,
    "layer_1/de": 0.0,
    "layer_1/fr": 1.0,
    "layer_2/mean": 1.0,
    "layer_2/de": 1.0,
    "layer_2/fr": 1.0,
  }
  assert result.rows == ["mean", "fr", "de"]
  with pytest.raises(UserError, match="most_rows=1: MEXA compares rows"):
    mexa.evaluate(Model(), str(tmp_path), most_rows=1)
  (tmp_path / "fr.txt").write_text("un\n\n")
  with pytest.raises(UserError, match="has 1 texts of fr"):
    mexa.evaluate(Model(), str(tmp_path))


def test_equal_texts_are_no_evidence(tmp_path):
  """Row 3 repeats row 1 in both languages: of three rows only the second can be aligned."""
  (tmp_path / "en.txt").write_text("one\ntwo\none\n")
  (tmp_path / "fr.txt").write_text("un\ndeux\nun\n")
  result = mexa.evaluate(Model(), str(tmp_path))
  assert result.scores["mean/fr"] == pytest.approx(1 / 3)
  assert result.protocol["rows"] == 3


def test_a_trained_model(commands):
  """Every layer is scored, and translations find each other: chance is about 1 of 20."""
  from dap_jax.inference import embedder

  model = embedder.load(commands.straight)
  result = mexa.evaluate(model, str(commands.straight))
  layers = model.network.encoder.family.layers
  assert {name for name in result.columns if name.startswith("layer")} == {
    f"layer {number}" for number in range(1, layers + 1)
  }
  assert result.scores["max/mean"] > 0.2
