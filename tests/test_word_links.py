"""Which words are linked: mutual nearest neighbours, itermax, optimal transport.

Expected values: cases worked by hand, brute force, sums that must hold, SimAlign.
"""

import numpy as np
import pytest

from dap_jax.evals import Pieces, word_links
from dap_jax.utils.errors import UserError
from dap_jax.utils.unit_vectors import unit


def test_only_mutual_nearest_link():
  """Row 0 and column 0 choose each other; row 1 chooses column 0 too, which does not answer."""
  cosines = np.array([[0.9, 0.2, 0.1], [0.8, 0.3, 0.1], [0.0, 0.1, 0.5]])
  assert np.argwhere(word_links.mutual(cosines)).tolist() == [[0, 0], [2, 2]]


def test_mutual_nearest_is_brute_force():
  rng = np.random.default_rng(0)
  cosines = rng.normal(size=(20, 30))
  expected = [
    [i, j]
    for i in range(20)
    for j in range(30)
    if cosines[i, j] == max(cosines[i]) == max(cosines[:, j])
  ]
  assert 3 < len(expected) < 20
  assert np.argwhere(word_links.mutual(cosines)).tolist() == expected


def pieces(words, *angles):
  radians = np.deg2rad(angles)
  return Pieces(np.stack([np.cos(radians), np.sin(radians)], axis=1), np.array(words))


def test_pieces_become_words():
  """Source word 0 is the pieces at 0 and 60 degrees, its mean lies at 30; word 1 at 90.

  Target words at 1 and 32 degrees. Pieces: 0 and 1 choose each other, 60 and 32 do; 90 chooses 32,
  which prefers 60. So word 0 is linked to both. Words: 30 and 32 choose each other; 1 prefers 30.
  """
  x, y = pieces([0, 0, 1], 0, 60, 90), pieces([0, 1], 1, 32)

  def links(y, **changed):
    how = {"method": "mutual", "threshold": 0.0, "unit_of_alignment": "piece"} | changed
    return word_links.align(x, y, **how)

  found = links(y)
  assert list(found) == [(0, 0), (0, 1)]
  np.testing.assert_allclose([*found.values()], np.cos(np.deg2rad([1, 28])))
  assert set(links(y, unit_of_alignment="word")) == {(0, 1)}
  assert set(links(y, threshold=0.9)) == {(0, 0)}  # cos 28 = .883, cos 1 = .9998
  assert links(pieces([]), unit_of_alignment="word") == {}


def test_itermax_by_hand():
  """Mutual: (0, 0), (2, 2). Then the similarities .9 of (0, 1) and .85 of (1, 0) count 9 tenths.

  .81 and .765 are the largest of their rows and columns; (2, 1) has .45, but column 1 prefers .81.
  """
  cosines = np.array([[0.9, 0.8, 0.1], [0.7, 0.1, 0.0], [0.0, 0.0, 0.8]])
  assert word_links.itermax(cosines).astype(int).tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 1]]
  assert word_links.itermax(cosines[:2]).astype(int).tolist() == [[1, 0, 0], [0, 0, 0]]  # too few
  assert word_links.itermax(np.eye(3)).tolist() == np.eye(3, dtype=bool).tolist()  # all have one


def test_a_transport_plan_moves_all_pieces_and_prefers_what_is_near():
  """Its sums are 1/N and 1/M. Against a hub it leaves each piece its own, which `mutual` does not.

  Both rows are nearest to column 0; only the second plan gives row 1 to column 1: the exchange
  gains .9 + .6 against .8 + .1.
  """
  rng = np.random.default_rng(0)
  plan = word_links.transport_plan(rng.uniform(-1, 1, (4, 6)))
  np.testing.assert_allclose(plan.sum(0), np.full(6, 1 / 6), rtol=1e-12)
  np.testing.assert_allclose(plan.sum(1), np.full(4, 1 / 4), rtol=1e-3)  # rows come first
  hub = np.array([[0.9, 0.1], [0.8, 0.6]])
  assert word_links.mutual(hub).astype(int).tolist() == [[1, 0], [0, 0]]
  assert word_links.optimal_transport(hub).astype(int).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(("method", "theirs"), [("mutual", "inter"), ("itermax", "itermax")])
def test_simalign_links_the_same(method, theirs):
  """SimAlign's own functions on the same states, 50 pairs of sentences of 1 to 12 pieces."""
  simalign = pytest.importorskip("simalign.simalign", reason="needs simalign").SentenceAligner
  rng = np.random.default_rng(1)
  for _ in range(50):
    x, y = (rng.normal(size=(rng.integers(1, 13), 5)) for _ in range(2))
    similarity = simalign.get_similarity(x, y)
    forward, backward = simalign.get_alignment_matrix(similarity)
    expected = {"inter": forward * backward, "itermax": simalign.iter_max(similarity)}[theirs]
    found = word_links.METHODS[method](unit(x) @ unit(y).T)
    np.testing.assert_array_equal(found, expected > 0)


def test_settings_without_a_meaning():
  for wrong in ({"method": "nearest"}, {"unit_of_alignment": "line"}, {"threshold": 2.0}):
    settings = {"method": "mutual", "unit_of_alignment": "piece", "threshold": 0.0} | wrong
    with pytest.raises(UserError, match=str(next(iter(wrong.values())))):
      word_links.check_settings(**settings)
