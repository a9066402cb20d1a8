"""MEXA (arXiv 2410.05873): in which layers do translations find each other? numpy in, numpy out.

Protocol: S_ij is the cosine of text i of a language and text j of the pivot, each the mean of its
token states in one layer. A row is aligned if S_ii > S_ij and S_ii > S_ji for every j other than i,
strictly: equal texts are no evidence. A layer's score is the share of aligned rows; a language's is
their mean, and their maximum, over the layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from dap_jax.evals import MEAN, Model, Result, by_row, translations, with_means
from dap_jax.utils.errors import UserError
from dap_jax.utils.unit_vectors import unit

VERSION = 1


def evaluate(
  model: Model,
  data: str,
  *,
  most_rows: int = 1000,
  pivot: str = "",
  languages: str = "",
  extension: str = "",
) -> Result:
  """Every language and layer.

  Args:
    model: gives the layers.
    data, pivot, languages, extension: see `translations.read_translations`.
    most_rows: the first rows count, so many of each language.
  """
  if most_rows < 2:
    raise UserError(f"most_rows={most_rows}: MEXA compares rows, it needs 2 at least")
  found = translations.read_translations(
    data, pivot=pivot, languages=languages, extension=extension
  )
  rows = {code: found.rows_of(code)[:most_rows] for code in found.languages}
  for code, own in rows.items():
    if len(own) < 2:
      raise UserError(f"{data} has {len(own)} texts of {code}, MEXA needs 2: leave it out")
  pivots = encode_rows(model, found, found.pivot, sorted(set().union(*rows.values())))
  layers = {}
  for code, own in rows.items():
    vectors = encode_rows(model, found, code, own)
    x, y = (np.stack([side[row] for row in own]) for side in (vectors, pivots))
    layers[code] = scores_by_layer(x, y, repeated=repeated(found, code, own))
  scores = {"mean": {code: own.mean() for code, own in layers.items()}}
  scores["max"] = {code: own.max() for code, own in layers.items()}
  for number in range(len(next(iter(layers.values())))):
    scores[f"layer_{number + 1}"] = {code: own[number] for code, own in layers.items()}
  named = with_means(scores)
  columns = {metric.replace("_", " "): by_row(named, metric) for metric in scores}
  order = sorted(layers, key=lambda code: -columns["mean"][code])
  protocol = found.protocol() | {
    "rows": max(map(len, rows.values())),
    "pooling": "mean of the token states, of each layer",
    "tie": "not aligned",
  }
  return Result(protocol, named, columns, [MEAN, *order])


def encode_rows(
  model: Model, found: translations.Translations, code: str, rows: Sequence[int]
) -> dict[int, np.ndarray]:
  """row -> the vectors [layers, D] of its text in a language; the embeddings are no layer."""
  vectors = model.layer_vectors([found.rows[row][code] for row in rows])[:, 1:]
  return dict(zip(rows, vectors, strict=True))


def repeated(found: translations.Translations, code: str, rows: Sequence[int]) -> np.ndarray:
  """bool [N], rows whose text, or whose pivot's, stands in another row too."""
  sides = [[found.rows[row][side] for row in rows] for side in (code, found.pivot)]
  counts = [Counter(side) for side in sides]
  return np.array(
    [any(c[t] > 1 for c, t in zip(counts, pair, strict=True)) for pair in zip(*sides, strict=True)]
  )


def scores_by_layer(x: np.ndarray, y: np.ndarray, *, repeated: np.ndarray) -> np.ndarray:
  """Vectors [N, layers, D] of a language and of the pivot -> the share of aligned rows [layers].

  `repeated`: bool [N], rows that tie with another; rounding must not decide them.
  """
  aligned = [mexa(unit(x[:, i]) @ unit(y[:, i]).T) & ~repeated for i in range(x.shape[1])]
  return np.mean(aligned, axis=1)


def mexa(similarity: np.ndarray) -> np.ndarray:
  """S [N, N] -> bool [N], where S_ii > max_{j != i} S_ij and S_ii > max_{j != i} S_ji."""
  own = np.diag(similarity)
  others = np.where(np.eye(len(own), dtype=bool), -np.inf, similarity)
  return (own > others.max(1)) & (own > others.max(0))
