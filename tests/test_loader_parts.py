"""What the loader is made of: batches gathered at once, and the order of a mixture.

Expected values: a plain twin that makes one example at a time (one_example.py), and Grain's own
`mix`.
"""

import grain
import numpy as np
import pytest

from dap_jax.data import elements, examples
from dap_jax.data.interleaving import Interleaving
from tests.one_example import twin

FEATURES = (
  elements.Feature("word", "view", None, 0, -1, "int32"),  # as long as the ids
  elements.Feature("vector", "view", 1, 3, 0, "float32"),  # of a table
  elements.Feature("linked", "pair", 4, 2, -1, "int32"),  # cut and padded
)


def random_pairs(rng, language, *, count=9):
  """Pairs with every feature and up to three hard negatives, some of them equal."""

  def ragged(most, *, least=1, width=1, ends=()):
    lengths = rng.integers(least, most, count)
    sequences = [np.array([*rng.integers(5, 9, width * n), *ends], np.int32) for n in lengths]
    return elements.Ragged.of(sequences)

  def text():
    return elements.Ragged.of([np.array([2, *ids, 3], np.int32) for ids in ragged(9)])

  def table():
    return elements.Table(rng.normal(size=(5, 3)).astype(np.float32), rng.integers(0, 5, count))

  sides = ("pivot", "translation")
  extras = {(side, "word"): ragged(10) for side in sides}
  extras |= {(side, "vector"): table() for side in sides}
  extras["pair", "linked"] = ragged(7, least=0, width=2)
  of_pairs = rng.integers(0, 4, count)
  negatives = elements.Ragged.of(
    [np.array([2, *rng.integers(5, 7, 1), 3], np.int32) for _ in range(of_pairs.sum())]
  )
  offsets = np.cumsum([0, *of_pairs])
  return elements.Pairs(language, text(), text(), extras, negatives, offsets)


@pytest.mark.parametrize("views", [2, 4])
@pytest.mark.parametrize("negatives", [0, 3])
def test_a_batch_is_its_examples_one_by_one(views, negatives):
  rng = np.random.default_rng(views + negatives)
  pairs = [random_pairs(rng, language) for language in (1, 2, 3)]
  layout = elements.Layout(11, 0, FEATURES, negatives)
  languages, indices = rng.integers(0, 3, (20, views - 1)), rng.integers(0, 9, (20, views - 1))
  batch = examples.gather(pairs, languages, indices, layout)
  shapes = {name: (values.shape[1:], values.dtype) for name, values in batch.items()}
  blank = examples.blank(layout, views=views)
  assert shapes == {name: (values.shape, values.dtype) for name, values in blank.items()}
  for row in range(20):
    example = [(pairs[k], i) for k, i in zip(languages[row], indices[row], strict=True)]
    expected = twin(example, layout)
    assert batch.keys() == expected.keys()
    for name, values in expected.items():
      assert batch[name][row].tolist() == values, name


@pytest.mark.parametrize("first", [0, 5, 123_457, 10**10, 10**17])
def test_sources_are_interleaved_as_grain_does(first):
  """10^17: products that do not fit in 64 bits."""
  rng = np.random.default_rng(0)
  for count in (1, 2, 90):
    shares = rng.random(count) ** 3 + 1e-3
    mixed = grain.MapDataset.mix(
      [grain.MapDataset.range(7).repeat().map(Named(source)) for source in range(count)],
      weights=shares.tolist(),
    )
    sources, places = Interleaving(shares.tolist()).span(first, 40)
    expected = [mixed[first + k] for k in range(40)]
    assert list(zip(sources.tolist(), (places % 7).tolist(), strict=True)) == expected


class Named(grain.transforms.Map):
  """An element -> (number of its source, element)."""

  def __init__(self, source):
    self._source = source

  def map(self, element):
    return self._source, element


def test_shares_of_ninety_sources_hold_within_one_percent():
  """Over 1e5 examples; the shares are those that a temperature of 2 gives."""
  sizes = np.random.default_rng(1).integers(1_000, 1_000_000, 90)
  shares = np.sqrt(sizes) / np.sqrt(sizes).sum()
  sources, places = Interleaving(shares.tolist()).span(0, 100_000)
  np.testing.assert_allclose(np.bincount(sources) / 100_000, shares, rtol=0.01)
  for source in range(90):
    assert places[sources == source].tolist() == list(range((sources == source).sum()))
