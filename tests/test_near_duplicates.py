"""Near duplicates: similarities by hand, and what is left out against comparing all with all."""

import itertools
import random

import numpy as np
import pytest

from dap_jax.data.cleaning import kept, near_duplicates, selection, stage
from dap_jax.data.cleaning.near_duplicates import Shingles, bands_of, candidates, rows_of, shingles
from dap_jax.data.cleaning.pairs import Pair
from tests.staged import split_pairs, staged

LETTERS = "abcdefghijklmnopqrstuvwxyz "
HELD_OUT = {"pivot": "en", "sentences": 1, "min_words": 1, "min_languages": 1}


def boilerplate(count, rng):
  """Pairs of random texts, and of each some with letters exchanged in both texts."""
  pairs = []
  for language in ("de", "fr"):
    for _ in range(count):
      texts = ["".join(rng.choice(LETTERS) for _ in range(rng.randint(20, 90))) for _ in "xy"]
      for edits in (0, 0, 1, 2, 4, 9):
        changed = []
        for text in texts:
          letters = list(text)
          for _ in range(edits):
            letters[rng.randrange(len(letters))] = rng.choice(LETTERS)
          changed.append("".join(letters))
        pairs.append(Pair(language, *changed))
  rng.shuffle(pairs)
  return list(dict.fromkeys(pairs))


def all_with_all(pairs, threshold):
  """The numbers of the pairs that resemble an earlier one of their language."""
  sets = [Shingles.of(pair) for pair in pairs]
  return {
    number
    for number, pair in enumerate(pairs)
    for earlier in range(number)
    if pairs[earlier].language == pair.language
    and sets[earlier].similarity(sets[number]) >= threshold
  }


def marked(pairs, threshold):
  """The numbers of the pairs that are left out."""
  with staged(pairs, near_duplicates=threshold) as staged_pairs:
    states = np.zeros(len(pairs), np.uint8)
    selection.mark_near_duplicates(staged_pairs, states, threshold)
  return set((states == selection.NEAR_DUPLICATE).nonzero()[0].tolist())


def test_shingles_and_their_similarity():
  """Of the pages' 3 runs 2 are equal, of 4 in all; of the other sides' 4 runs 3, of 5."""
  first = Pair("de", "Page: 1!", "Seite 1")
  assert shingles(first.pivot) == {"page", "age ", "ge 1"}
  assert shingles(first.translation) == {"seit", "eite", "ite ", "te 1"}
  assert Shingles.of(first).similarity(Shingles.of(Pair("de", "page 2", "Seite 2"))) == 2 / 4
  assert Shingles.of(first).similarity(Shingles.of(Pair("de", "page 1", "Seite 2"))) == 3 / 5
  assert shingles("a") == {"a"} and shingles("我们") == {"我们"}  # shorter than a shingle


def test_the_rows_of_a_band():
  """(1 - t ** r) ** 16 is 0.8% for 0.8 and 6, and 2.5% for 7."""
  assert rows_of(0.8) == 6
  assert (1 - 0.8**6) ** 16 < near_duplicates.MISSED < (1 - 0.8**7) ** 16
  assert [rows_of(threshold) for threshold in (0.01, 0.5, 0.999, 1.0)] == [1, 2, 16, 16]


def test_candidates_are_those_of_one_hash_with_the_first():
  numbers, hashes = np.array([2, 3, 5, 8, 9]), np.array([7, 1, 7, 1, 7], np.uint64)
  firsts, others = candidates(numbers, hashes)
  assert {*zip(firsts.tolist(), others.tolist(), strict=True)} == {(3, 8), (2, 5), (2, 9)}
  for each in candidates(numbers[:0], hashes[:0]):
    assert len(each) == 0


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8])
def test_against_all_with_all(threshold):
  """None too many; and of those right at the threshold, which may be missed, few are."""
  pairs = boilerplate(60, random.Random(1))
  expected, found = all_with_all(pairs, threshold), marked(pairs, threshold)
  assert found <= expected
  assert len(found) >= 0.97 * len(expected) > 20


def test_shares_and_blocks_change_nothing(monkeypatch):
  pairs = boilerplate(20, random.Random(2))
  whole = marked(pairs, 0.8)
  monkeypatch.setattr(kept, "AT_A_TIME", 10)
  monkeypatch.setattr(selection, "TEXTS_AT_A_TIME", 3)
  monkeypatch.setattr(stage, "BLOCK", 16)
  assert marked(pairs, 0.8) == whole


def test_other_languages_and_second_translations_stay():
  """The English side is the same, the other is not; or both are, in two languages."""
  sentence = "In the beginning there was a long text."
  pairs = [
    Pair("de", sentence, "Am Anfang war ein langer Text."),
    Pair("de", sentence, "Zu Beginn gab es viele Zeilen!"),
    Pair("nl", sentence, "Am Anfang war ein langer Text."),
    Pair("de", sentence.upper(), "am anfang war ein langer text"),
  ]
  assert marked(pairs, 0.8) == {3}


def test_a_selection_without_them():
  pairs = boilerplate(20, random.Random(3))
  near = marked(pairs, 0.8)
  kept, heldout = split_pairs(pairs, near_duplicates=0.8, **HELD_OUT)
  (row,) = heldout
  remaining = [pair for number, pair in enumerate(pairs) if number not in near]
  assert kept == [pair for pair in remaining if pair.pivot != row["en"]]
  assert split_pairs(pairs, **HELD_OUT)[0] == [
    pair for pair in pairs if pair.pivot != split_pairs(pairs, **HELD_OUT)[1][0]["en"]
  ]


def test_hashes_are_of_the_pair_alone():
  """A pair's hashes are the same in any chunk and process: these were computed once."""
  pairs = boilerplate(3, random.Random(4))
  whole = bands_of(pairs, 0.8)
  for pair, hashes in itertools.islice(zip(pairs, whole, strict=True), 5):
    np.testing.assert_array_equal(bands_of([pair], 0.8)[0], hashes)
  assert bands_of(pairs, 0.0).shape == (len(pairs), 0)
  other = [pair._replace(language="xx") for pair in pairs]
  assert not (bands_of(other, 0.8) == whole).any()
