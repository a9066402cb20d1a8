"""Which words of two sentences are linked, by the cosines of their pieces. numpy in and out.

Methods, of which each links pieces; two words are linked if any of their pieces are:

- `mutual`: pieces that are each other's nearest (argmax of SimAlign, arXiv 2004.08728);
- `itermax`: after these once more, those that are then each other's nearest: similarities
  (1 + cos) / 2 of a piece that has a link count 0.9, those of two such pieces nothing (SimAlign);
- `optimal_transport`: pieces that are each other's nearest in the plan that moves the one sentence
  to the other at the least cost (arXiv 2106.06381), all pieces alike, with entropy. The entropy's
  weight is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, Unpack

import numpy as np
from scipy.special import logsumexp

from dap_jax.evals import Pieces
from dap_jax.utils.errors import UserError
from dap_jax.utils.unit_vectors import unit

UNITS = ("piece", "word")
LINKED = 0.9  # of the similarity of a piece that has a link, in the second round of itermax
FEWEST_PIECES = 3  # of a sentence that has a second round
ENTROPY = 0.1  # its weight beside the cosines; 0 would move every piece to one other
ROUNDS = 50  # of Sinkhorn's algorithm

Link = tuple[int, int]  # 0-based words of source and target


class Settings(TypedDict):
  """How words are linked.

  method: one of `METHODS`; threshold: the least cosine of two linked pieces; unit_of_alignment:
  what is compared, a piece, or a word, which is the mean of its pieces.
  """

  method: str
  threshold: float
  unit_of_alignment: str


def mutual(cosines: np.ndarray) -> np.ndarray:
  """[N, M] -> bool [N, M]: j is the nearest of i, and i of j; the first of equal ones.

  Examples:
    >>> print(mutual(np.array([[0.9, 0.8], [0.7, 0.1]])).astype(int))
    [[1 0]
     [0 0]]
  """
  linked = np.zeros(cosines.shape, bool)
  linked[np.arange(len(cosines)), cosines.argmax(1)] = True
  back = np.zeros(cosines.shape, bool)
  back[cosines.argmax(0), np.arange(cosines.shape[1])] = True
  return linked & back


def itermax(cosines: np.ndarray) -> np.ndarray:
  """[N, M] -> bool [N, M].

  Examples:
    >>> print(itermax(np.array([[0.9, 0.8, 0.1], [0.7, 0.1, 0.0], [0.0, 0.0, 0.8]])).astype(int))
    [[1 1 0]
     [1 0 0]
     [0 0 1]]
  """
  linked = mutual(cosines)
  rows, columns = linked.any(1, keepdims=True), linked.any(0, keepdims=True)
  if min(cosines.shape) < FEWEST_PIECES or rows.all() or columns.all():
    return linked
  weights = np.where(rows & columns, 0, np.where(rows | columns, LINKED, 1))
  return linked | (mutual((1 + cosines) / 2 * weights) & ~(rows & columns))


def optimal_transport(cosines: np.ndarray) -> np.ndarray:
  """[N, M] -> bool [N, M]."""
  return mutual(transport_plan(cosines))


def transport_plan(cosines: np.ndarray) -> np.ndarray:
  """[N, M] -> float64 [N, M]: how much of each piece goes where; rows have 1 / N, columns 1 / M.

  argmax_P  sum P cos + ENTROPY H(P), by Sinkhorn's algorithm.
  """
  logits = cosines.astype(np.float64) / ENTROPY
  n, m = logits.shape
  of_columns = np.zeros(m)
  for _ in range(ROUNDS):
    of_rows = -np.log(n) - logsumexp(logits + of_columns, axis=1)
    of_columns = -np.log(m) - logsumexp(logits + of_rows[:, None], axis=0)
  return np.exp(logits + of_rows[:, None] + of_columns)


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  "mutual": mutual,
  "itermax": itermax,
  "optimal_transport": optimal_transport,
}


def default_layer(layers: int) -> int:
  """Two thirds up a model of so many layers, the embeddings among them.

  SimAlign takes layer 8 of the 12 of mBERT and XLM-R.

  Examples:
    >>> default_layer(13), default_layer(3)
    (8, 1)
  """
  return round(2 / 3 * (layers - 1))


def check_layer(layer: int, layers: int, *, name: str) -> int:
  """A layer's number from 0. Raises UserError where the model has no such layer.

  Args:
    layer: which; negative ones count from the last.
    layers: how many there are, the embeddings among them.
    name: of the setting.
  """
  if not -layers <= layer < layers:
    raise UserError(f"{name}={layer}: the model has layers 0 (embeddings) to {layers - 1}")
  return layer % layers


def check_settings(method: str, *, unit_of_alignment: str, threshold: float) -> None:
  """Raises UserError for a setting without a meaning."""
  if method not in METHODS or unit_of_alignment not in UNITS or not -1 <= threshold <= 1:
    raise UserError(
      f"method={method}, unit_of_alignment={unit_of_alignment}, threshold={threshold}: expected one"
      f" of {', '.join(METHODS)}, one of {', '.join(UNITS)}, and a cosine"
    )


def align(x: Pieces, y: Pieces, **how: Unpack[Settings]) -> dict[Link, float]:
  """The links between the words of source and target, by the states [P, D] of one layer.

  Args:
    x, y: the pieces of the two sentences.
    **how: see `Settings`.

  Returns:
    Link -> the largest cosine of two linked pieces of the words, in the order of the words.
  """
  if how["unit_of_alignment"] == "word":
    x, y = words_of(x), words_of(y)
  if not len(x.words) or not len(y.words):
    return {}
  cosines = unit(x.states) @ unit(y.states).T
  chosen = METHODS[how["method"]](cosines) & (cosines >= how["threshold"])
  links: dict[Link, float] = {}
  for i, j in np.argwhere(chosen):
    link = int(x.words[i]), int(y.words[j])
    links[link] = max(links.get(link, -1.0), float(cosines[i, j]))
  return dict(sorted(links.items()))


def words_of(pieces: Pieces) -> Pieces:
  """Averages the pieces of each word: states [P, D] -> [words, D]."""
  words, of_piece = np.unique(pieces.words, return_inverse=True)
  sums = np.zeros((len(words), pieces.states.shape[-1]), pieces.states.dtype)
  np.add.at(sums, of_piece, pieces.states)
  return Pieces(sums / np.bincount(of_piece, minlength=len(words))[:, None], words)
