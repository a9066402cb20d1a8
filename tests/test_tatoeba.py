"""Margins and Tatoeba: by hand, by brute force, on files made here, and on the real benchmark."""

import gzip
import json

import numpy as np
import pytest

from dap_jax.evals import tatoeba
from dap_jax.mining.margins import score_margin
from dap_jax.utils.errors import UserError
from dap_jax.utils.unit_vectors import unit


def test_margins_by_hand():
  """a = .8 and b = .64: 1.25 by ratio; a ratio to a neighbourhood below 0 says nothing."""
  cosine, around = np.array([0.8, 0.8]), np.array([0.64, -0.1])
  for margin, expected in (
    ("absolute", [0.8, 0.8]),
    ("distance", [0.16, 0.9]),
    ("ratio", [1.25, -np.inf]),
  ):
    scores = score_margin(cosine, around, margin=margin)
    np.testing.assert_allclose(scores, expected)


def test_vectors_that_are_no_numbers_are_refused():
  """Their neighbours would be a wrong number: every benchmark's vectors pass here."""
  vectors = np.eye(3)
  vectors[1, 2] = np.nan
  with pytest.raises(UserError, match="1 of 3 vectors are not finite"):
    unit(vectors)
  np.testing.assert_array_equal(unit(np.array([[0.0, 2.0], [0.0, 0.0]]))[0], [0, 1])


def test_score_is_brute_force():
  """Both accuracies and both margin errors, written out as loops."""
  rng = np.random.default_rng(0)
  english = rng.normal(size=(40, 6))
  texts = english + 1.2 * rng.normal(size=(40, 6))
  x, y = (side / np.linalg.norm(side, axis=1)[:, None] for side in (texts, english))

  def near(a, others):
    return np.mean(sorted((float(a @ b) for b in others), reverse=True)[:4])

  def proposes(i, x, y):
    """Of the nearest four by cosine, the one of the best ratio margin."""
    four = sorted(range(40), key=lambda j: -float(x[i] @ y[j]))[:4]
    return max(four, key=lambda j: float(x[i] @ y[j]) / ((near(x[i], y) + near(y[j], x)) / 2))

  everyone = range(40)
  expected = {
    "to_english_accuracy": np.mean(
      [max(everyone, key=lambda j: x[i] @ y[j]) == i for i in everyone]
    ),
    "from_english_accuracy": np.mean(
      [max(everyone, key=lambda i: x[i] @ y[j]) == j for j in everyone]
    ),
    "to_english_xsim": np.mean([proposes(i, x, y) != i for i in everyone]),
    "from_english_xsim": np.mean([proposes(j, y, x) != j for j in everyone]),
  }
  assert 0 < expected["to_english_accuracy"] < 1
  assert tatoeba.score(x, y) == pytest.approx(expected)


def write(folder, language, texts, english, *, packed=False):
  for code, lines in ((language, texts), ("eng", english)):
    data = "".join(f"{line}\n" for line in lines).encode()
    name = f"tatoeba.{language}-eng.{code}"
    if packed:
      (folder / f"{name}.gz").write_bytes(gzip.compress(data))
    else:
      (folder / name).write_bytes(data)


def test_files_are_read_as_the_protocol_says(tmp_path):
  write(tmp_path, "afr", ['sê "ja"', "a\x85b"], ["say yes", "two"])
  write(tmp_path, "deu", ["eins"], ["one"], packed=True)
  pairs = tatoeba.read_pairs(tmp_path)
  assert pairs == {"afr": (["sê ja", "a\x85b"], ["say yes", "two"]), "deu": (["eins"], ["one"])}
  write(tmp_path, "fra", ["un", "deux"], ["one"])
  with pytest.raises(UserError, match=r"has 2 lines, tatoeba\.fra-eng\.eng 1"):
    tatoeba.read_pairs(tmp_path)
  write(tmp_path, "fra", ["un", ""], ["one", "two"])
  with pytest.raises(UserError, match=r"tatoeba\.fra-eng\.fra:2: expected a sentence"):
    tatoeba.read_pairs(tmp_path)
  (tmp_path / "tatoeba.fra-eng.fra").write_bytes(b"un\ndeux \xff\n")
  with pytest.raises(UserError, match=r"tatoeba\.fra-eng\.fra:2: not UTF-8"):
    tatoeba.read_pairs(tmp_path)
  write(tmp_path, "fra", ["un"], ["one"])
  write(tmp_path, "fra", ["un"], ["one"], packed=True)
  with pytest.raises(UserError, match="has the language fra twice"):
    tatoeba.read_pairs(tmp_path)
  with pytest.raises(UserError, match="has no files"):
    tatoeba.read_pairs(tmp_path / "none")


def test_a_set_that_lacks_a_language_has_no_mean():
  """A mean over fewer languages would not mean the same."""
  texts = {code: (["a", "b"], ["a", "b"]) for code in tatoeba.SETS["14"]}
  letters = {"a": [1.0, 0.0], "b": [0.0, 1.0]}
  encode = lambda texts: np.array([letters[text] for text in texts])  # noqa: E731
  scores = tatoeba.tatoeba(texts, encode)
  assert scores["to_english_accuracy/14"] == 1.0
  assert "to_english_accuracy/36" not in scores
  del texts["vie"]
  assert "to_english_accuracy/14" not in tatoeba.tatoeba(texts, encode)


def test_the_sets_are_the_benchmarks(shared):
  """112 languages; the 28 are those of the 36 with exactly 1000 pairs (METHODS 1)."""
  pairs = tatoeba.read_pairs(shared / "data" / "tatoeba_v1")
  assert len(pairs) == tatoeba.LANGUAGES
  full = {code for code in tatoeba.SETS["36"] if len(pairs[code][0]) == 1000}
  assert full == set(tatoeba.SETS["28"])
  assert set(tatoeba.SETS["14"]) <= set(tatoeba.SETS["36"])


def test_the_command(commands, tmp_path):
  """On the corpus of the commands' tests, as if it were Tatoeba's."""
  lines = {
    code: [
      line.split("\t")[1] for line in (commands.corpus / f"{code}.tsv").read_text().split("\n")[:-1]
    ]
    for code in ("en", "aa")
  }
  write(tmp_path, "aa", lines["aa"][:50], lines["en"][:50])
  scores = tmp_path / "scores.json"
  log = commands.run(
    "evaluate",
    f"--model={commands.straight}",
    "--suite=tatoeba",
    f"--data={tmp_path}",
    f"--output={scores}",
  )
  result = json.loads(scores.read_text())
  assert result["eval/tatoeba/to_english_accuracy/aa"] > 0.1  # chance is 0.02
  assert "xsim" in log
  protocol = result["protocol"]["tatoeba"]
  assert protocol["xsim"] == "ratio margin, 4 neighbours"
  assert protocol["pooling"] == "mean" and protocol["max_tokens"] == 12
  commands.fail("evaluate", f"--model={commands.straight}", "--suite=tatoeba", status=2)
