"""Words of a pair that a dictionary calls synonyms: what VECO 2.0's token contrast is about.

Two words are synonyms where their forms in the dictionaries have a concept in common;
`word_forms.py` says how words are matched with forms.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dap_jax.data.elements import Feature
from dap_jax.data.extras import FeatureValues
from dap_jax.data.texts import dictionaries
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.data.word_forms import Forms, Sentence, read_sentences
from dap_jax.utils.errors import UserError
from dap_jax.utils.prompts import Sides

logger = logging.getLogger(__name__)

BLOCK_PAIRS = 10_000  # sentence pairs whose texts are tokenised at a time
MOST_NAMES = 10  # languages or files that a line of the log names

WordPair = tuple[int, int]  # numbers of a word of the pivot's text and one of the translation


def synonyms(pivot: Sentence, translation: Sentence) -> list[WordPair]:
  """The pairs of words that have a concept in common, in order."""
  of_concept = defaultdict(list)
  for j, concepts in enumerate(translation.concepts):
    for concept in concepts:
      of_concept[concept].append(j)
  pairs = {
    (i, j)
    for i, concepts in enumerate(pivot.concepts)
    for concept in concepts
    for j in of_concept.get(concept, ())
  }
  return sorted(pairs)


def shortened(pairs: list[WordPair], most: int) -> list[WordPair]:
  """At most `most` of the pairs, preferably with words that no earlier pair has.

  So as few words as possible lose all of their synonyms.
  """
  if len(pairs) <= most:
    return pairs
  first: list[WordPair] = []
  rest: list[WordPair] = []
  seen: tuple[set[int], set[int]] = set(), set()
  for i, j in pairs:
    (rest if i in seen[0] and j in seen[1] else first).append((i, j))
    seen[0].add(i)
    seen[1].add(j)
  return (first + rest)[:most]


class Synonyms:
  """Words and synonyms of every pair: an `extras.Extra`.

  Its features: `words` int32 [L] of a view, the number of each id's word in its sentence, -1 for
  [CLS], [SEP] and padding; `synonyms` int32 [max_synonyms, 2] of a pair, the numbers of a word of
  the pivot and one of the translation, -1 where there are no more.

  Args:
    pivot: the pivot's language.
    paths: files and folders of dictionaries, see `dictionaries`.
    cldr_names: whether CLDR's names are used.
    max_synonyms: the most pairs of words that a sentence pair has; see `shortened`.
    prefix_letters, ending_letters: see `Forms`.
    prompts: what goes before the texts of each side.

  Raises:
    UserError: a setting is wrong; from `open`, a dictionary; from `report`, no pair has synonyms.
  """

  sources: tuple[str, ...] = ()

  def __init__(
    self,
    *,
    pivot: str,
    paths: Sequence[str],
    cldr_names: bool,
    max_synonyms: int,
    prefix_letters: int,
    ending_letters: int,
    prompts: Sides,
  ):
    self._prompts = prompts
    self._pivot, self._cldr = pivot, cldr_names
    self._paths = dictionaries.check_paths(paths)
    if not self._paths and not cldr_names:
      raise UserError("data.dictionaries has no paths, and cldr_names is False: set one of them")
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
    """Reads the dictionaries. Raises UserError: one of them cannot be read."""
    logger.info("dictionaries of %d languages", len(self._lexicon.concepts))

  def compute(
    self,
    language: str,
    texts: Sequence[tuple[str, str]],
    tokens: Tokenizer,
    *,
    advance: Callable[[int], None],
  ) -> FeatureValues:
    """See `extras.Extra`."""
    if self._cldr:
      self._lexicon.add_cldr(language)
    concepts = self._lexicon.concepts[dictionaries.base_language(language)]
    both = self._pivot_forms, Forms(concepts, **self._match)
    counts = self._counts[language] = Counter(entries=len(concepts))
    of_pivot, of_translation, of_pairs = [], [], []
    for start in range(0, len(texts), BLOCK_PAIRS):
      sides = zip(*texts[start : start + BLOCK_PAIRS], strict=True)
      read = [
        read_sentences(side, tokens, forms, prompt=prompt)
        for side, forms, prompt in zip(sides, both, self._prompts, strict=True)
      ]
      for pair in zip(*read, strict=True):
        all_pairs = synonyms(*pair)
        word_pairs = shortened(all_pairs, self._most)
        of_pairs.append(np.array(word_pairs, np.int32))
        of_pivot.append(pair[0].of_tokens)
        of_translation.append(pair[1].of_tokens)
        cut = len(all_pairs) - len(word_pairs)
        counts.update(pairs=1, with_synonym=bool(word_pairs), cut=cut)
        for side, sentence in enumerate(pair):
          paired = {numbers[side] for numbers in word_pairs}
          words_of_ids = sentence.of_tokens.tolist()
          counts["tokens"] += sum(word >= 0 for word in words_of_ids)
          counts["tokens_with_synonym"] += sum(word in paired for word in words_of_ids)
      advance(len(read[0]))
    return {
      ("pivot", "words"): of_pivot,
      ("translation", "words"): of_translation,
      ("pair", "synonyms"): of_pairs,
    }

  def tables(self) -> dict[str, np.ndarray]:
    """None: words and synonyms are stored as they are."""
    return {}

  def report(self) -> dict[str, Any]:
    """Per language: its forms (`entries`), the shares of pairs and of words' tokens that have a
    synonym, and how many pairs of words were cut. Of the dictionaries: what was not used.
    """
    lexicon, total = self._lexicon, sum(self._counts.values(), Counter())
    if not total["with_synonym"]:
      raise UserError(
        f"data.dictionaries: none of {total['pairs']} pairs has two words that are synonyms; give"
        " dictionaries of these languages in data.dictionaries.paths"
      )
    used = {dictionaries.base_language(language) for language in self._counts} | {lexicon.pivot}
    others = sorted(set(lexicon.concepts) - used)
    without = [code for code, counts in self._counts.items() if not counts["with_synonym"]]
    logger.info(
      "synonyms: in %d of %d languages, in %.1f%% of pairs, of %.1f%% of tokens; %d were cut",
      len(self._counts) - len(without),
      len(self._counts),
      100 * total["with_synonym"] / total["pairs"],
      100 * total["tokens_with_synonym"] / total["tokens"],
      total["cut"],
    )
    log_names("languages without a synonym", without)
    log_names("languages of dictionaries that the data has not", others)
    log_names(f"files of dictionaries without {lexicon.pivot}, not used", lexicon.unused)
    if lexicon.unparsed:
      logger.warning("%d lines of dictionaries did not parse", lexicon.unparsed)
    languages = {
      language: {
        "entries": counts["entries"],
        "pairs_with_synonym": counts["with_synonym"] / counts["pairs"],
        "tokens_with_synonym": counts["tokens_with_synonym"] / max(counts["tokens"], 1),
        "cut": counts["cut"],
      }
      for language, counts in sorted(self._counts.items())
    }
    report = {
      "languages": languages,
      "unparsed_lines": lexicon.unparsed,
      "unused_languages": len(others),
      "unused_files": len(lexicon.unused),
    }
    return {"synonyms": report}


def log_names(what: str, names: Sequence[str]) -> None:
  """Logs how many names there are and the first of them; nothing if there is none."""
  if names:
    more = ", ..." if len(names) > MOST_NAMES else ""
    logger.info("%s (%d): %s%s", what, len(names), ", ".join(names[:MOST_NAMES]), more)
