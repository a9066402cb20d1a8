"""xsim and xsim++: the error rate of the nearest translation by margin. numpy in, numpy out.

Protocol (LASER's): every text proposes, among its k nearest candidates, the one with the best
margin score; an answer whose text equals that of the right one is right. The candidates are the
texts of the same rows in the other language. Scores are error rates in [0, 1], lower is better.
xsim++ (arXiv 2306.12907) adds hard negatives to the candidates, changed copies of the pivot's
sentences, so it only goes towards the pivot. Those of FLORES are in `eng_Latn_augmented.devtest`;
`negatives=rules` makes them of any English sentences, by rules of ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from dap_jax.data.texts import altered_sentences, text_files
from dap_jax.data.texts.dictionaries import base_language
from dap_jax.evals import MEAN, Model, Result, by_row, encode_lists, translations, with_means
from dap_jax.mining import exact_search, pairing
from dap_jax.mining.margins import MARGINS
from dap_jax.utils.errors import UserError

VERSION = 1
RULES = "rules"  # in place of a file of hard negatives
ALTERED = 4  # copies of a sentence that the rules make at most


def evaluate(
  model: Model,
  data: str,
  *,
  margin: str = "ratio",
  neighbours: int = 4,
  negatives: str = "",
  every_pair: bool = False,
  pivot: str = "",
  languages: str = "",
  extension: str = "",
) -> Result:
  """Each language with the pivot, or with every other language.

  Args:
    model: the model.
    data, pivot, languages, extension: see `translations.read_translations`.
    margin, neighbours: see `mining.margins`.
    negatives: hard negatives of the pivot, for xsim++: a file, one a line; or `rules`, which change
      numbers, names, negation and opposites of English sentences (`data.texts.altered_sentences`).
    every_pair: evaluates all pairs of languages, not only those with the pivot.
  """
  if margin not in MARGINS or neighbours < 1:
    raise UserError(
      f"margin={margin}, neighbours={neighbours}: expected one of {', '.join(MARGINS)}, and 1 or"
      " more"
    )
  if negatives and every_pair:
    raise UserError("negatives and every_pair exclude each other: xsim++ goes towards the pivot")
  corpus = translations.read_translations(
    data, pivot=pivot, languages=languages, extension=extension
  )
  hard = hard_negatives(negatives, corpus)
  encoded = encode_languages(corpus, model)
  if every_pair:
    scores = of_every_pair(encoded, margin=margin, neighbours=neighbours)
  else:
    more = Side(hard, encode_lists([hard], model.encode)[0]) if hard else None
    scores = of_the_pivot(encoded, corpus.pivot, more, margin=margin, neighbours=neighbours)
  named = with_means(scores)
  first = next(iter(scores.values()))
  columns = {metric.replace("_", " "): by_row(named, metric) for metric in scores}
  protocol = corpus.protocol() | {"hard_negatives": len(hard), "right": "the same text"}
  return Result(protocol, named, columns, [MEAN, *sorted(first, key=first.__getitem__)])


def hard_negatives(negatives: str, corpus: translations.Translations) -> list[str]:
  """Those of the setting: of a file, or made by rules; none for ""."""
  if negatives != RULES:
    return read_negatives(negatives) if negatives else []
  if base_language(corpus.pivot) != "en":
    raise UserError(f"negatives=rules: the rules are for English, the pivot is {corpus.pivot}")
  sentences = list(dict.fromkeys(row[corpus.pivot] for row in corpus.rows))
  names = altered_sentences.names_of(sentences)
  changed = (altered_sentences.alter(text, names, most=ALTERED) for text in sentences)
  texts = [altered.text for of_sentence in changed for altered in of_sentence]
  if not texts:
    raise UserError(f"negatives=rules: no rule applies to any of {len(sentences)} sentences")
  return texts


def read_negatives(path: str) -> list[str]:
  """The lines of a file, without blank ones. Raises UserError where there are none."""
  lines = [text for text in text_files.lines(epath.Path(path)) if text.strip()]
  if not lines:
    raise UserError(f"negatives={path}: the file holds no text")
  return lines


def of_every_pair(
  encoded: dict[str, Encoded], *, margin: str, neighbours: int
) -> dict[str, dict[str, float]]:
  """`xsim` -> `SOURCE-TARGET` -> error rate, of all ordered pairs of languages."""
  scores: dict[str, float] = {}
  for a, b in itertools.combinations(encoded, 2):
    x, y = common(encoded[a], encoded[b], f"{a} and {b}")
    there, back = errors(x, y, margin=margin, neighbours=neighbours)
    scores |= {f"{a}-{b}": there, f"{b}-{a}": back}
  return {"xsim": scores}


def of_the_pivot(
  encoded: dict[str, Encoded], pivot: str, hard: Side | None, *, margin: str, neighbours: int
) -> dict[str, dict[str, float]]:
  """metric -> language -> error rate, to the pivot and from it; xsim++ with hard negatives."""
  metrics = ["to_pivot_xsim", "from_pivot_xsim", *(["to_pivot_xsim++"] if hard else [])]
  scores: dict[str, dict[str, float]] = {metric: {} for metric in metrics}
  for code in encoded:
    if code == pivot:
      continue
    x, y = common(encoded[code], encoded[pivot], f"{code} and {pivot}")
    rates = [*errors(x, y, margin=margin, neighbours=neighbours)]
    if hard:
      more = Side([*y.texts, *hard.texts], np.concatenate([y.vectors, hard.vectors]))
      rates.append(errors(x, more, margin=margin, neighbours=neighbours)[0])
    for metric, rate in zip(metrics, rates, strict=True):
      scores[metric][code] = rate
  return scores


class Encoded(NamedTuple):
  """A language: the rows with a text, int [N], rising; the texts; their unit vectors [N, D]."""

  rows: np.ndarray
  texts: list[str]
  vectors: np.ndarray


class Side(NamedTuple):
  """N texts and their unit vectors [N, D]."""

  texts: list[str]
  vectors: np.ndarray


def encode_languages(corpus: translations.Translations, model: Model) -> dict[str, Encoded]:
  """Encodes every language, the pivot first."""
  codes = [corpus.pivot, *corpus.languages]
  rows = [corpus.rows_of(code) for code in codes]
  texts = [[row[code] for row in corpus.rows if code in row] for code in codes]
  vectors = encode_lists(texts, model.encode)
  parts = zip(map(np.array, rows), texts, vectors, strict=True)
  return {code: Encoded(*part) for code, part in zip(codes, parts, strict=True)}


def common(a: Encoded, b: Encoded, names: str) -> tuple[Side, Side]:
  """The texts of both languages in the rows that have both, in the same order."""
  _, of_a, of_b = np.intersect1d(a.rows, b.rows, assume_unique=True, return_indices=True)
  if not len(of_a):
    raise UserError(f"no row has both {names}: say which languages to take with languages=")
  return (
    Side([a.texts[i] for i in of_a], a.vectors[of_a]),
    Side([b.texts[i] for i in of_b], b.vectors[of_b]),
  )


def errors(x: Side, y: Side, *, margin: str, neighbours: int) -> tuple[float, float]:
  """Error rates from x to y and from y to x, where row i of y translates row i of x.

  y may have more rows, which are candidates only.
  """
  forward, backward = propose(x.vectors, y.vectors, margin=margin, neighbours=neighbours)
  return wrong(forward, y.texts), wrong(backward[: len(x.texts)], x.texts)


def wrong(proposed: np.ndarray, texts: Sequence[str]) -> float:
  """The share of wrong answers; proposed: int [N], the row of `texts` that each row i proposes."""
  return float(np.mean([texts[j] != texts[i] for i, j in enumerate(proposed)]))


def propose(
  x: np.ndarray, y: np.ndarray, *, margin: str, neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
  """Vectors [N, D], [M, D] -> int [N], the row of y that each x proposes, and int [M], of x."""
  sides = exact_search.Side.whole(x), exact_search.Side.whole(y)
  nearest = exact_search.nearest(*sides, neighbours=neighbours)
  forward, backward = pairing.propose(*nearest, margin=margin)
  return forward.partners, backward.partners
