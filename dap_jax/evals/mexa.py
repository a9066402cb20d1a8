"""MEXA (arXiv 2410.05873): in which layers do translations find each other? numpy in, numpy out.

Protocol: S_ij is the cosine of text i of a language and text j of the pivot, where a text's vector
is the mean of its token states in one layer. Row i is aligned if S_ii > S_ij and S_ii > S_ji for
every other j. The inequality is strict: equal texts are no evidence. The score of a layer is the
share of aligned rows; a language has the mean and the maximum over the layers.
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
    model: the model.
    data, pivot, languages, extension: see `translations.read_translations`.
    most_rows: how many rows of each language count, from the first on.
  """
  if most_rows < 2:
    raise UserError(f"most_rows={most_rows}: MEXA compares rows, it needs at least 2")
  corpus = translations.read_translations(
    data, pivot=pivot, languages=languages, extension=extension
  )
  rows = {code: corpus.rows_of(code)[:most_rows] for code in corpus.languages}
  for code, rows_of_language in rows.items():
    if len(rows_of_language) < 2:
      raise UserError(
        f"{data} has {len(rows_of_language)} texts of {code}, MEXA needs 2: leave it out"
      )
  pivots = encode_rows(model, corpus, corpus.pivot, sorted(set().union(*rows.values())))
  layers = {}
  for code, rows_of_language in rows.items():
    vectors = encode_rows(model, corpus, code, rows_of_language)
    x, y = (np.stack([side[row] for row in rows_of_language]) for side in (vectors, pivots))
    layers[code] = scores_by_layer(x, y, repeated=repeated(corpus, code, rows_of_language))
  scores = {"mean": {code: shares.mean() for code, shares in layers.items()}}
  scores["max"] = {code: shares.max() for code, shares in layers.items()}
  for number in range(len(next(iter(layers.values())))):
    scores[f"layer_{number + 1}"] = {code: shares[number] for code, shares in layers.items()}
  named = with_means(scores)
  columns = {metric.replace("_", " "): by_row(named, metric) for metric in scores}
  order = sorted(layers, key=lambda code: -columns["mean"][code])
  protocol = corpus.protocol() | {
    "rows": max(map(len, rows.values())),
    "pooling": "mean of the token states, of each layer",
    "tie": "not aligned",
  }
  return Result(protocol, named, columns, [MEAN, *order])


def encode_rows(
  model: Model, corpus: translations.Translations, code: str, rows: Sequence[int]
) -> dict[int, np.ndarray]:
  """row -> the vectors [layers, D] of its text in a language, without the embeddings."""
  vectors = model.layer_vectors([corpus.rows[row][code] for row in rows])[:, 1:]
  return dict(zip(rows, vectors, strict=True))


def repeated(corpus: translations.Translations, code: str, rows: Sequence[int]) -> np.ndarray:
  """bool [N], whether the text of a row, or its pivot's text, occurs in another row too."""
  sides = [[corpus.rows[row][side] for row in rows] for side in (code, corpus.pivot)]
  counts = [Counter(side) for side in sides]
  return np.array(
    [any(c[t] > 1 for c, t in zip(counts, pair, strict=True)) for pair in zip(*sides, strict=True)]
  )


def scores_by_layer(x: np.ndarray, y: np.ndarray, *, repeated: np.ndarray) -> np.ndarray:
  """The share of aligned rows in each layer, [layers].

  Args:
    x, y: vectors [N, layers, D] of a language and of the pivot.
    repeated: bool [N], rows that tie with another: not aligned, whatever rounding makes of them.
  """
  aligned = [mexa(unit(x[:, i]) @ unit(y[:, i]).T) & ~repeated for i in range(x.shape[1])]
  return np.mean(aligned, axis=1)


def mexa(similarity: np.ndarray) -> np.ndarray:
  """S [N, N] -> bool [N], where S_ii > max_{j != i} S_ij and S_ii > max_{j != i} S_ji."""
  diagonal = np.diag(similarity)
  others = np.where(np.eye(len(diagonal), dtype=bool), -np.inf, similarity)
  return (diagonal > others.max(1)) & (diagonal > others.max(0))
