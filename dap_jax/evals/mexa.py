"""MEXA (arXiv 2410.05873): in which layers do translations find each other? numpy in, numpy out.

Protocol: S_ij is the cosine of text i of a language and text j of the pivot, each the mean of its
token states in one layer. A row is aligned if S_ii > S_ij and S_ii > S_ji for every j other than i,
strictly: equal texts are no evidence. A layer's score is the share of aligned rows; a language's is
their mean, and their maximum, over the layers.
"""

from __future__ import annotations

import numpy as np

from dap_jax import translations
from dap_jax.errors import UserError
from dap_jax.evals import Model, Result, by_row
from dap_jax.evals.neighbours import unit

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
    data, pivot, languages, extension: see `translations.read`.
    most_rows: the first rows count, so many of each language.
  """
  found = translations.read(data, pivot=pivot, languages=languages, extension=extension)
  layers: dict[str, np.ndarray] = {}
  for code in found.languages:
    texts, pivots = (side[:most_rows] for side in found.pair(code))
    if len(texts) < 2:
      raise UserError(f"{data} has {len(texts)} texts of {code}, MEXA needs 2: leave it out")
    both = model.layer_vectors([*texts, *pivots])[:, 1:]  # the embeddings are no layer
    layers[code] = scores_by_layer(both[: len(texts)], both[len(texts) :])
  scores = {}
  metrics = {"mean": lambda own: own.mean(), "max": lambda own: own.max()}
  for number in range(len(next(iter(layers.values())))):
    metrics[f"layer_{number + 1}"] = lambda own, number=number: own[number]
  for metric, of in metrics.items():
    own = {code: float(of(layers[code])) for code in layers}
    scores |= {f"{metric}/mean": float(np.mean(list(own.values())))}
    scores |= {f"{metric}/{code}": value for code, value in own.items()}
  columns = {metric.replace("_", " "): by_row(scores, metric) for metric in metrics}
  order = sorted(layers, key=lambda code: -columns["mean"][code])
  protocol = found.protocol() | {"vector": "mean of the token states", "tie": "not aligned"}
  return Result(protocol, scores, columns, ["mean", *order])


def scores_by_layer(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Vectors [N, layers, D] of a language and of the pivot -> the share of aligned rows [layers]."""
  return np.array([mexa(unit(x[:, i]) @ unit(y[:, i]).T) for i in range(x.shape[1])])


def mexa(similarity: np.ndarray) -> float:
  """S [N, N] -> the share of i with S_ii > max_{j != i} S_ij and S_ii > max_{j != i} S_ji."""
  own = np.diag(similarity)
  others = np.where(np.eye(len(own), dtype=bool), -np.inf, similarity)
  return float(((own > others.max(1)) & (own > others.max(0))).mean())
