"""Retrieval of translations by cosine, to a pivot language and from it. numpy in, numpy out.

Protocol, the same for every model: the answer is the nearest neighbour by cosine.
`to_pivot`: each translation, in any language, among the pivot's texts of all rows.
`from_pivot`: each text of the pivot among all translations in one language.
The overall scores count every translation once, so languages with more texts weigh more. Between
equal candidates rounding decides. Only the row itself is right: the same text in another row counts
as wrong, so repeated texts lower the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dap_jax.evals import Encode, Model, Result, by_row, encode_lists, translations

VERSION = 1
BLOCK_ROWS = 4096  # queries whose cosines are in memory at a time


def evaluate(
  model: Model, data: str, *, pivot: str = "", languages: str = "", extension: str = ""
) -> Result:
  """The settings are those of `translations.read_translations`."""
  corpus = translations.read_translations(
    data, pivot=pivot, languages=languages, extension=extension
  )
  scores = retrieval(corpus.rows, model.encode, pivot=corpus.pivot)
  columns = {}
  for title, metric in ((f"to {corpus.pivot}", "to_pivot"), (f"from {corpus.pivot}", "from_pivot")):
    columns[title] = {
      "all": scores[f"{metric}_accuracy"],
      "random": scores[f"{metric}_accuracy_random"],
      **by_row(scores, f"{metric}_accuracy"),
    }
  accuracy = by_row(scores, "to_pivot_accuracy")
  order = ["all", "random", *sorted(accuracy, key=lambda code: -accuracy[code])]
  protocol = corpus.protocol() | {"queries": int(scores["queries"]), "neighbour": "largest cosine"}
  return Result(protocol, scores, columns, order)


def hits(queries: np.ndarray, candidates: np.ndarray, gold: np.ndarray) -> np.ndarray:
  """Whether the nearest candidate is the right one: [N, D], [M, D], int [N] -> bool [N]."""
  starts = range(0, len(queries), BLOCK_ROWS)
  blocks = (queries[start : start + BLOCK_ROWS] for start in starts)
  return np.concatenate([(block @ candidates.T).argmax(1) for block in blocks]) == gold


def retrieval(
  rows: Sequence[Mapping[str, str]],
  encode: Encode,
  *,
  pivot: str,
) -> dict[str, float]:
  """Both directions, overall and per language.

  Args:
    rows: language -> text, the pivot in every row.
    encode: see `evals.Encode`.
    pivot: the pivot's language code.

  Returns:
    `to_pivot_accuracy` and `from_pivot_accuracy`, both also with `/LANGUAGE`; the accuracy of a
    random ranking, `..._random`, for either; and `queries`, the number of translations.
  """
  queries = [
    (number, language, text)
    for number, row in enumerate(rows)
    for language, text in sorted(row.items())
    if language != pivot
  ]
  texts = [text for _, _, text in queries]
  gold = np.asarray([number for number, _, _ in queries])
  languages = np.asarray([language for _, language, _ in queries])
  pivots, others = encode_lists([[row[pivot] for row in rows], texts], encode)
  to_pivot = hits(others, pivots, gold)
  from_pivot = np.zeros(len(texts), bool)
  chance = np.zeros(len(texts))
  for language in np.unique(languages):
    chosen = languages == language
    from_pivot[chosen] = hits(pivots[gold[chosen]], others[chosen], np.arange(chosen.sum()))
    chance[chosen] = 1 / chosen.sum()
  scores = {
    "to_pivot_accuracy": to_pivot.mean(),
    "from_pivot_accuracy": from_pivot.mean(),
    "to_pivot_accuracy_random": 1 / len(rows),
    "from_pivot_accuracy_random": chance.mean(),
    "queries": len(texts),
  }
  for language in np.unique(languages):
    chosen = languages == language
    scores[f"to_pivot_accuracy/{language}"] = to_pivot[chosen].mean()
    scores[f"from_pivot_accuracy/{language}"] = from_pivot[chosen].mean()
  return {name: float(score) for name, score in scores.items()}
