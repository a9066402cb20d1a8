"""Chunk F1 as seqeval 0.0.12 has it, and token accuracy beside it.

F1 is over all chunks of a language (micro); what a chunk is says `evals/chunks.py`. Later versions
of seqeval cut the first letter off a type that has no prefix, so that `X` is no chunk after O: on
part-of-speech tags their scores are others, on entities they are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from dap_jax.evals.transfer import OUTSIDE, chunks
from dap_jax.evals.xtreme.scoring.counts import Counts, accuracy, f1_of


def chunk_scores(gold: Sequence[str], predicted: Sequence[str]) -> Counts:
  """F1, precision and recall of the chunks of a language.

  Args:
    gold, predicted: tags, and "" between sentences; equally many, and "" at the same places.

  Examples:
    >>> chunk_scores(["B-PER", "I-PER", "", "B-PER"], ["B-PER", "I-PER", "", "O"])
    Counts(f1=66.66666666666666, precision=100.0, recall=50.0)
  """
  true, guessed = (set(chunks([[tag or OUTSIDE for tag in tags]])) for tags in (gold, predicted))
  return f1_of(hits=len(true & guessed), predicted=len(guessed), gold=len(true))


def token_accuracy(gold: Sequence[str], predicted: Sequence[str]) -> float:
  """The share of right tags in [0, 100], of tags as `chunk_scores` takes them."""
  return accuracy([tag for tag in gold if tag], [tag for tag in predicted if tag])
