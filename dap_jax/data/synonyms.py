"""Words of a pair that a dictionary calls synonyms: what VECO 2.0's token contrast is about.

How words are matched. A text's words are those of `words.words`, in scripts without spaces the
tokenizer's pieces. From left to right, the longest run of them that is a form of the dictionaries
becomes one word; the pivot's does not depend on the other language. Case and Unicode normalisation
do not count, accents do. A word without a form of its own may take the form that it shares the
longest beginning with. Two words are synonyms where their forms have a concept in common.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dap_jax.data.elements import Feature
from dap_jax.data.readers import dictionaries
from dap_jax.data.readers.words import Word, glue, words
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.utils.errors import UserError

logger = logging.getLogger(__name__)

CHUNK = 10_000  # pairs whose texts are split at a time
NAMED = 10  # languages or files that a line of the log names

Concepts = tuple[int, ...]
Pair = tuple[int, int]  # numbers of a word of the pivot's text and one of the translation


class Sentence(NamedTuple):
  """of_tokens: int32 [L], each id's word, -1 without one; concepts: those of each word."""

  of_tokens: np.ndarray
  concepts: list[Concepts]


class Forms:
  """The forms of one language, and how a word finds its own.

  Args:
    concepts: form -> its concepts.
    prefix_letters: letters that a word and a form begin with in common, at least, where it has no
      form of its own; 0 = only equal ones match.
    ending_letters: letters that may follow these in the word and in the form, at most.
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

  def match(self, found: Sequence[Word]) -> list[tuple[Word, Concepts]]:
    """The words of a text, longest matches joined to one, and the concepts of each."""
    matched, first = [], 0
    while first < len(found):
      word, key, after = found[first], found[first].key, first + 1
      for i in range(first + 1, len(found)):
        key += glue(found[i - 1], found[i]) + found[i].key
        if len(key) > self._longest:
          break
        if key in self._concepts:
          kinds = (part.kind for part in found[first : i + 1] if part.kind)
          word, after = Word(word.start, found[i].end, next(kinds), key), i + 1
      matched.append((word, self._concepts_of(word)))
      first = after
    return matched

  def _concepts_of(self, word: Word) -> Concepts:
    concepts = self._concepts.get(word.key, ())
    if not concepts and word.kind == "spaced" and self._letters:
      concepts = self._concepts.get(self._nearest(word.key), ())
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
    text: as the tokenizer got it.
    spans: the characters of each id, of `Tokenizer.encode_spans`. Words behind the last one were
      cut off; a word that was cut itself matches nothing. An id whose characters reach over several
      words belongs to the first that is no punctuation.
    forms: of the text's language.
  """
  seen = max((end for _, end in spans), default=0)
  found = words(text, cuts={edge for span in spans for edge in span})
  found = [word if word.end <= seen else word._replace(key="") for word in found]
  matched = forms.match(found)
  at = [-1] * len(text)
  for number, (word, _) in enumerate(matched):
    at[word.start : word.end] = [number] * (word.end - word.start)
  of_spans = []
  for start, end in spans:
    inside = [number for number in at[start:end] if number >= 0]
    letters = (number for number in inside if matched[number][0].kind)
    of_spans.append(next(letters, inside[0] if inside else -1))
  kept = sorted(set(of_spans) - {-1})
  numbers = {old: new for new, old in enumerate(kept)} | {-1: -1}
  of_tokens = np.array([numbers[number] for number in of_spans], np.int32)
  return Sentence(of_tokens, [matched[number][1] for number in kept])


def read_all(texts: Sequence[str], tokens: Tokenizer, forms: Forms) -> list[Sentence]:
  """`read_sentence` of texts of one language."""
  spans = [spans for _, spans in tokens.encode_spans(texts)]
  return [read_sentence(text, own, forms) for text, own in zip(texts, spans, strict=True)]


def synonyms(pivot: Sentence, translation: Sentence) -> list[Pair]:
  """The words that have a concept in common, in order."""
  of_concept = defaultdict(list)
  for j, concepts in enumerate(translation.concepts):
    for concept in concepts:
      of_concept[concept].append(j)
  found = {
    (i, j)
    for i, concepts in enumerate(pivot.concepts)
    for concept in concepts
    for j in of_concept.get(concept, ())
  }
  return sorted(found)


def shortened(pairs: list[Pair], most: int) -> list[Pair]:
  """At most so many; those first that have a word which is in no earlier one.

  So as few words as possible that have a synonym count as unpaired.
  """
  if len(pairs) <= most:
    return pairs
  first, rest, seen = [], [], (set(), set())
  for i, j in pairs:
    (rest if i in seen[0] and j in seen[1] else first).append((i, j))
    seen[0].add(i)
    seen[1].add(j)
  return (first + rest)[:most]


class Synonyms:
  """Words and synonyms of every pair: a `store.Extra`.

  Its features: `words` int32 [L] of a view, the number of each id's word in its sentence, -1
  for [CLS], [SEP] and padding; `synonyms` int32 [max_synonyms, 2] of a pair, the numbers of a word
  of the pivot and one of the translation, -1 where there are no more.

  Args:
    pivot: the pivot's language.
    paths: files and folders of dictionaries, see `dictionaries`.
    cldr_names: whether CLDR's names are used.
    max_synonyms: pairs of words that a sentence pair holds; what is beyond is cut.
    prefix_letters, ending_letters: see `Forms`.

  Raises:
    UserError: a setting is wrong; from `compute`, a dictionary; from `report`, no pair has
      synonyms.
  """

  def __init__(
    self,
    *,
    pivot: str,
    paths: Sequence[str],
    cldr_names: bool,
    max_synonyms: int,
    prefix_letters: int,
    ending_letters: int,
  ):
    self._pivot, self._cldr = pivot, cldr_names
    self._paths = dictionaries.check_paths(paths)
    if not self._paths and not cldr_names:
      raise UserError("data.dictionaries has no paths, and cldr_names is False: set one of them")
    least = {"max_synonyms": 1, "prefix_letters": 0, "ending_letters": 0}
    given = (max_synonyms, prefix_letters, ending_letters)
    for (name, smallest), value in zip(least.items(), given, strict=True):
      if value < smallest:
        raise UserError(f"data.dictionaries.{name}={value}: expected {smallest} or more")
    self._most = max_synonyms
    self._match = {"prefix_letters": prefix_letters, "ending_letters": ending_letters}
    self._counts: dict[str, Counter] = {}
    self.features = (
      Feature("words", "view", None, 0, -1, "int32"),
      Feature("synonyms", "pair", max_synonyms, 2, -1, "int32"),
    )

  @functools.cached_property
  def _lexicon(self) -> dictionaries.Lexicon:
    lexicon = dictionaries.Lexicon(pivot=self._pivot)
    for path in self._paths:
      lexicon.add_path(path)
    if self._cldr:
      lexicon.add_cldr(self._pivot)
    return lexicon

  @functools.cached_property
  def _pivot_forms(self) -> Forms:
    return Forms(self._lexicon.concepts[self._lexicon.pivot], **self._match)

  def open(self) -> None:
    """Reads the dictionaries. Raises UserError: one of them cannot be."""
    logger.info("dictionaries of %d languages", len(self._lexicon.concepts))

  def compute(
    self, language: str, texts: Sequence[tuple[str, str]], tokens: Tokenizer
  ) -> dict[tuple[str, str], list[np.ndarray]]:
    """See `store.Extra`."""
    if self._cldr:
      self._lexicon.add_cldr(language)
    concepts = self._lexicon.concepts[dictionaries.base_language(language)]
    both = self._pivot_forms, Forms(concepts, **self._match)
    counts = self._counts[language] = Counter(entries=len(concepts))
    made = {("pivot", "words"): [], ("translation", "words"): [], ("pair", "synonyms"): []}
    for start in range(0, len(texts), CHUNK):
      sides = zip(*texts[start : start + CHUNK], strict=True)
      read = [read_all(side, tokens, forms) for side, forms in zip(sides, both, strict=True)]
      for pair in zip(*read, strict=True):
        found = synonyms(*pair)
        kept = shortened(found, self._most)
        made["pair", "synonyms"].append(np.array(kept, np.int32))
        made["pivot", "words"].append(pair[0].of_tokens)
        made["translation", "words"].append(pair[1].of_tokens)
        counts.update(pairs=1, with_synonym=bool(kept), cut=len(found) - len(kept))
        for side, sentence in enumerate(pair):
          paired = {numbers[side] for numbers in kept}
          words_of_ids = sentence.of_tokens.tolist()
          counts["tokens"] += sum(word >= 0 for word in words_of_ids)
          counts["tokens_with_synonym"] += sum(word in paired for word in words_of_ids)
    return made

  def report(self) -> dict[str, Any]:
    """Of each language its forms (`entries`), the shares of pairs and of words' tokens that found a
    synonym, and the pairs of words that were cut; of the dictionaries what was of no use.
    """
    lexicon, total = self._lexicon, sum(self._counts.values(), Counter())
    if not total["with_synonym"]:
      raise UserError(
        f"data.dictionaries: none of {total['pairs']} pairs has two words that are synonyms; give"
        " dictionaries of these languages in data.dictionaries.paths"
      )
    used = {dictionaries.base_language(language) for language in self._counts} | {lexicon.pivot}
    others = sorted(set(lexicon.concepts) - used)
    without = [language for language, own in self._counts.items() if not own["with_synonym"]]
    logger.info(
      "synonyms: in %d of %d languages, in %.1f%% of pairs, of %.1f%% of tokens; %d were cut",
      len(self._counts) - len(without),
      len(self._counts),
      100 * total["with_synonym"] / total["pairs"],
      100 * total["tokens_with_synonym"] / total["tokens"],
      total["cut"],
    )
    tell("languages without a synonym", without)
    tell("languages of dictionaries that the data has not", others)
    tell(f"files of dictionaries without {lexicon.pivot}, not used", lexicon.unused)
    if lexicon.unparsed:
      logger.warning("%d lines of dictionaries did not parse", lexicon.unparsed)
    languages = {
      language: {
        "entries": own["entries"],
        "pairs_with_synonym": own["with_synonym"] / own["pairs"],
        "tokens_with_synonym": own["tokens_with_synonym"] / max(own["tokens"], 1),
        "cut": own["cut"],
      }
      for language, own in sorted(self._counts.items())
    }
    report = {"languages": languages, "unparsed_lines": lexicon.unparsed}
    report |= {"unused_languages": len(others), "unused_files": len(lexicon.unused)}
    return {"synonyms": report}


def tell(what: str, found: Sequence[str]) -> None:
  """A line of the log, if there is anything to tell."""
  if found:
    more = ", ..." if len(found) > NAMED else ""
    logger.info("%d %s: %s%s", len(found), what, ", ".join(found[:NAMED]), more)
