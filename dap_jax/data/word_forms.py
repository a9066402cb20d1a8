"""The words of a text, and what each means in a dictionary: matching words with its forms.

A text's words are those of `words.words`; in scripts without spaces they are the tokenizer's
pieces. From left to right, the longest run of words that is a form in the dictionary becomes one
word. Case and Unicode normalisation do not matter, accents do. A word that is no form itself may
take the form with which it shares the longest beginning.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dap_jax.data.texts.words import Word, glue, words
from dap_jax.data.tokenizer import Tokenizer

Concepts = tuple[int, ...]  # numbers of what a form means


class Sentence(NamedTuple):
  """of_tokens: int32 [L], the word of each id, -1 for none. concepts: those of each word."""

  of_tokens: np.ndarray
  concepts: list[Concepts]


class Forms:
  """The forms of one language, and how words are matched with them.

  Args:
    concepts: form -> its concepts.
    prefix_letters: a word that is no form may take one that begins with the same letters, at least
      so many; 0 = only equal words match.
    ending_letters: at most so many letters may follow these in the word and in the form.
  """

  def __init__(self, concepts: Mapping[str, Concepts], *, prefix_letters: int, ending_letters: int):
    self._concepts, self._letters, self._endings = concepts, prefix_letters, ending_letters
    self._longest = max(map(len, concepts), default=0)
    self._beginnings: dict[str, list[str]] = defaultdict(list)
    if prefix_letters:
      for form in concepts:
        if len(form) >= prefix_letters and " " not in form:
          self._beginnings[form[:prefix_letters]].append(form)
    self._nearest = functools.cache(self._find_nearest)

  def match(self, text: Sequence[Word]) -> list[tuple[Word, Concepts]]:
    """The words of a text, those of a longest match joined to one, and the concepts of each."""
    matched, first = [], 0
    while first < len(text):
      word, key, after = text[first], text[first].key, first + 1
      for i in range(first + 1, len(text)):
        key += glue(text[i - 1], text[i]) + text[i].key
        if len(key) > self._longest:
          break
        if key in self._concepts:
          kinds = (part.kind for part in text[first : i + 1] if part.kind)
          word, after = Word(word.start, text[i].end, next(kinds), key), i + 1
      matched.append((word, self._concepts_of(word)))
      first = after
    return matched

  def _concepts_of(self, word: Word) -> Concepts:
    concepts = self._concepts.get(word.key, ())
    if not concepts and word.kind == "spaced" and self._letters:
      nearest = self._nearest(word.key)
      concepts = self._concepts[nearest] if nearest else ()
    return concepts

  def _find_nearest(self, word: str) -> str | None:
    """The form that shares the longest beginning; of several the shortest, then by alphabet."""
    best = []
    for form in self._beginnings.get(word[: self._letters], ()):
      shared = common_prefix(word, form)
      if max(len(word), len(form)) - shared <= self._endings:
        best.append((-shared, len(form), form))
    return min(best)[2] if best else None


def common_prefix(a: str, b: str) -> int:
  """How many letters two words begin with in common."""
  differ = (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
  return next(differ, min(len(a), len(b)))


def read_sentence(text: str, spans: Sequence[tuple[int, int]], forms: Forms) -> Sentence:
  """The words of a text that have ids, and their concepts.

  Args:
    text: what the tokenizer encoded.
    spans: the characters of each id, of `Tokenizer.encode_spans`. Words after the last one were cut
      off; a word that was itself cut matches nothing. An id whose characters span several words
      belongs to the first of them that is not punctuation.
    forms: of the text's language.
  """
  last = max((end for _, end in spans), default=0)
  all_words = words(text, cuts={edge for span in spans for edge in span})
  matched = forms.match([w if w.end <= last else w._replace(key="") for w in all_words])
  of_characters = [-1] * len(text)
  for number, (word, _) in enumerate(matched):
    of_characters[word.start : word.end] = [number] * (word.end - word.start)
  of_spans = []
  for start, end in spans:
    inside = [number for number in of_characters[start:end] if number >= 0]
    letters = (number for number in inside if matched[number][0].kind)
    of_spans.append(next(letters, inside[0] if inside else -1))
  with_ids = sorted(set(of_spans) - {-1})
  numbers = {old: new for new, old in enumerate(with_ids)} | {-1: -1}
  of_tokens = np.array([numbers[number] for number in of_spans], np.int32)
  return Sentence(of_tokens, [matched[number][1] for number in with_ids])


def read_sentences(
  texts: Sequence[str], tokens: Tokenizer, forms: Forms, *, prompt: str
) -> list[Sentence]:
  """`read_sentence` of each text of one language; no id of the prompt before it has a word."""
  encoded = zip(texts, tokens.encode_spans(texts, prompt=prompt), strict=True)
  return [read_sentence(text, spans, forms) for text, (_, spans) in encoded]
