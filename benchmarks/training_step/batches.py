"""Batches of random tokens for `train_step`: of full length, or of the lengths that text has.

B pairs, L padded tokens; side 0 is the pivot y, 1 the translation x, as in a batch of `train`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.training_step.sizes import Sizes
from dap_jax.model.vocabulary import Vocabulary

PAD, CLS, SEP, MASK, FIRST = 0, 2, 3, 4, 5  # the first id of a word
SHORTEST = 3  # [CLS], a token, [SEP]
SYNONYMS, MOST_SYNONYMS = 3, 16  # of a pair, for VECO 2.0; configs/base.py's padded length
POOL = 100_000  # pairs whose lengths are drawn
# Tokens of the English text, and of the translation for each of English, at these percentiles.
# Of ../shared/data/tatoeba_challenge, 426,837 pairs of 93 languages, prepared with the rules empty,
# no_letters, equal, length_ratio, temperature 2, a vocabulary of 32,000 and max_tokens 128.
PERCENTILES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.9, 100)
PIVOT_TOKENS = (3, 7, 7, 8, 9, 10, 10, 11, 12, 15, 17, 22, 28, 37, 66, 128)
TRANSLATION_RATIO = (
  *(0.31, 0.92, 1.0, 1.12, 1.2, 1.29, 1.38, 1.5, 1.62, 1.85),
  *(2.07, 2.4, 2.62, 3.0, 3.71, 6.12),
)


class Weighted(NamedTuple):
  """A batch, and its share of the batches of a run."""

  weight: float
  batch: dict[str, np.ndarray]


def draw_lengths(pairs: int, sizes: Sizes, rng: np.random.Generator) -> np.ndarray:
  """int [pairs, 2]: all `sizes.tokens`, or as texts have them, cut there."""
  if sizes.lengths == "full":
    return np.full((pairs, 2), sizes.tokens)
  percent = 100 * rng.random((2, pairs))
  pivot = np.interp(percent[0], PERCENTILES, PIVOT_TOKENS).round()
  translation = (pivot * np.interp(percent[1], PERCENTILES, TRANSLATION_RATIO)).round()
  lengths = np.stack([pivot, translation], axis=1).astype(int)
  return np.clip(lengths, min(SHORTEST, sizes.tokens), sizes.tokens)


def bucket_of(lengths: np.ndarray, sizes: Sizes) -> np.ndarray:
  """int [pairs]: the padded length of each, a multiple of `sizes.bucket`, at most the longest."""
  padded = -(-lengths.max(1) // sizes.bucket) * sizes.bucket
  return np.minimum(padded, sizes.tokens)


def of_buckets(lengths: np.ndarray, sizes: Sizes, rng: np.random.Generator) -> list[Weighted]:
  """A batch of each bucket, as `data.bucket_tokens` makes them, and how often it occurs."""
  buckets = bucket_of(lengths, sizes)
  weighted = []
  for padded in np.unique(buckets).tolist():
    members = lengths[buckets == padded]
    chosen = members[rng.integers(len(members), size=sizes.batch)]
    batch = make_batch(chosen, sizes, rng, padded=padded)
    weighted.append(Weighted(len(members) / len(lengths), batch))
  return weighted


def at_random(
  lengths: np.ndarray, sizes: Sizes, rng: np.random.Generator
) -> Iterator[list[Weighted]]:
  """Endless batches of any lengths, each padded to its longest text."""
  while True:
    chosen = lengths[rng.integers(len(lengths), size=sizes.batch)]
    yield [Weighted(1.0, make_batch(chosen, sizes, rng, padded=int(chosen.max())))]


def make_batch(
  lengths: np.ndarray, sizes: Sizes, rng: np.random.Generator, *, padded: int
) -> dict[str, np.ndarray]:
  """Pairs of these lengths, int [B, 2], with random words; the pivot's are English."""
  english = english_ids(sizes)
  shape = (len(lengths), padded)
  words = english[english >= FIRST]
  ids = np.stack([rng.choice(words, shape), rng.integers(FIRST, sizes.vocabulary, shape)], axis=1)
  place = np.arange(padded)
  ids[..., 0] = CLS
  ids = np.where(place == lengths[..., None] - 1, SEP, ids)
  mask = place < lengths[..., None]
  inside = mask & (place > 0) & (place < lengths[..., None] - 1)
  synonyms = np.full((len(lengths), 1, MOST_SYNONYMS, 2), -1)
  number = np.arange(SYNONYMS)
  there = number < lengths.min(1)[:, None] - 2
  synonyms[:, 0, :SYNONYMS] = np.where(there, number, -1)[..., None]
  made = {
    "ids": np.where(mask, ids, PAD),
    "text_hash": np.arange(lengths.size).reshape(lengths.shape),
    "language": np.tile(np.arange(2), (len(lengths), 1)),
    "words": np.where(inside, place - 1, -1),
    "synonyms": synonyms,
  }
  return {name: array.astype(np.int32) for name, array in made.items()} | {"mask": mask}


def english_ids(sizes: Sizes) -> np.ndarray:
  """int32 [sizes.english], sorted, the special ones among them, spread over all ids."""
  words = np.linspace(FIRST, sizes.vocabulary - 1, sizes.english - FIRST + 1)
  return np.concatenate([np.arange(1, FIRST), words.astype(int)]).astype(np.int32)


def vocabulary(sizes: Sizes) -> Vocabulary:
  return Vocabulary(sizes.vocabulary, PAD, CLS, SEP, MASK, english_ids(sizes))
