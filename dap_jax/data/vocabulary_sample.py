"""Which texts a vocabulary is trained on: of many, those with the least hashes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dap_jax.data.cleaning import selection as choice
from dap_jax.data.cleaning.kept import least_hashes
from dap_jax.data.cleaning.pairs import Pair, hash_of
from dap_jax.data.cleaning.stage import Stage
from dap_jax.data.pair_encoder import texts_of
from dap_jax.data.tokenised_pairs import kept_pairs

PASSED_OVER = 255  # a state that no pair has in `selection`


def sampled_texts(
  stage: Stage, selection: choice.Selection, *, at_most: int
) -> tuple[list[str], int]:
  """The texts that a vocabulary is trained on, sorted, and how many different ones there are.

  Of more than `at_most`, those with the least hashes.
  """
  negatives: set[int] = set()
  if stage.has_negatives:
    for pairs in kept_pairs(stage, selection):
      negatives.update(hash_of(text) for pair in pairs for text in pair.negatives)
  others = np.fromiter(negatives, np.uint64, len(negatives))
  limit, count = least_hashes(stage, selection.states, at_most=at_most, others=others)
  texts: set[str] = set()
  for pairs in pairs_up_to(limit, stage, selection):
    texts.update(text for text in texts_of(pairs) if limit is None or hash_of(text) <= limit)
  return sorted(texts), count


def pairs_up_to(
  limit: int | None, stage: Stage, selection: choice.Selection
) -> Iterator[list[Pair]]:
  """The pairs to train on that may have a text of a hash up to a limit, batch by batch.

  The staged records tell them, without a look at the texts, where no pair has hard negatives.
  """
  if limit is None or stage.has_negatives:
    yield from kept_pairs(stage, selection)
    return
  states = selection.states.copy()
  for first, records in stage.blocks():
    larger = (records["pivot_text"] > limit) & (records["translation_text"] > limit)
    states[first : first + len(records)][larger] = PASSED_OVER
  yield from kept_pairs(stage, selection._replace(states=states))
