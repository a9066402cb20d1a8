"""The blockwise search against a full sort in float64: any block, ties, padding, a kill between."""

import logging

import jax
import numpy as np
import pytest

from dap_jax.mining import exact_search, faiss_search, search_checkpoint
from dap_jax.mining.kernels import on_cpu
from dap_jax.mining.kernels.lists import Lists, empty_lists
from dap_jax.mining.kernels.on_accelerators import OnAccelerators
from dap_jax.mining.search_checkpoint import SearchCheckpoint
from dap_jax.utils.errors import UserError
from dap_jax.utils.unit_vectors import unit

K = 3
BLOCKS = [(16, 16), (300, 48), (128, 8192)]  # on 8 devices the first has 128 x 16


@pytest.fixture(params=["on_cpu", "on_accelerators"], autouse=True)
def kernel(request, monkeypatch):
  """Every test compares in both ways: 8 devices of a CPU stand for accelerators."""
  if request.param == "on_accelerators":
    monkeypatch.setattr(exact_search, "kernel_class", lambda: OnAccelerators)
  else:
    assert exact_search.kernel_class() is on_cpu.OnCpu


def random_sides(n=301, m=170, width=24, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(n, width)), rng.normal(size=(m, width))


def full_sort(x, y, k=K):
  """Cosines and rows of the k nearest, the lower row first of equals, from all pairs."""
  cosines = unit(x.astype(np.float64)) @ unit(y.astype(np.float64)).T
  rows = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
  return np.take_along_axis(cosines, rows, axis=1), rows


def both(x, y, **arguments):
  arguments = {"neighbours": K} | arguments
  return exact_search.nearest(exact_search.Side.whole(x), exact_search.Side.whole(y), **arguments)


def assert_full_sort(result, x, y, k=K):
  for near, sides in zip(result, ((x, y), (y, x)), strict=True):
    cosines, rows = full_sort(*sides, k=k)
    np.testing.assert_array_equal(near.rows, rows)
    np.testing.assert_allclose(near.cosines, cosines, rtol=0, atol=1e-14)


@pytest.mark.parametrize("block", BLOCKS)
def test_it_is_a_full_sort(block):
  assert jax.local_device_count() == 8
  x, y = random_sides()
  assert_full_sort(both(x, y, block=block), x, y)


def test_blocks_change_no_bit():
  x, y = random_sides()
  first, *others = [both(x, y, block=block) for block in BLOCKS]
  for other in others:
    jax.tree.map(np.testing.assert_array_equal, first, other)


def one_way(x, y, **arguments):
  arguments = {"neighbours": K} | arguments
  return exact_search.one_way(exact_search.Side.whole(x), exact_search.Side.whole(y), **arguments)


@pytest.mark.parametrize("block", BLOCKS)
def test_one_way_is_half_of_both(block):
  x, y = random_sides()
  jax.tree.map(np.testing.assert_array_equal, one_way(x, y, block=block), both(x, y)[0])


@pytest.mark.parametrize(("n", "m", "k"), [(1, 1, 4), (1, 170, 30), (170, 2, 4)])
def test_one_way_of_few_sentences(n, m, k):
  x, y = random_sides(n, m)
  expected = both(x, y, neighbours=k)[0]
  jax.tree.map(np.testing.assert_array_equal, one_way(x, y, neighbours=k), expected)


@pytest.mark.parametrize("block", BLOCKS)
def test_equal_cosines_go_to_the_lowest_row(block):
  """Vectors of +-1, width 4: cosines are exact quarters, and of 16 vectors most are equal."""
  rng = np.random.default_rng(1)
  x, y = (rng.choice([-1.0, 1.0], size=(count, 4)) for count in (300, 700))
  cosines, _ = full_sort(x, y)
  assert (cosines[:, 0] == cosines[:, -1]).mean() > 0.9
  assert_full_sort(both(x, y, block=block), x, y)


@pytest.mark.parametrize("block", BLOCKS)
def test_of_many_copies_the_first_are_taken(block):
  """30 copies of each of 10 vectors, anywhere: the 3 nearest are the first 3 of the nearest ten."""
  rng = np.random.default_rng(4)
  different, _ = random_sides(10, 1)
  copies = rng.permutation(np.repeat(np.arange(10), 30))
  x, _ = random_sides(150, 1, seed=5)
  of_x, _ = both(x, different[copies], block=block)
  nearest_one = full_sort(x, different, k=1)[1][:, 0]
  expected = np.stack([np.flatnonzero(copies == one)[:K] for one in nearest_one])
  np.testing.assert_array_equal(of_x.rows, expected)


@pytest.mark.parametrize("block", BLOCKS)
def test_padding_is_no_neighbour(block):
  """All cosines negative: a row of padding, with its cosine of 0, would be nearer than any."""
  rng = np.random.default_rng(2)
  x, y = rng.uniform(0.1, 1, (131, 6)), -rng.uniform(0.1, 1, (163, 6))
  assert_full_sort(both(x, y, block=block), x, y)


@pytest.mark.parametrize(("n", "m", "k"), [(1, 1, 4), (5, 2, 4), (2, 40, 30), (70, 90, 40)])
def test_few_sentences_and_many_neighbours(n, m, k):
  x, y = random_sides(n, m)
  of_x, of_y = both(x, y, neighbours=k)
  assert of_x.rows.shape == (n, min(k, m)) and of_y.rows.shape == (m, min(k, n))
  assert_full_sort((of_x, of_y), x, y, k=k)


@pytest.mark.parametrize("few", [-1, 2])
def test_either_way_to_merge_changes_no_bit(few, monkeypatch):
  """All blocks by the selection of the device, or all of them entry by entry on the host."""
  x, y = random_sides()
  expected = both(x, y, block=(300, 48))
  monkeypatch.setattr(on_cpu, "FEW", few)
  jax.tree.map(np.testing.assert_array_equal, both(x, y, block=(300, 48)), expected)


def test_candidates_of_a_list_by_hand():
  """List 1 has four for two places, two of them equal; list 0 has one; list 2 none."""
  owners, rows = np.array([1, 1, 0, 1, 1]), np.array([7, 9, 5, 8, 6])
  values = np.array([0.5, 0.9, 0.2, 0.5, 0.1], np.float32)
  lists, found = on_cpu.gathered(owners, rows, values, k=2)
  np.testing.assert_array_equal(lists, [0, 1])
  np.testing.assert_array_equal(found.rows, [[5, 0], [9, 7]])
  kept = empty_lists(3, 2)
  kept.values[1], kept.rows[1] = (0.9, 0.3), (2, 4)
  on_cpu.keep_best(kept, lists, found)
  np.testing.assert_array_equal(kept.rows, [[5, 0], [2, 9], [0, 0]])
  empty = -np.inf
  best = [[0.2, empty], [0.9, 0.9], [empty, empty]]
  np.testing.assert_array_equal(kept.values, np.float32(best))
  lowest = on_cpu.lowest_of(Lists(kept.values[:2], kept.rows[:2]), 3)
  np.testing.assert_array_equal(lowest, np.float32([empty, 0.9, np.inf]))


def test_lengths_do_not_count():
  """Powers of two, so that nothing is rounded; their squares are beyond float32."""
  x, y = (side.astype(np.float32) for side in random_sides())
  powers = np.random.default_rng(3).choice([-100, 0, 100], (len(x), 1))
  scaled = np.ldexp(x, powers)
  with np.errstate(over="ignore"):
    assert scaled.dtype == np.float32 and np.isinf(scaled**2).any()
  jax.tree.map(np.testing.assert_array_equal, both(scaled, y), both(x, y))


def test_rows_that_take_no_part():
  """They may hold anything; places count those that take part. float16 as it is."""
  x, y = (side.astype(np.float16) for side in random_sides())
  rows = np.arange(0, len(x), 3)
  broken = np.full_like(x, np.nan)
  broken[rows] = x[rows]
  result = exact_search.nearest(
    exact_search.Side(broken, rows), exact_search.Side.whole(y), neighbours=K
  )
  assert_full_sort(result, x[rows], y)


class Stopped(Exception):
  """In place of a kill."""


class Failing:
  """Vectors that can be read so many times."""

  def __init__(self, vectors, reads):
    self._vectors, self._reads = vectors, reads

  def __getitem__(self, rows):
    self._reads -= 1
    if self._reads < 0:
      raise Stopped
    return self._vectors[rows]


def test_a_search_goes_on(tmp_path, caplog, monkeypatch):
  """Stopped in the third of three rows of blocks; then with a damaged state."""
  x, y = random_sides()
  arguments = {"neighbours": K, "block": (128, 48)}  # 3 x 4 blocks
  # It saves after every row of blocks, however long a save takes on a busy machine.
  monkeypatch.setattr(search_checkpoint, "SAVE_SHARE", np.inf)
  path = tmp_path / "state.npz"
  checkpoint = SearchCheckpoint(path, seconds=0.0)
  sides = exact_search.Side.whole(x), exact_search.Side.whole(y)
  with pytest.raises(Stopped):
    exact_search.nearest(
      sides[0], sides[1]._replace(vectors=Failing(y, 10)), checkpoint=checkpoint, **arguments
    )
  caplog.set_level(logging.INFO)
  content = path.read_bytes()
  result = exact_search.nearest(*sides, checkpoint=checkpoint, **arguments)
  assert "256 of 301 rows were done" in caplog.text
  jax.tree.map(np.testing.assert_array_equal, result, both(x, y))
  path.write_bytes(content[: len(content) // 2])
  result = exact_search.nearest(*sides, checkpoint=checkpoint, **arguments)
  assert "cannot be read" in caplog.text
  jax.tree.map(np.testing.assert_array_equal, result, both(x, y))


def test_a_search_in_one_direction_goes_on(tmp_path, caplog, monkeypatch):
  x, y = random_sides()
  arguments = {"block": (128, 48), "checkpoint": SearchCheckpoint(tmp_path / "f.npz", seconds=0.0)}
  monkeypatch.setattr(search_checkpoint, "SAVE_SHARE", np.inf)
  sides = exact_search.Side.whole(x), exact_search.Side.whole(y)._replace(vectors=Failing(y, 10))
  with pytest.raises(Stopped):
    exact_search.one_way(*sides, neighbours=K, **arguments)
  caplog.set_level(logging.INFO)
  result = one_way(x, y, **arguments)
  assert "256 of 301 rows were done" in caplog.text
  jax.tree.map(np.testing.assert_array_equal, result, both(x, y)[0])


def faiss_nearest(x, y, factory):
  pytest.importorskip("faiss", reason="needs faiss-cpu of requirements-dev.txt, which is absent")
  return faiss_search.nearest(
    exact_search.Side.whole(x),
    exact_search.Side.whole(y),
    factory=factory,
    neighbours=K,
    what="test",
  )


def test_faiss_in_full_is_a_full_sort():
  """All lists of an inverted file together are all vectors."""
  x, y = random_sides()
  for factory in ("Flat", "IVF4,Flat:nprobe=4"):
    assert_full_sort(faiss_nearest(x, y, factory), x, y)


def test_what_an_index_misses_is_marked():
  """One of 16 lists holds fewer than 3 vectors for some query."""
  x, y = random_sides(64, 48)
  of_x, _ = faiss_nearest(x, y, "IVF16,Flat:nprobe=1")
  assert (of_x.rows == -1).any() and (of_x.rows[:, 0] >= 0).all()
  np.testing.assert_array_equal(np.isneginf(of_x.cosines), of_x.rows == -1)


@pytest.mark.parametrize("factory", ["Nonsense", "IVF999,Flat", "Flat:nprobe=3"])
def test_what_faiss_refuses(factory):
  with pytest.raises(UserError, match=f"--index=faiss:{factory} is refused"):
    faiss_nearest(*random_sides(), factory)
