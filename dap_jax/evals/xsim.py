"""xsim and xsim++: the error rate of the nearest translation by margin. numpy in, numpy out.

Protocol (LASER's): every text proposes, among its k nearest candidates, the one of the best margin
score; an answer that reads like the right one is right. Candidates are the other language's texts
of the same rows. Scores are error rates in [0, 1], lower is better.
xsim++ (arXiv 2306.12907) adds hard negatives, changed copies of the pivot's sentences, to the
candidates; it only goes towards the pivot. FLORES' own stand in `eng_Latn_augmented.devtest`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from dap_jax.data.readers import text_files
from dap_jax.evals import MEAN, Model, Result, by_row, encode_lists, translations, with_means
from dap_jax.mining import exact_search, pairing
from dap_jax.mining.margins import MARGINS
from dap_jax.utils.errors import UserError

VERSION = 1


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
  """Each language with the pivot; `every_pair`: each with each.

  Args:
    model: encodes.
    data, pivot, languages, extension: see `translations.read_translations`.
    margin, neighbours: see `mining.margins`.
    negatives: a file of hard negatives of the pivot, a line each, for xsim++.
    every_pair: all pairs of languages in place of those with the pivot.
  """
  if margin not in MARGINS or neighbours < 1:
    raise UserError(
      f"margin={margin}, neighbours={neighbours}: expected one of {', '.join(MARGINS)}, and 1 or"
      " more"
    )
  if negatives and every_pair:
    raise UserError("negatives and every_pair exclude each other: xsim++ goes towards the pivot")
  found = translations.read_translations(
    data, pivot=pivot, languages=languages, extension=extension
  )
  hard = read_negatives(negatives) if negatives else []
  encoded = encode_languages(found, model)
  settings = {"margin": margin, "neighbours": neighbours}
  if every_pair:
    scores = of_every_pair(encoded, **settings)
  else:
    vectors = encode_lists([hard], model.encode)[0] if hard else None
    scores = of_the_pivot(encoded, found.pivot, Side(hard, vectors), **settings)
  named = with_means(scores)
  first = next(iter(scores.values()))
  columns = {metric.replace("_", " "): by_row(named, metric) for metric in scores}
  protocol = found.protocol() | {"hard_negatives": len(hard), "right": "the same text"}
  return Result(protocol, named, columns, [MEAN, *sorted(first, key=first.get)])


def read_negatives(path: str) -> list[str]:
  """The lines of a file that are not blank. Raises UserError where there are none."""
  lines = [text for text in text_files.lines(epath.Path(path)) if text.strip()]
  if not lines:
    raise UserError(f"negatives={path}: the file holds no text")
  return lines


def of_every_pair(encoded: dict[str, Encoded], **settings) -> dict[str, dict[str, float]]:
  """`xsim` -> `SOURCE-TARGET` -> error rate, of all ordered pairs."""
  scores = {}
  for a, b in itertools.combinations(encoded, 2):
    there, back = errors(*common(encoded[a], encoded[b], f"{a} and {b}"), **settings)
    scores |= {f"{a}-{b}": there, f"{b}-{a}": back}
  return {"xsim": scores}


def of_the_pivot(
  encoded: dict[str, Encoded], pivot: str, hard: Side, **settings
) -> dict[str, dict[str, float]]:
  """Metric -> language -> error rate, to the pivot and from it; with hard negatives, xsim++."""
  metrics = ["to_pivot_xsim", "from_pivot_xsim", *(["to_pivot_xsim++"] if hard.texts else [])]
  scores: dict[str, dict[str, float]] = {metric: {} for metric in metrics}
  for code in encoded:
    if code == pivot:
      continue
    x, y = common(encoded[code], encoded[pivot], f"{code} and {pivot}")
    found = errors(x, y, **settings)
    if hard.texts:
      more = Side([*y.texts, *hard.texts], np.concatenate([y.vectors, hard.vectors]))
      found += (errors(x, more, **settings)[0],)
    for metric, value in zip(metrics, found, strict=True):
      scores[metric][code] = value
  return scores


class Encoded(NamedTuple):
  """A language: the rows that have it, int [N], rising; their texts; unit vectors [N, D]."""

  rows: np.ndarray
  texts: list[str]
  vectors: np.ndarray


class Side(NamedTuple):
  """N texts and their unit vectors [N, D]; None where there are no texts."""

  texts: list[str]
  vectors: np.ndarray | None


def encode_languages(found: translations.Translations, model: Model) -> dict[str, Encoded]:
  """Every language, the pivot first."""
  codes = [found.pivot, *found.languages]
  rows = [[n for n, row in enumerate(found.rows) if code in row] for code in codes]
  texts = [[found.rows[n][code] for n in own] for code, own in zip(codes, rows, strict=True)]
  vectors = encode_lists(texts, model.encode)
  parts = zip(codes, map(np.array, rows), texts, vectors, strict=True)
  return {code: Encoded(*part) for code, *part in parts}


def common(a: Encoded, b: Encoded, names: str) -> tuple[Side, Side]:
  """Both languages' texts of the rows that have both, in one order."""
  _, of_a, of_b = np.intersect1d(a.rows, b.rows, assume_unique=True, return_indices=True)
  if not len(of_a):
    raise UserError(f"no row has both {names}: say which languages to take with languages=")
  return (
    Side([a.texts[i] for i in of_a], a.vectors[of_a]),
    Side([b.texts[i] for i in of_b], b.vectors[of_b]),
  )


def errors(x: Side, y: Side, *, margin: str, neighbours: int) -> tuple[float, float]:
  """From x to y and back, where row i of y is right for row i of x.

  y may hold candidates beyond x's rows; they have no way back.
  """
  forward, backward = propose(x.vectors, y.vectors, margin=margin, neighbours=neighbours)
  return wrong(forward, y.texts), wrong(backward[: len(x.texts)], x.texts)


def wrong(proposed: np.ndarray, texts: Sequence[str]) -> float:
  """int [N], proposed places in `texts`: the share whose text is not that of place i."""
  return float(np.mean([texts[j] != texts[i] for i, j in enumerate(proposed)]))


def propose(
  x: np.ndarray, y: np.ndarray, *, margin: str, neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
  """Vectors [N, D], [M, D] -> int [N], the row of y that each x proposes, and int [M], of x."""
  sides = exact_search.Side.whole(x), exact_search.Side.whole(y)
  nearest = exact_search.nearest(*sides, neighbours=neighbours)
  forward, backward = pairing.propose(*nearest, margin=margin)
  return forward.partners, backward.partners
