"""Retrieval of held-out translations, worked by hand."""

import numpy as np
import pytest

from dap_jax.evals.retrieval import retrieval

# Directions in the plane, of different lengths: cosines count, lengths do not.
VECTORS = {
  "one": (1.0, 0.0),
  "two": (0.0, 2.0),
  "three": (-1.0, 0.0),
  "eins": (5.0, 1.0),  # nearest to one
  "zwei": (3.0, 1.0),  # nearest to one: wrong
  "un": (0.1, 9.0),  # nearest to two: wrong, it translates one
  "trois": (-7.0, 1.0),  # nearest to three
}
ROWS = [
  {"en": "one", "de": "eins", "fr": "un"},
  {"en": "two", "de": "zwei"},
  {"en": "three", "fr": "trois"},
]


def encode(texts):
  return np.array([VECTORS[text] for text in texts], np.float32)


def test_both_directions_by_hand():
  scores = retrieval(ROWS, encode, pivot="en")
  assert scores["queries"] == 4
  # To English: eins and trois are right, zwei and un are not.
  assert scores["to_pivot_accuracy"] == pytest.approx(2 / 4)
  assert scores["to_pivot_accuracy/de"] == pytest.approx(1 / 2)
  assert scores["to_pivot_accuracy/fr"] == pytest.approx(1 / 2)
  # From English, within a language: among eins, zwei: one -> eins, two -> zwei (the less far from
  # it); among un, trois: one -> un (cosine .01 against -.99), three -> trois. All four.
  assert scores["from_pivot_accuracy"] == pytest.approx(1.0)
  assert scores["to_pivot_accuracy_random"] == pytest.approx(1 / 3)
  assert scores["from_pivot_accuracy_random"] == pytest.approx(1 / 2)


def test_a_translation_counts_once_so_large_languages_weigh_more():
  rows = [{"en": "one", "de": "eins"}, {"en": "two", "de": "zwei"}, {"en": "three", "fr": "trois"}]
  scores = retrieval(rows, encode, pivot="en")
  assert scores["to_pivot_accuracy"] == pytest.approx(2 / 3)
  languages = (scores["to_pivot_accuracy/de"], scores["to_pivot_accuracy/fr"])
  assert languages == (pytest.approx(1 / 2), pytest.approx(1.0))
