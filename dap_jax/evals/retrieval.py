"""Retrieval of held-out translations: N texts find each other by cosine. numpy in, numpy out.

Protocol, the same for every model: 1-nearest neighbour by cosine.
`to_pivot`: each translation, of whatever language, against all held-out English sentences.
`from_pivot`: each English sentence against all held-out translations in one language.
The overall figures count every translation once, so large languages weigh more; a tie between
candidates goes to the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dap_jax.evals.neighbours import encode_lists


def hits(queries: np.ndarray, candidates: np.ndarray, gold: np.ndarray) -> np.ndarray:
  """Whether each query's nearest candidate is its own: [N, D], [M, D], int [N] -> bool [N]."""
  return (queries @ candidates.T).argmax(1) == gold


def retrieval(
  rows: Sequence[Mapping[str, str]],
  encode: Callable[[Sequence[str]], np.ndarray],
  *,
  pivot: str,
) -> dict[str, float]:
  """Both directions, overall and per language.

  Args:
    rows: held-out sentences, language -> text, each with the pivot.
    encode: texts -> vectors float32 [N, D], of any length.
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
