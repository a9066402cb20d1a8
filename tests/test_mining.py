"""Mining by margin against loops over all pairs; BUCC: its threshold by hand, its files."""

import numpy as np
import pytest

from dap_jax.evals import bucc
from dap_jax.mining import exact_search, margins, pairing
from dap_jax.utils.errors import UserError
from dap_jax.utils.unit_vectors import unit

K = 3


def sides(seed=0):
  """12 and 15 unit vectors, of which the first 8 are noisy translations of each other."""
  rng = np.random.default_rng(seed)
  x, y = rng.normal(size=(12, 5)), rng.normal(size=(15, 5))
  y[:8] = x[:8] + 0.5 * rng.normal(size=(8, 5))
  return unit(x), unit(y)


def by_loops(x, y, margin):
  """(i, j) -> score for every pair, by the published formula."""

  def near(a, others):
    return np.mean(sorted((a @ b for b in others), reverse=True)[:K])

  scores = {}
  for i, a in enumerate(x):
    for j, b in enumerate(y):
      around = (near(a, y) + near(b, x)) / 2
      cosine = a @ b
      scores[i, j] = {"absolute": cosine, "distance": cosine - around, "ratio": cosine / around}[
        margin
      ]
  return scores


@pytest.mark.parametrize("margin", margins.MARGINS)
@pytest.mark.parametrize("retrieval", pairing.RETRIEVALS)
def test_mining_is_the_published_formula(margin, retrieval):
  x, y = sides()
  scores = by_loops(x, y, margin)
  cosines = x @ y.T
  forward = {
    (i, max(np.argsort(-cosines[i])[:K], key=lambda j: scores[i, j])) for i in range(len(x))
  }
  backward = {
    (max(np.argsort(-cosines[:, j])[:K], key=lambda i: scores[i, j]), j) for j in range(len(y))
  }
  expected = {"forward": forward, "backward": backward, "intersection": forward & backward}.get(
    retrieval
  )
  if expected is None:  # greedy, written out
    expected, left = set(), set(forward | backward)
    while left:
      i, j = max(left, key=scores.get)
      expected.add((i, j))
      left = {(a, b) for a, b in left if a != i and b != j}
  mined = pairing.mine(x, y, margin=margin, neighbours=K, retrieval=retrieval)
  assert {tuple(pair) for pair in mined.pairs.tolist()} == {(int(i), int(j)) for i, j in expected}
  assert (np.diff(mined.scores) <= 0).all()
  for (i, j), score, cosine in zip(mined.pairs, mined.scores, mined.cosines, strict=True):
    assert score == pytest.approx(scores[i, j])
    assert cosine == pytest.approx(cosines[i, j])


def test_a_ratio_to_nothing_positive_is_no_score():
  """cos -0.5 over -0.25 would be 2, the best of all."""
  cosines, around = np.array([[-0.5, 0.1, 0.3]]), np.array([[-0.25, 0.0, 0.2]])
  scores = margins.score_margin(cosines, around, margin="ratio")
  np.testing.assert_allclose(scores, [[-np.inf, -np.inf, 1.5]])


def test_greedy_matching_is_greedy(monkeypatch):
  """Against sets, in pieces of 7."""
  monkeypatch.setattr(pairing, "BLOCK_PAIRS", 7)
  i, j = np.random.default_rng(0).integers(0, 30, (2, 100))
  seen_x, seen_y, expected = set(), set(), []
  for a, b in zip(i, j, strict=True):
    expected.append(a not in seen_x and b not in seen_y)
    if expected[-1]:
      seen_x.add(a)
      seen_y.add(b)
  assert 0 < sum(expected) < 100
  np.testing.assert_array_equal(pairing.one_to_one(i, j, sizes=(30, 30)), expected)


NONE = (-np.inf, -1)


def test_missing_neighbours_by_hand():
  """x0 found y0 .8 and y1 .4; x1 nothing; y0 found x0 .8; y1 found x0 .4 and x1 .2.

  Means .6, none; .8, .3. Distances: x0-y0 .8 - .7 = .1, x0-y1 .4 - .45 < 0; y1-x0 the same, and
  y1-x1 has no mean of x1's.
  """
  of_x = exact_search.Neighbours(
    np.array([[0.8, 0.4], [NONE[0]] * 2]), np.array([[0, 1], [NONE[1]] * 2])
  )
  of_y = exact_search.Neighbours(
    np.array([[0.8, NONE[0]], [0.4, 0.2]]), np.array([[0, NONE[1]], [0, 1]])
  )
  forward, backward = pairing.propose(of_x, of_y, margin="distance")
  np.testing.assert_allclose(forward.scores, [0.1, -np.inf])
  np.testing.assert_allclose(backward.scores, [0.1, -0.05])
  np.testing.assert_array_equal(backward.partners, [0, 0])
  assert pairing.combine(forward, backward, retrieval="backward").pairs.tolist() == [[0, 0], [0, 1]]
  assert pairing.combine(forward, backward, retrieval="max").pairs.tolist() == [[0, 0]]


def test_floors_come_before_matching():
  """The best score has a low cosine; without it its two sentences are free for others."""
  forward = pairing.Proposals(np.array([0, 0]), np.array([3.0, 2.0]), np.array([0.2, 0.7]))
  backward = pairing.Proposals(np.array([0, 0]), np.array([3.0, 1.0]), np.array([0.2, 0.9]))
  assert pairing.combine(forward, backward, retrieval="max").pairs.tolist() == [[0, 0]]
  floored = [pairing.at_least(side, score=1.0, cosine=0.5) for side in (forward, backward)]
  assert pairing.combine(*floored, retrieval="max").pairs.tolist() == [[1, 0], [0, 1]]
  floored = [pairing.at_least(side, score=1.5, cosine=0.5) for side in (forward, backward)]
  assert pairing.combine(*floored, retrieval="max").pairs.tolist() == [[1, 0]]


def mined_of(scores, hits):
  """Pairs (n, n) where a hit is gold and (n, -1) where not."""
  pairs = [[n, n if hit else -1] for n, hit in enumerate(hits)]
  return pairing.Mined(np.array(pairs), np.array(scores, float), np.zeros(len(scores)))


def test_the_threshold_by_hand():
  """Gold 3; hits at 1, 2, 4: F1 after n = 1..4 is 2/4, 4/5, 4/6, 6/7; the last is best."""
  gold = {(0, 0), (1, 1), (3, 3)}
  mined = mined_of([9, 8, 7, 6, 4], [True, True, False, True, False])
  threshold, counts = bucc.best_threshold(mined, gold)
  assert threshold == 5.0  # halfway between 6 and 4
  assert counts == bucc.Counts(pytest.approx(3 / 4), 1.0, pytest.approx(6 / 7))
  pairs = bucc.pairs_from(mined, threshold)
  assert len(pairs) == 4
  assert bucc.count(pairs, gold) == counts
  # On another split: one of two kept pairs is right, of two that there are.
  other = mined_of([6, 5, 1], [True, False, True])
  assert bucc.count(bucc.pairs_from(other, threshold), {(0, 0), (2, 2)}) == bucc.Counts(
    0.5, 0.5, 0.5
  )


def test_the_threshold_parts_neighbouring_floats():
  """Halfway between 1 and the next float rounds to 1, which would keep the wrong pair too."""
  mined = mined_of([np.nextafter(1.0, 2.0), 1.0], [True, False])
  threshold, counts = bucc.best_threshold(mined, {(0, 0)})
  assert counts.f1 == 1.0
  assert bucc.pairs_from(mined, threshold) == {(0, 0)}


def test_equal_scores_are_kept_together():
  """After the first of two equal scores F1 would be best, but no threshold can part them."""
  mined = mined_of([9, 9], [True, False])
  threshold, counts = bucc.best_threshold(mined, {(0, 0)})
  assert counts.f1 == pytest.approx(2 / 3)
  assert len(bucc.pairs_from(mined, threshold)) == 2


def test_nothing_right_keeps_nothing():
  mined = mined_of([9, 8], [False, False])
  threshold, counts = bucc.best_threshold(mined, {(7, 7)})
  assert counts.f1 == 0.0
  assert bucc.pairs_from(mined, threshold) == set()
  assert bucc.count(set(), {(7, 7)}).f1 == 0.0


WORDS = [f"word {number}" for number in range(12)]


def write_split(folder, name, *, pairs):
  """Texts of 12 lines a side, in two orders, of which the first `pairs` are translations."""
  stem = folder / f"de-en.{name}"
  y = WORDS[::-1]
  stem.with_name(f"{stem.name}.de").write_text(
    "".join(f"de-{i}\t{word if i < pairs else f'other {i}'}\n" for i, word in enumerate(WORDS))
  )
  stem.with_name(f"{stem.name}.en").write_text(
    "".join(f"en-{i}\t{word}\n" for i, word in enumerate(y))
  )
  stem.with_name(f"{stem.name}.gold").write_text(
    "".join(f"de-{i}\ten-{11 - i}\n" for i in range(pairs))
  )


def encode(texts):
  """Equal texts get equal vectors, others random ones around 1, keyed by the text."""
  seeds = [int.from_bytes(text.encode(), "big") for text in texts]
  return np.array([np.random.default_rng(seed).normal(1, 1, 40) for seed in seeds])


def test_bucc_finds_what_is_equal(tmp_path):
  write_split(tmp_path, "training", pairs=7)
  write_split(tmp_path, "test", pairs=5)
  corpora = bucc.read_corpora(tmp_path)
  assert corpora["de-en"]["training"].gold == {(i, 11 - i) for i in range(7)}
  settings = {"margin": "ratio", "neighbours": 4, "retrieval": "max"}
  scores = bucc.bucc(corpora, encode, **settings)
  assert scores["training_f1/de-en"] == 1.0
  assert scores["test_precision/de-en"] == scores["test_recall/de-en"] == 1.0
  (tmp_path / "de-en.test.gold").unlink()
  scores = bucc.bucc(bucc.read_corpora(tmp_path), encode, **settings)
  assert set(scores) == {"threshold/de-en", "training_f1/de-en"}


def test_no_threshold_where_nothing_is_right(tmp_path):
  """Gold pairs whose texts have nothing in common, between others that are equal."""
  write_split(tmp_path, "training", pairs=7)
  (tmp_path / "de-en.training.gold").write_text("de-0\ten-0\n")
  settings = {"margin": "ratio", "neighbours": 4, "retrieval": "max"}
  scores = bucc.bucc(bucc.read_corpora(tmp_path), encode, **settings)
  assert scores == {"training_f1/de-en": 0.0}


def test_broken_files_are_named(tmp_path):
  with pytest.raises(UserError, match="has no files"):
    bucc.read_corpora(tmp_path)
  write_split(tmp_path, "training", pairs=7)
  gold = tmp_path / "de-en.training.gold"
  for content, message in (
    (b"de-1\ten-1\nde-0\ten-99\n", "training.gold:2: the id en-99 is not in its text"),
    (b"de-0 en-1\n", "training.gold:1: expected two fields"),
    (b"", "training.gold is empty"),
    (b"de-0\ten-1\n\xff\ten-1\n", "training.gold:2: not UTF-8"),
  ):
    gold.write_bytes(content)
    with pytest.raises(UserError, match=message):
      bucc.read_corpora(tmp_path)
  gold.write_text("de-0\ten-11\n")
  english = tmp_path / "de-en.training.en"
  for content, message in (
    ("en-11\tone\nen-11\ttwo\n", "training.en: 1 of its ids occur a second time"),
    ("en-11\tone\nen-12\t\n", "training.en:2: expected two fields"),
  ):
    english.write_text(content)
    with pytest.raises(UserError, match=message):
      bucc.read_corpora(tmp_path)
  (tmp_path / "again").mkdir()
  write_split(tmp_path / "again", "training", pairs=7)
  write_split(tmp_path, "training", pairs=7)
  with pytest.raises(UserError, match="each pair once"):
    bucc.read_corpora(tmp_path)
  (tmp_path / "again" / "de-en.training.gold").unlink()
  english.unlink()
  with pytest.raises(UserError, match="is not there"):
    bucc.read_corpora(tmp_path)
