"""xsim and xsim++: a worked case, brute force, hard negatives, the command."""

import json

import numpy as np
import pytest

from dap_jax.evals import xsim
from dap_jax.utils.errors import UserError
from dap_jax.utils.unit_vectors import unit


def angles(*degrees):
  radians = np.deg2rad(degrees)
  return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def proposed(x, y, **settings):
  forward, backward = xsim.propose(x, y, **settings)
  swapped = xsim.propose(y, x, **settings)
  np.testing.assert_array_equal(forward, swapped[1])
  np.testing.assert_array_equal(backward, swapped[0])
  return forward.tolist()


def test_the_margin_mends_what_the_cosine_gets_wrong():
  """Candidate 0 at 0 degrees is a hub: queries at 6 and 14 are both nearest to it; the other
  candidate stands at 24. Cosines: query 0: .9945, .9511; query 1: .9703, .9848. Here k = 2 is all,
  so the means are over both: x (.9728, .9776), y (.9824, .9680).
  Ratio of query 0: .9945 / .9776 = 1.0173 and .9511 / .9704 = .9801: candidate 0.
  Ratio of query 1: .9703 / .9800 = .9901 and .9848 / .9728 = 1.0123: candidate 1.
  """
  x, y = angles(6, 14), angles(0, 24)
  assert proposed(x, y, margin="ratio", neighbours=2) == [0, 1]
  # By cosine alone a query at 11 prefers 0 (.9816 against .9744); by margin, with the hub's large
  # mean (.9880) against .9490, it prefers 24: .9816 / .9830 = .9986, .9744 / .9635 = 1.0113.
  x = angles(6, 11)
  assert proposed(x, y, margin="absolute", neighbours=2) == [0, 0]
  assert proposed(x, y, margin="ratio", neighbours=2) == [0, 1]


@pytest.mark.parametrize("margin", ["absolute", "distance", "ratio"])
def test_brute_force(margin):
  """The published procedure written out as loops, more candidates than queries."""
  rng = np.random.default_rng(0)
  y = unit(rng.normal(size=(60, 5)))
  x = unit(y[:40] + 0.9 * rng.normal(size=(40, 5)))
  expected = []
  for a in x:
    four = sorted(range(60), key=lambda j: -float(a @ y[j]))[:4]  # noqa: B023
    scores = []
    for j in four:
      mean_x = np.mean([a @ y[other] for other in four])
      mean_y = np.mean(sorted((float(y[j] @ other) for other in x), reverse=True)[:4])
      around = (mean_x + mean_y) / 2
      cosine = a @ y[j]
      scores.append(
        {"absolute": cosine, "distance": cosine - around, "ratio": cosine / around}[margin]
      )
    expected.append(four[int(np.argmax(scores))])
  chosen = proposed(x, y, margin=margin, neighbours=4)
  assert chosen == expected
  assert 0 < (np.array(chosen) != np.arange(40)).mean() < 1


def test_an_answer_that_reads_alike_is_right():
  """Candidates 0 and 1 are the same sentence: choosing either is no error."""
  x, y = angles(0, 1, 90), angles(1, 1, 91)
  both = {"margin": "absolute", "neighbours": 3}
  x = xsim.Side(["a", "b", "c"], x)
  assert xsim.errors(x, xsim.Side(["same", "same", "other"], y), **both) == (
    0,
    pytest.approx(1 / 3),
  )
  there, back = xsim.errors(x, xsim.Side(["one", "two", "other"], y), **both)
  assert there == back == pytest.approx(1 / 3)


TEXTS = ("one", "two", "eins", "zwei", "almost one")
VECTORS = dict(zip(TEXTS, angles(0, 90, 20, 80, 18), strict=True))


class Model:
  def encode(self, texts):
    return np.array([VECTORS[text] for text in texts], np.float32)


def test_hard_negatives_only_go_towards_the_pivot(tmp_path):
  """`eins` finds `one`, until the false `almost one` stands nearer."""
  (tmp_path / "en.txt").write_text("one\ntwo\n")
  (tmp_path / "de.txt").write_text("eins\nzwei\n")
  (tmp_path / "negatives").write_text("almost one\n")
  settings = {"margin": "absolute", "neighbours": 1}
  result = xsim.evaluate(Model(), str(tmp_path), negatives=f"{tmp_path}/negatives", **settings)
  assert result.scores == {
    "to_pivot_xsim/mean": 0.0,
    "to_pivot_xsim/de": 0.0,
    "from_pivot_xsim/mean": 0.0,
    "from_pivot_xsim/de": 0.0,
    "to_pivot_xsim++/mean": 0.5,
    "to_pivot_xsim++/de": 0.5,
  }
  assert result.protocol["hard_negatives"] == 1
  every = xsim.evaluate(Model(), str(tmp_path), every_pair=True, **settings)
  assert set(every.scores) == {"xsim/mean", "xsim/de-en", "xsim/en-de"}
  with pytest.raises(UserError, match="margin=cosine"):
    xsim.evaluate(Model(), str(tmp_path), margin="cosine")
  with pytest.raises(UserError, match="exclude each other"):
    xsim.evaluate(Model(), str(tmp_path), negatives=f"{tmp_path}/negatives", every_pair=True)
  (tmp_path / "negatives").write_text("\n \n")
  with pytest.raises(UserError, match="the file holds no text"):
    xsim.evaluate(Model(), str(tmp_path), negatives=f"{tmp_path}/negatives")


def test_negatives_by_rules(tmp_path):
  """`Er ist da.` stands between the right answer and its negation; `Hm.` cannot be changed."""
  vectors = {"He is here.": angles(0), "He is not here.": angles(20), "She is here.": angles(90)}
  vectors |= {"Er ist da.": angles(15), "Hm.": angles(200), "Tja.": angles(190)}

  class Of(Model):
    def encode(self, texts):
      return np.concatenate([vectors[text] for text in texts]).astype(np.float32)

  (tmp_path / "en.txt").write_text("He is here.\nHm.\n")
  (tmp_path / "de.txt").write_text("Er ist da.\nTja.\n")
  settings = {"margin": "absolute", "neighbours": 1, "negatives": "rules"}
  result = xsim.evaluate(Of(), str(tmp_path), **settings)
  assert result.scores["to_pivot_xsim/de"] == 0
  assert result.scores["to_pivot_xsim++/de"] == 0.5
  assert result.protocol["hard_negatives"] == 2
  with pytest.raises(UserError, match="the rules are for English, the pivot is de"):
    xsim.evaluate(Of(), str(tmp_path), pivot="de", **settings)
  (tmp_path / "en.txt").write_text("Hm.\nHm.\n")
  with pytest.raises(UserError, match="no rule applies to any of 1 sentences"):
    xsim.evaluate(Of(), str(tmp_path), **settings)


def test_the_command(commands, tmp_path):
  """A setting that is not the default one stands in the score's name."""
  scores = tmp_path / "scores.json"
  commands.run(
    "evaluate",
    f"--model={commands.straight}",
    "--suite=xsim",
    "--setting=margin=distance",
    "--setting=languages=aa",
    f"--output={scores}",
  )
  content = json.loads(scores.read_text())
  name = "xsim[languages=aa,margin=distance]"
  assert 0 <= content[f"eval/{name}/to_pivot_xsim/aa"] < 0.95  # chance: 19 of 20 wrong
  assert content["protocol"][name]["neighbours"] == 4
  for setting, message, *more in (
    ("margins=ratio", "takes, each once, margin=ratio, neighbours=4"),
    ("neighbours=four", "expected a value of type int"),
    ("languages=xx", "no text of the language xx"),
    ("languages=aa", "each once", "languages=bb"),
  ):
    flags = [f"--model={commands.straight}", "--suite=xsim"]
    flags += [f"--setting={one}" for one in (setting, *more)]
    assert message in commands.fail("evaluate", *flags, status=1)
