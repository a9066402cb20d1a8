"""Which of the staged pairs are trained on: no duplicates, nothing of what is held out.

Held out are the English sentences with the smallest hashes, the same ones in every language. Pairs
are compared by 64-bit hashes: two different texts of a billion have one hash with a probability of
3%, and then one pair is left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dap_jax.data.cleaning import near_duplicates as near
from dap_jax.data.cleaning.kept import KEPT, numbers_with, pairs_at, shares
from dap_jax.data.cleaning.stage import Batch, Stage
from dap_jax.utils.errors import UserError

# The states of a pair, beside KEPT.
DUPLICATE, HELD_OUT, RARE, IN_EVALUATION, NEAR_DUPLICATE = range(KEPT + 1, KEPT + 6)
# The states that count as rejected, by their reason.
REASONS = {
  DUPLICATE: "duplicate",
  NEAR_DUPLICATE: "near_duplicate",
  IN_EVALUATION: "in_evaluation",
}
MIX = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio's bits, odd: it spreads small numbers
TEXTS_AT_A_TIME = 200_000  # candidates whose texts are in memory at a time


class Selection(NamedTuple):
  """The choice.

  Attributes:
    states: uint8 [pairs], of each staged pair.
    heldout: the held-out rows, language -> text, the pivot's included.
    heldout_keys: the `pivot_key`s of these.
    languages: those that remain.
  """

  states: np.ndarray
  heldout: list[dict[str, str]]
  heldout_keys: frozenset[int]
  languages: list[str]

  def places(self, batch: Batch, state: int) -> np.ndarray:
    """Where in a batch the pairs of a state are, int [n]."""
    return (self.states[batch.first : batch.first + batch.pairs.num_rows] == state).nonzero()[0]


def select(
  stage: Stage,
  *,
  guard: np.ndarray,
  near_duplicates: float,
  pivot: str,
  min_pairs: int,
  sentences: int,
  min_words: int,
  min_languages: int,
) -> Selection:
  """Leaves out evaluation sets, duplicates, what is held out, languages with under `min_pairs`.

  Nothing of a held-out sentence stays in training: neither its other spellings (case, punctuation)
  nor a pair whose translation is one of its translations in that language.

  Args:
    stage: the pairs.
    guard: uint64, rising: keys of sentences that may be on neither side of a pair.
    near_duplicates: the similarity from which on a pair is left out, 0 for none; the one that the
      stage was written with.
    pivot: the pivot's language code, a key of the held-out rows.
    min_pairs: the fewest training pairs of a language.
    sentences: how many pivot sentences to hold out.
    min_words: the fewest words of one.
    min_languages: the fewest languages it is translated into.

  Raises:
    UserError: fewer sentences than asked for are eligible, or nothing remains to train on.
  """
  states = np.zeros(stage.size, np.uint8)
  mark_evaluated(stage, states, guard)
  mark_duplicates(stage, states)
  if near_duplicates:
    mark_near_duplicates(stage, states, near_duplicates)
  chosen = choose_sentences(
    stage, states, sentences=sentences, min_words=min_words, min_languages=min_languages
  )
  if len(chosen) < sentences:
    raise UserError(
      f"data.heldout.sentences={sentences}, but only {len(chosen)} sentences in {pivot} have"
      f" {min_words} words and {min_languages} languages: lower one of data.heldout's three numbers"
    )
  chosen = chosen[:sentences]
  rows = heldout_rows(stage, states, chosen, pivot=pivot)
  hold_out(stage, states, chosen)
  if not (states == KEPT).any():
    raise UserError(f"data.heldout.sentences={sentences} leaves no pair to train on: lower it")
  languages = drop_rare_languages(stage, states, min_pairs=min_pairs)
  codes = {*languages, pivot}
  kept_rows = [{code: row[code] for code in row if code in codes} for row in rows]
  return Selection(states, kept_rows, frozenset(chosen.tolist()), languages)


def mark_evaluated(stage: Stage, states: np.ndarray, guard: np.ndarray) -> None:
  """Marks the pairs that have a sentence of an evaluation set on a side."""
  if not len(guard):
    return
  for first, records in stage.blocks():
    sides = (np.isin(records[f"{side}_key"], guard) for side in ("pivot", "translation"))
    states[first : first + len(records)][np.logical_or(*sides)] = IN_EVALUATION
  if not (states == KEPT).any():
    raise UserError(
      "data.guard: every pair has a sentence of the evaluation sets on a side: evaluate on others,"
      " or set data.guard=() to train on them"
    )


def mark_duplicates(stage: Stage, states: np.ndarray) -> None:
  """Of equal pairs the first is kept."""
  for numbers, hashes in shares(stage, states, "pair"):
    first = np.unique(hashes, return_index=True)[1]
    repeated = np.ones(len(numbers), bool)
    repeated[first] = False
    states[numbers[repeated]] = DUPLICATE


def mark_near_duplicates(stage: Stage, states: np.ndarray, threshold: float) -> None:
  """Marks the pairs that resemble an earlier one, see `near_duplicates`."""
  compared = states.copy()  # also with those that turn out to resemble another
  for band in range(near.BANDS):
    parts = [
      near.candidates(numbers, hashes)
      for numbers, hashes in shares(stage, compared, "hash", band=band)
    ]
    firsts, others = (np.concatenate(side) for side in zip(*parts, strict=True))
    undecided = states[others] == KEPT
    firsts, others = firsts[undecided], others[undecided]
    for start in range(0, len(firsts), TEXTS_AT_A_TIME):
      a, b = (numbers[start : start + TEXTS_AT_A_TIME] for numbers in (firsts, others))
      wanted = np.unique(np.concatenate([a, b]))
      pairs = dict(zip(wanted.tolist(), pairs_at(stage, wanted), strict=True))
      states[b[near.similar(pairs, a, b, threshold)]] = NEAR_DUPLICATE


def choose_sentences(
  stage: Stage, states: np.ndarray, *, sentences: int, min_words: int, min_languages: int
) -> np.ndarray:
  """The smallest `pivot_key`s of eligible sentences, rising; at least so many if there are."""
  chosen: list[np.ndarray] = [np.zeros(0, np.uint64)]
  if not sentences:
    return chosen[0]
  for _, keys, languages, words in shares(stage, states, "pivot_key", "language", "words"):
    if not len(keys):
      continue
    order = np.lexsort((languages, keys))  # stable: the first pair of a key and language stays so
    sorted_keys, sorted_languages = keys[order], languages[order]
    new_key = np.r_[True, sorted_keys[1:] != sorted_keys[:-1]]
    new_language = new_key | np.r_[True, sorted_languages[1:] != sorted_languages[:-1]]
    (starts,) = new_key.nonzero()
    of_languages = np.add.reduceat(new_language.astype(np.int64), starts)
    first = np.minimum.reduceat(order, starts)  # of all pairs with this key
    eligible = (words[first] >= min_words) & (of_languages >= min_languages)
    chosen.append(sorted_keys[starts][eligible])
    if sum(map(len, chosen)) >= sentences:
      break
  return np.concatenate(chosen)


def heldout_rows(
  stage: Stage, states: np.ndarray, keys: np.ndarray, *, pivot: str
) -> list[dict[str, str]]:
  """The rows of some `pivot_key`s, in their order: of each language the first text."""
  rows: dict[int, dict[str, str]] = {int(key): {} for key in keys}
  numbers, of_pairs = numbers_with(stage, states, "pivot_key", keys)
  for number, pair in zip(of_pairs, pairs_at(stage, numbers), strict=True):
    row = rows[int(number)]
    row.setdefault(pivot, pair.pivot)
    row.setdefault(pair.language, pair.translation)
  return list(rows.values())


def hold_out(stage: Stage, states: np.ndarray, keys: np.ndarray) -> None:
  """Marks the pairs of some `pivot_key`s, and those that share a translation with one of them."""
  translations = [np.zeros(0, np.uint64)]
  for first, records in stage.blocks():
    part = states[first : first + len(records)]
    there = (part == KEPT) & np.isin(records["pivot_key"], keys)
    translations.append(np.unique(in_language(records[there])))
  of_heldout = np.unique(np.concatenate(translations))
  for first, records in stage.blocks():
    part = states[first : first + len(records)]
    there = np.isin(records["pivot_key"], keys)
    there |= np.isin(in_language(records), of_heldout)
    part[(part == KEPT) & there] = HELD_OUT


def in_language(records: np.ndarray) -> np.ndarray:
  """uint64, of the translation's key and its language."""
  return records["translation_key"] + records["language"].astype(np.uint64) * MIX


def drop_rare_languages(stage: Stage, states: np.ndarray, *, min_pairs: int) -> list[str]:
  """Marks the pairs of languages with too few -> the other languages, sorted."""
  counts = np.zeros(len(stage.languages), np.int64)
  for first, records in stage.blocks():
    kept = records["language"][states[first : first + len(records)] == KEPT]
    counts += np.bincount(kept, minlength=len(counts))
  rare = (counts < min_pairs).nonzero()[0]
  for first, records in stage.blocks():
    part = states[first : first + len(records)]
    part[(part == KEPT) & np.isin(records["language"], rare)] = RARE
  languages = [code for code, count in zip(stage.languages, counts, strict=True) if count]
  remaining = sorted({*languages} - {stage.languages[number] for number in rare})
  if not remaining:
    raise UserError(f"no language has data.min_pairs={min_pairs} training pairs: lower it")
  return remaining
