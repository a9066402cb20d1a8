"""Exact match and F1 of answers, by the rules of SQuAD 1.1's script (arXiv 1606.05250).

Answers are compared in lower case, without ASCII punctuation and without the English articles; F1
is that of their words, split at white space. Of several right answers the best counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")


def words_of(answer: str) -> list[str]:
  """The words that are compared.

  Examples:
    >>> words_of("The U.S. Senate, an office")
    ['us', 'senate', 'office']
  """
  return ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split()


def f1(right: str, predicted: str) -> float:
  """F1 of the words of two answers, in [0, 1]; 0 where they share none."""
  gold, guess = words_of(right), words_of(predicted)
  shared = sum((Counter(gold) & Counter(guess)).values())
  return 2 * shared / (len(gold) + len(guess)) if shared else 0.0


def answer_scores(
  right: Mapping[str, Sequence[str]], predicted: Mapping[str, str]
) -> dict[str, float]:
  """`exact_match` and `f1`, means over the questions, in [0, 1].

  Args:
    right: id of a question -> its right answers.
    predicted: id -> the answer; a question without one has 0.
  """
  exact, overlap = 0.0, 0.0
  for name, answers in right.items():
    guess = predicted.get(name)
    if guess is not None:
      exact += best(words_of(answer) == words_of(guess) for answer in answers)
      overlap += best(f1(answer, guess) for answer in answers)
  return {"exact_match": exact / max(len(right), 1), "f1": overlap / max(len(right), 1)}


def best(values: Iterable[float]) -> float:
  """The largest, 0 where there are none."""
  return float(max(values, default=0.0))
