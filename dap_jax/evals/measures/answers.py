"""Exact match and F1 of answers: SQuAD 1.1's for XQuAD and TyDiQA, and MLQA's, by language.

SQuAD's rule is English for every language: white space separates words, so that F1 is nearly exact
match where a language has none. MLQA (arXiv 1910.07475) drops the articles of each language and all
of Unicode's punctuation, and takes Chinese characters one by one.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from dap_jax.evals.measures.counts import f1_of

Normalise = Callable[[str], str]  # an answer -> its words with single spaces between

ARTICLES = {
  "en": r"\b(a|an|the)\b",
  "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
  "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
  "vi": r"\b(của|là|cái|chiếc|những)\b",
  # As the benchmark has it: the first branch never matches, the second removes the article's two
  # letters anywhere in a word.
  "ar": r"\sال^|ال",
  "hi": "",
  "zh": "",
}
CHINESE = re.compile("([\u4e00-\u9fa5])")


class AnswerScores(NamedTuple):
  """Means over questions, in [0, 100]."""

  exact_match: float
  f1: float


def normalise_squad(text: str) -> str:
  """Lower case, without ASCII punctuation and English articles.

  Examples:
    >>> normalise_squad("The  U.S. (an ally)")
    'us ally'
  """
  lowered = text.lower().translate(str.maketrans("", "", string.punctuation))
  return " ".join(re.sub(ARTICLES["en"], " ", lowered).split())


def normalise_mlqa(text: str, *, language: str) -> str:
  """Lower case, without punctuation and the articles of one of the languages of `ARTICLES`.

  Examples:
    >>> normalise_mlqa("die »Straße« des 17. Juni", language="de")
    'straße 17 juni'
    >>> normalise_mlqa("在 New York，美国", language="zh")
    '在 new york 美 国'
  """
  words = "".join(letter for letter in text.lower() if not is_punctuation(letter))
  if ARTICLES[language]:
    words = re.sub(ARTICLES[language], " ", words)
  if language == "zh":
    words = CHINESE.sub(r" \1 ", words)
  return " ".join(words.split())


def is_punctuation(letter: str) -> bool:
  """Whether Unicode or ASCII calls it so; `string.punctuation` has symbols, + and $ say, too."""
  return letter in string.punctuation or unicodedata.category(letter).startswith("P")


def token_f1(prediction: str, answer: str) -> float:
  """F1 of the words of two normalised texts, each as often as it occurs, in [0, 100].

  Examples:
    >>> token_f1("new new york", "new york city")
    66.66666666666666
  """
  words, gold = prediction.split(), answer.split()
  hits = (Counter(words) & Counter(gold)).total()
  return f1_of(hits=hits, predicted=len(words), gold=len(gold)).f1


def answer_scores(
  gold: Mapping[str, Sequence[str]], predicted: Mapping[str, str], *, normalise: Normalise
) -> AnswerScores:
  """Exact match and F1 of a language: for each question the best over its answers.

  Args:
    gold: id of a question -> its answers, one or more.
    predicted: id -> the predicted answer. A question without one scores 0.
    normalise: a text -> what is compared.
  """
  exact = f1 = 0.0
  for name, answers in gold.items():
    if name not in predicted:
      continue
    guess, right = normalise(predicted[name]), [normalise(answer) for answer in answers]
    exact += 100.0 * (guess in right)
    f1 += max(token_f1(guess, answer) for answer in right)
  return AnswerScores(exact / len(gold), f1 / len(gold))
