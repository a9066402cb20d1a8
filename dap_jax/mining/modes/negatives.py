"""Mode negatives: hard negatives for the pairs of aligned texts, in the target's language.

Found by the vectors: of the targets nearest to a source those that are no translation of it, and
whose cosine is at most a share of the pair's own: what is nearer is too often a translation that
nobody marked (TopK-PercPos of arXiv 2407.15831). Made by rules: see `altered_sentences.py`.
"""

from __future__ import annotations

import collections
import hashlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dap_jax.data.texts import altered_sentences
from dap_jax.data.texts.normal_forms import key_of
from dap_jax.mining.exact_search import Neighbours
from dap_jax.mining.modes.aligned import Aligned, align, cosines_of
from dap_jax.mining.options import Options
from dap_jax.mining.table_file import BLOCK_ROWS, blocks, write_table
from dap_jax.mining.work_folder import Sentences

logger = logging.getLogger(__name__)


def write(
  source: Sentences,
  target: Sentences,
  path: Path,
  *,
  found: Sequence[Neighbours],
  options: Options,
) -> int:
  """Writes a header and the pairs in the order of the input. Returns how many pairs there are.

  `found` are the neighbours of the source's sentences; () where all negatives are made by rules.
  """
  pairs, count, rules = align(source, target), options.negatives, options.rules
  chosen = np.empty((len(pairs.lines), 0), np.int64)
  if found:
    share = options.max_share
    chosen = nearest_others(pairs, source, target, found[0], count=count, max_share=share)
  heads = ["source", "target", *(f"negative_{number + 1}" for number in range(count + rules))]
  rows = rows_of(pairs, source, target, chosen, rules=rules)
  return write_table(itertools.chain([heads], rows), path) - 1


def nearest_others(
  pairs: Aligned,
  source: Sentences,
  target: Sentences,
  near: Neighbours,
  *,
  count: int,
  max_share: float,
) -> np.ndarray:
  """The negatives of each of C pairs among the neighbours of its source, the nearest first.

  A text is no negative of a source that it translates somewhere in the input: case and punctuation
  do not count. Texts that differ in nothing else are one.

  Returns:
    int [C, count], sentences of the target; -1 where there is none, at the end.
  """
  own = cosines_of(pairs, source, target)
  of_source, of_target = key_numbers(source), key_numbers(target)
  different = int(of_target.max()) + 1

  def codes(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return of_source[sources] * different + of_target[targets]

  translations = np.unique(codes(pairs.source, pairs.target))
  chosen = np.full((len(own), count), -1, np.int64)
  k = near.rows.shape[1]
  for block in blocks(len(own), size=max(1, BLOCK_ROWS // k)):
    queries = pairs.source[block]
    rows, cosines = near.rows[queries], near.cosines[queries]
    good = np.isfinite(cosines) & (cosines <= max_share * own[block, None])
    good &= ~is_in(codes(queries[:, None], rows), translations)
    texts = of_target[rows]
    for place in range(1, k):
      good[:, place] &= ~((texts[:, :place] == texts[:, place, None]) & good[:, :place]).any(1)
    order = np.argsort(~good, axis=1, kind="stable")[:, :count]
    picked, there = (np.take_along_axis(part, order, axis=1) for part in (rows, good))
    chosen[block, : order.shape[1]] = np.where(there, picked, -1)
  return chosen


def key_numbers(side: Sentences) -> np.ndarray:
  """int64 [N], equal for sentences of one key; keys are compared by 64 bits of BLAKE2."""
  digests = (hashlib.blake2b(key_of(text).encode(), digest_size=8) for text in side.texts or ())
  hashes = np.fromiter((int.from_bytes(digest.digest()) for digest in digests), np.uint64)
  return np.unique(hashes[side.places], return_inverse=True)[1]


def is_in(values: np.ndarray, rising: np.ndarray) -> np.ndarray:
  """Whether each value is one of `rising`, which are sorted."""
  places = np.searchsorted(rising, values).clip(max=len(rising) - 1)
  return rising[places] == values


def rows_of(
  pairs: Aligned, source: Sentences, target: Sentences, chosen: np.ndarray, *, rules: int
) -> Iterator[list[str]]:
  """The rows of the table; at the end logs how many have as many negatives as they could."""
  names = altered_sentences.names_of((target.texts or ()) if rules else ())
  pairs_with: collections.Counter[int] = collections.Counter()  # so many negatives
  for block in blocks(len(pairs.lines)):
    there = chosen[block] >= 0
    found = iter(target.read(chosen[block][there]))
    texts = zip(source.read(pairs.source[block]), target.read(pairs.target[block]), strict=True)
    for both, has in zip(texts, there, strict=True):
      made = [other.text for other in altered_sentences.alter(both[1], names, most=rules)]
      negatives = [next(found) if one else "" for one in has] + made
      pairs_with[sum(map(bool, negatives))] += 1
      yield [*both, *negatives, *[""] * (rules - len(made))]
  most = chosen.shape[1] + rules
  logger.info(
    "of %d pairs %d have %d negatives, %d have none",
    len(pairs.lines),
    pairs_with[most],
    most,
    pairs_with[0],
  )
