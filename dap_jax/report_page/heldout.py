"""The held-out texts of a run with their vectors, and what the report measures on them.

T texts, L languages, S sentences (rows of heldout.jsonl), Q translations, D width.
Similarity is the cosine throughout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dap_jax.evals import Encode, retrieval
from dap_jax.report_page import scripts
from dap_jax.utils.unit_vectors import unit

FEW = 20  # sentences: with fewer a share says little
FEWEST_POINTS = 10  # of a map: with fewer a table says more
BINS = 60  # of the histogram
MAP_SENTENCES, MAP_TEXTS = 24, 40  # sentences of the map, translations of each
PERPLEXITY = 30  # t-SNE's default: about how many neighbours a point has


class Heldout(NamedTuple):
  """The held-out texts, sorted by language, then by sentence.

  Attributes:
    rows: the sentences, language -> text.
    pivot: the pivot's language code.
    texts: [T].
    languages: [T], language codes.
    sentences: int [T], rows of `rows`.
    vectors: float32 [T, D], of length 1.
  """

  rows: Sequence[Mapping[str, str]]
  pivot: str
  texts: list[str]
  languages: np.ndarray
  sentences: np.ndarray
  vectors: np.ndarray

  def at(self, language: str) -> slice:
    """The range of a language's texts."""
    first, last = (np.searchsorted(self.languages, language, side) for side in ("left", "right"))
    return slice(int(first), int(last))

  def counts(self) -> dict[str, int]:
    """Language -> its held-out texts."""
    codes, numbers = np.unique(self.languages, return_counts=True)
    return dict(zip(codes.tolist(), numbers.tolist(), strict=True))

  def scripts(self) -> dict[str, str]:
    """Language -> the script of its texts."""
    return {code: scripts.script_of(self.texts[self.at(code)]) for code in self.counts()}

  def retrieval(self) -> dict[str, float]:
    """The scores of `evals.retrieval`, from these vectors."""
    place = {text: number for number, text in enumerate(self.texts)}
    return retrieval.retrieval(
      self.rows,
      lambda texts: self.vectors[[place[text] for text in texts]],
      pivot=self.pivot,
    )


def encoded(rows: Sequence[Mapping[str, str]], encode: Encode, *, pivot: str) -> Heldout:
  """Encodes the held-out rows; `encode` gives vectors float32 [N, D], of any length."""
  entries = sorted(
    (language, number, text) for number, row in enumerate(rows) for language, text in row.items()
  )
  languages, sentences, texts = (list(column) for column in zip(*entries, strict=True))
  vectors = unit(encode(texts))
  return Heldout(rows, pivot, texts, np.array(languages), np.array(sentences), vectors)


class Pairs(NamedTuple):
  """Retrieval between all languages, in the order of `languages`.

  Attributes:
    languages: [L].
    accuracy: [L, L], row = language of the query, column = of the candidates; NaN on the diagonal
      and where there is no common sentence.
    common: int [L, L], sentences that both languages have: the queries.
  """

  languages: list[str]
  accuracy: np.ndarray
  common: np.ndarray

  def shown(self) -> np.ndarray:
    """bool [L, L], the pairs that have `FEW` common sentences or more."""
    return (self.common >= FEW) & ~np.isnan(self.accuracy)


def pairs(heldout: Heldout, languages: Sequence[str]) -> Pairs:
  """How often the nearest of a language's held-out texts is the translation.

  A query is a text whose sentence the other language has too; all of that language's held-out texts
  are candidates. So the pivot's column and row are the two directions of `evals.retrieval`.
  """
  size = len(languages)
  accuracy, common = np.full((size, size), np.nan), np.zeros((size, size), int)
  places = [heldout.at(code) for code in languages]
  for i, source in enumerate(places):
    cosines = heldout.vectors[source] @ heldout.vectors.T
    for j, target in enumerate(places):
      of_candidates = heldout.sentences[target]
      both = np.isin(heldout.sentences[source], of_candidates)
      common[i, j] = both.sum()
      if i != j and both.any():
        nearest = of_candidates[cosines[both, target].argmax(1)]
        accuracy[i, j] = (nearest == heldout.sentences[source][both]).mean()
  return Pairs(list(languages), accuracy, common)


class Similarities(NamedTuple):
  """Cosines of the Q translations with the pivot's sentences.

  Attributes:
    true: [Q], with the sentence that they translate.
    hardest: [Q], the largest with any other sentence.
    other: mean over all other sentences; near 1 where the vectors have collapsed.
    edges: [BINS + 1], of the histogram's bins.
    shares: name -> [BINS], the share of its cosines in each bin: true, hardest, other.
  """

  true: np.ndarray
  hardest: np.ndarray
  other: float
  edges: np.ndarray
  shares: dict[str, np.ndarray]


def similarities(heldout: Heldout) -> Similarities:
  """Compares every translation with every pivot sentence, of which there must be two or more."""
  pivot = heldout.at(heldout.pivot)  # each row has the pivot, so they stand in the rows' order
  queries = heldout.languages != heldout.pivot
  cosines = heldout.vectors[queries] @ heldout.vectors[pivot].T
  is_true = heldout.sentences[queries][:, None] == np.arange(len(heldout.rows))
  true, other = cosines[is_true], cosines[~is_true].reshape(len(cosines), -1)
  hardest = other.max(1)
  low, high = min(true.min(), other.min()), max(true.max(), other.max())
  edges = np.linspace(low, max(high, low + 1e-3), BINS + 1)  # a collapsed run has one cosine
  shares = {
    name: np.histogram(values, edges)[0] / values.size
    for name, values in (("true", true), ("hardest", hardest), ("other", other))
  }
  return Similarities(true, hardest, float(other.mean()), edges, shares)


class Plane(NamedTuple):
  """Texts on a map. rows: int [P], of the held-out texts; places: float [P, 2]."""

  rows: np.ndarray
  places: np.ndarray


def plane(heldout: Heldout) -> Plane | None:
  """t-SNE of the sentences that most languages have, with evenly chosen texts of each.

  van der Maaten and Hinton, 2008; begun at the principal components, seeded. On unit vectors the
  squared distance is 2 - 2 cosine. None with fewer than `FEWEST_POINTS` texts, or all in one place.
  """
  import threadpoolctl  # with the next, a second to import
  from sklearn.manifold import TSNE

  sizes = np.bincount(heldout.sentences)
  chosen = np.argsort(-sizes, kind="stable")[:MAP_SENTENCES]
  rows = []
  for sentence in chosen:
    texts = np.flatnonzero(heldout.sentences == sentence)
    rows += texts[np.unique(np.linspace(0, len(texts) - 1, MAP_TEXTS).astype(int))].tolist()
  if len(rows) < FEWEST_POINTS or np.ptp(heldout.vectors[rows], axis=0).max() < 1e-6:
    return None
  near = min(PERPLEXITY, (len(rows) - 1) / 3)
  tsne = TSNE(perplexity=near, init="pca", random_state=0, max_iter=500)
  with threadpoolctl.threadpool_limits(1):  # threads that wait for busy cores cost ten times more
    return Plane(np.array(rows), tsne.fit_transform(heldout.vectors[rows]))
