"""Token alignment of real sentence pairs: the cosines of their pieces' states, one pair a script.

M pieces of the pivot's sentence, N of the translation.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from dap_jax.evals import word_links
from dap_jax.inference.embedder import Embedder
from dap_jax.report_page.heldout import Heldout
from dap_jax.utils.unit_vectors import unit

PAIRS = 6
SPACE = "\u2423"  # a piece that holds nothing but a word's beginning
PIECES = range(4, 13)  # of a sentence: enough to see something, few enough to read


class Alignment(NamedTuple):
  """A sentence pair.

  Attributes:
    language: of the translation.
    pivot_text, text: the sentences.
    pivot_pieces: [M], the texts of the pieces.
    pieces: [N].
    cosines: [N, M], of the last layer's states.
    links: (n, m) where each piece is the other's nearest.
    similarity: cosine of the two sentence vectors.
  """

  language: str
  pivot_text: str
  text: str
  pivot_pieces: list[str]
  pieces: list[str]
  cosines: np.ndarray
  links: set[tuple[int, int]]
  similarity: float


def choose_languages(heldout: Heldout) -> list[str]:
  """The language with most texts in each of the scripts with most, the pivot left out."""
  counts = heldout.counts()
  del counts[heldout.pivot]
  script_of = heldout.scripts()
  texts: Counter[str] = Counter()  # of each script
  largest: dict[str, str] = {}  # script -> its language with most texts
  for code in sorted(counts, key=lambda code: (-counts[code], code)):
    texts[script_of[code]] += counts[code]
    largest.setdefault(script_of[code], code)
  return [largest[script] for script, _ in texts.most_common(PAIRS)]


def choose_row(heldout: Heldout, model: Embedder, language: str) -> int | None:
  """The text of a language whose cosine with its pivot is the median, so neither best nor worst.

  Only pairs count whose sentences are not cut and have a number of `PIECES`; None without any.
  """
  texts = heldout.at(language)
  pivot = heldout.vectors[heldout.at(heldout.pivot)][heldout.sentences[texts]]
  cosines = (heldout.vectors[texts] * pivot).sum(1)
  rows = [heldout.rows[sentence] for sentence in heldout.sentences[texts]]
  fits = np.ones(len(rows), bool)
  for code in (language, heldout.pivot):
    ids = model.tokenizer.encode_ragged([row[code] for row in rows])
    lengths = np.array([len(sequence) for sequence in ids])
    fits &= np.isin(lengths - 2, PIECES) & (lengths < model.max_tokens)  # [CLS] and [SEP] are 2
  fits = np.flatnonzero(fits)
  if not len(fits):
    return None
  ranked = fits[np.argsort(cosines[fits], kind="stable")]
  return texts.start + int(ranked[len(ranked) // 2])


def alignments(heldout: Heldout, model: Embedder) -> list[Alignment]:
  """One pair of each of the languages that have one to show."""
  rows = [choose_row(heldout, model, language) for language in choose_languages(heldout)]
  return [align(heldout, model, row) for row in rows if row is not None]


def align(heldout: Heldout, model: Embedder, row: int) -> Alignment:
  """Aligns the pieces of a held-out text with those of its pivot."""
  language, sentence = str(heldout.languages[row]), heldout.sentences[row]
  pivot_text, text = (heldout.rows[sentence][code] for code in (heldout.pivot, language))
  # One word a sentence: pieces keep their order, and no language needs spaces.
  pivot, translation = model.word_states([[pivot_text], [text]])
  cosines = unit(translation.states[-1]) @ unit(pivot.states[-1]).T
  pivot_vector = heldout.vectors[heldout.at(heldout.pivot)][sentence]
  return Alignment(
    language=language,
    pivot_text=pivot_text,
    text=text,
    pivot_pieces=piece_texts(model, pivot_text),
    pieces=piece_texts(model, text),
    cosines=cosines,
    links={(int(n), int(m)) for n, m in np.argwhere(word_links.mutual(cosines))},
    similarity=float(heldout.vectors[row] @ pivot_vector),
  )


def piece_texts(model: Embedder, text: str) -> list[str]:
  """The pieces that `word_states` gives states of, as text; `SPACE` where that is empty."""
  [(ids, words)] = model.tokenizer.encode_words([[text]])
  inside = [i for i, word in zip(ids, words, strict=True) if word >= 0]
  return [model.tokenizer.decode([i]) or SPACE for i in inside]
