"""Pairs that nearly repeat an earlier one: boilerplate, and one sentence with another number in it.

A text is the set of its shingles, the runs of `SHINGLE` characters of its key. Two pairs of one
language are near duplicates if on either side the Jaccard similarity of the sets, |A & B| / |A | B|
of sets A and B, is at least the threshold: a second translation of a sentence is none.

Candidates come from MinHash (Broder 1997) with banding (Leskovec, Rajaraman and Ullman, Mining of
Massive Datasets, 3.4), by the shingles of both sides together, whose similarity lies between those
of the sides. A signature has `BANDS` x r minima, r such that two pairs right at the threshold agree
on all r numbers of some band with a probability of 98% or more. Of the pairs that agree on a band
each is compared with the first, by their sets; what is similar is left out. So a pair that is left
out resembles an earlier one, and which ones these are depends on no order of work.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import rensa

from dap_jax.data.cleaning.pairs import Pair, hash_of
from dap_jax.data.texts.normal_forms import key_of

SHINGLE = 4  # characters
BANDS = 16
MISSED = 0.02  # the most probable loss of a pair right at the threshold
MOST_ROWS = 16  # r
SEED = 20_261_127
PRIME = np.uint64(0x100000001B3)  # FNV's, odd


def rows_of(threshold: float) -> int:
  """r, the numbers of a band: the most with (1 - threshold ** r) ** BANDS <= MISSED."""
  if threshold >= 1:
    return MOST_ROWS
  least = 1 - MISSED ** (1 / BANDS)
  return max(1, min(MOST_ROWS, math.floor(math.log(least) / math.log(threshold))))


class Shingles(NamedTuple):
  """Those of a pair's sides."""

  pivot: set[str]
  translation: set[str]

  @classmethod
  def of(cls, pair: Pair) -> Shingles:
    return cls(shingles(pair.pivot), shingles(pair.translation))

  def similarity(self, other: Shingles) -> float:
    """The smaller one of the sides' similarities."""
    return min(len(a & b) / len(a | b) for a, b in zip(self, other, strict=True))


def shingles(text: str) -> set[str]:
  """The runs of characters of a text's key; a shorter one is a run."""
  key = key_of(text)
  return {key[start : start + SHINGLE] for start in range(max(1, len(key) - SHINGLE + 1))}


def bands_of(pairs: Sequence[Pair], threshold: float) -> np.ndarray:
  """uint64 [n, BANDS], a hash of each band of each pair's signature, and of its language.

  Args:
    pairs: n of them.
    threshold: of the similarity; 0 is off, and gives [n, 0].
  """
  if not threshold:
    return np.zeros((len(pairs), 0), np.uint64)
  rows = rows_of(threshold)
  signatures = np.zeros((len(pairs), BANDS * rows), np.uint64)
  for number, pair in enumerate(pairs):
    minima = rensa.RMinHash(num_perm=BANDS * rows, seed=SEED)
    sides = Shingles.of(pair)
    minima.update([*sides.pivot, *("\0" + each for each in sides.translation)])
    signatures[number] = minima.digest()
  languages = {pair.language: hash_of(pair.language) for pair in pairs}
  first = np.array([languages[pair.language] for pair in pairs], np.uint64)
  hashes = np.repeat(first[:, None], BANDS, axis=1)
  for row in range(rows):
    hashes = (hashes ^ signatures[:, row::rows]) * PRIME
    hashes ^= hashes >> np.uint64(29)
  return hashes


def candidates(numbers: np.ndarray, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Pairs with equal hashes, each with the first: int [m] of the firsts, and of the others.

  Args:
    numbers: int [n], rising.
    hashes: uint64 [n], of one band.
  """
  order = np.argsort(hashes, kind="stable")
  in_order = hashes[order]
  starts = np.r_[True, in_order[1:] != in_order[:-1]] if len(order) else np.zeros(0, bool)
  firsts = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
  (others,) = (~starts).nonzero()
  return numbers[order[firsts[others]]], numbers[order[others]]


def similar(
  pairs: Mapping[int, Pair], firsts: np.ndarray, others: np.ndarray, threshold: float
) -> np.ndarray:
  """bool [m], whether each candidate's similarity reaches the threshold.

  Args:
    pairs: by number, all of these.
    firsts, others: int [m], of `candidates`.
    threshold: of the similarity.
  """
  result = np.zeros(len(firsts), bool)
  order = np.argsort(firsts, kind="stable")
  for first, places in itertools.groupby(order.tolist(), key=lambda place: int(firsts[place])):
    of_first = Shingles.of(pairs[first])
    for place in places:
      other = Shingles.of(pairs[int(others[place])])
      result[place] = of_first.similarity(other) >= threshold
  return result
