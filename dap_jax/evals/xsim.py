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

from dap_jax import search, text_files, translations
from dap_jax.errors import UserError
from dap_jax.evals import Model, Result, by_row, mining
from dap_jax.evals.neighbours import MARGINS, encode_lists

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
    data, pivot, languages, extension: see `translations.read`.
    margin, neighbours: see `evals.neighbours`.
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
  found = translations.read(data, pivot=pivot, languages=languages, extension=extension)
  hard = (
    [text for text in text_files.lines(epath.Path(negatives)) if text.strip()] if negatives else []
  )
  encoded = encode_languages(found, model)
  settings = {"margin": margin, "neighbours": neighbours}
  scores: dict[str, dict[str, float]] = {}
  if every_pair:
    for a, b in itertools.combinations(encoded, 2):
      there, back = errors(*common(encoded[a], encoded[b], f"{a} and {b}"), **settings)
      scores.setdefault("xsim", {}).update({f"{a}-{b}": there, f"{b}-{a}": back})
  else:
    hard_vectors = encode_lists([hard], model.encode)[0] if hard else None
    for code in found.languages:
      both = common(encoded[code], encoded[found.pivot], f"{code} and {found.pivot}")
      there, back = errors(*both, **settings)
      scores.setdefault("to_pivot_xsim", {})[code] = there
      scores.setdefault("from_pivot_xsim", {})[code] = back
      if hard:
        x, y = both
        y = Side([*y.texts, *hard], np.concatenate([y.vectors, hard_vectors]))
        scores.setdefault("to_pivot_xsim++", {})[code] = errors(x, y, **settings)[0]
  named = {}
  for metric, own in scores.items():
    named[f"{metric}/mean"] = float(np.mean(list(own.values())))
    named |= {f"{metric}/{row}": value for row, value in own.items()}
  first = next(iter(scores.values()))
  columns = {metric.replace("_", " "): by_row(named, metric) for metric in scores}
  protocol = found.protocol() | {"hard_negatives": len(hard), "right": "the same text"}
  return Result(protocol, named, columns, ["mean", *sorted(first, key=first.get)])


class Encoded(NamedTuple):
  """A language: the rows that have it, int [N], rising; their texts; unit vectors [N, D]."""

  rows: np.ndarray
  texts: list[str]
  vectors: np.ndarray


class Side(NamedTuple):
  """N texts and their unit vectors [N, D]."""

  texts: list[str]
  vectors: np.ndarray


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
  sides = search.Side.whole(x), search.Side.whole(y)
  nearest = search.nearest(*sides, neighbours=neighbours)
  forward, backward = mining.propose(*nearest, margin=margin)
  return forward.partners, backward.partners
