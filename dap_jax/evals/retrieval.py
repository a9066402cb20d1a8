"""Retrieval of translations: N texts find each other by cosine. numpy in, numpy out.

Protocol, the same for every model: 1-nearest neighbour by cosine.
`to_pivot`: each translation, of whatever language, against the pivot's text of every row.
`from_pivot`: each of the pivot's texts against all translations in one language.
The overall figures count every translation once, so large languages weigh more. Between equal
candidates rounding decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dap_jax.evals import Encode, Model, Result, by_row, encode_lists, translations

VERSION = 1


def evaluate(
  model: Model, data: str, *, pivot: str = "", languages: str = "", extension: str = ""
) -> Result:
  """The settings are those of `translations.read_translations`."""
  found = translations.read_translations(
    data, pivot=pivot, languages=languages, extension=extension
  )
  scores = retrieval(found.rows, model.encode, pivot=found.pivot)
  columns = {}
  for title, metric in ((f"to {found.pivot}", "to_pivot"), (f"from {found.pivot}", "from_pivot")):
    columns[title] = {
      "all": scores[f"{metric}_accuracy"],
      "random": scores[f"{metric}_accuracy_random"],
      **by_row(scores, f"{metric}_accuracy"),
    }
  accuracy = by_row(scores, "to_pivot_accuracy")
  order = ["all", "random", *sorted(accuracy, key=lambda code: -accuracy[code])]
  protocol = found.protocol() | {"queries": int(scores["queries"]), "neighbour": "largest cosine"}
  return Result(protocol, scores, columns, order)


BLOCK = 4096  # queries whose cosines are held at once


def hits(queries: np.ndarray, candidates: np.ndarray, gold: np.ndarray) -> np.ndarray:
  """Whether each query's nearest candidate is its own: [N, D], [M, D], int [N] -> bool [N]."""
  blocks = (queries[start : start + BLOCK] for start in range(0, len(queries), BLOCK))
  return np.concatenate([(block @ candidates.T).argmax(1) for block in blocks]) == gold


def retrieval(
  rows: Sequence[Mapping[str, str]],
  encode: Encode,
  *,
  pivot: str,
) -> dict[str, float]:
  """Both directions, overall and per language.

  Args:
    rows: language -> text, each with the pivot.
    encode: see `evals.Encode`.
    pivot: the pivot's language code.

  Returns:
    `to_pivot_accuracy`, `from_pivot_accuracy`, the same with `/LANGUAGE`, the accuracy of a random
    ranking under either protocol (`..._random`), and `queries`, the number of translations.
  """
  gold, texts, languages = [], [], []
  for number, row in enumerate(rows):
    for language, text in sorted(row.items()):
      if language != pivot:
        gold.append(number)
        texts.append(text)
        languages.append(language)
  english, others = encode_lists([[row[pivot] for row in rows], texts], encode)
  gold, languages = np.asarray(gold), np.asarray(languages)
  to_pivot = hits(others, english, gold)
  from_pivot = np.zeros(len(texts), bool)
  chance = np.zeros(len(texts))
  for language in np.unique(languages):
    mine = languages == language
    from_pivot[mine] = hits(english[gold[mine]], others[mine], np.arange(mine.sum()))
    chance[mine] = 1 / mine.sum()
  scores = {
    "to_pivot_accuracy": to_pivot.mean(),
    "from_pivot_accuracy": from_pivot.mean(),
    "to_pivot_accuracy_random": 1 / len(rows),
    "from_pivot_accuracy_random": chance.mean(),
    "queries": len(texts),
  }
  for language in np.unique(languages):
    mine = languages == language
    scores[f"to_pivot_accuracy/{language}"] = to_pivot[mine].mean()
    scores[f"from_pivot_accuracy/{language}"] = from_pivot[mine].mean()
  return {name: float(score) for name, score in scores.items()}
