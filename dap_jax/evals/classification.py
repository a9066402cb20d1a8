"""Zero-shot cross-lingual transfer: a classifier trained on one language, tested on all others.

Protocol: the model stays as it is. An L2-regularised multinomial logistic regression (scikit-learn)
learns the classes from the unit vectors of one language's train split; for a pair of texts its
features are [u, v, |u - v|, u * v] (InferSent, arXiv 1705.02364). Its C is the one of `STRENGTHS`
with the best accuracy on that language's dev split, the smallest if several are best; no other
language has an influence. Scores: accuracy and macro F1 on every language's test split, in [0, 1];
their mean is over the OTHER languages. majority: the accuracy of always answering the most frequent
class of the train split.
Files: `data/texts/labelled_texts.py`. Fine-tuning of the whole model: `dap_jax/finetune.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from dap_jax.data.texts import labelled_texts
from dap_jax.data.texts.labelled_texts import LabelledTexts
from dap_jax.evals import Encode, Model, Result, by_row, encode_lists
from dap_jax.utils.errors import UserError

VERSION = 1
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)  # C, the inverse of the penalty
ITERATIONS = 5000  # of L-BFGS at most
MEAN = "zero_shot_mean"


def evaluate(model: Model, data: str, *, train_language: str = "eng_Latn") -> Result:
  """See the module. `train_language`: the language whose file has train and dev splits."""
  examples = labelled_texts.read_labelled_texts(data, train_language=train_language)
  if not examples.dev.labels:
    raise UserError(f"{data}: {train_language} has no dev split, on which C is chosen")
  splits = [examples.train, examples.dev, *examples.test.values()]
  train, dev, *tests = features([split.texts for split in splits], model.encode)
  classifier, accuracy = fit(
    train, examples.numbers(examples.train), dev=dev, dev_labels=examples.numbers(examples.dev)
  )
  predicted = {
    code: classifier.predict(vectors) for code, vectors in zip(examples.test, tests, strict=True)
  }
  scores = {"dev_accuracy": accuracy, **measure(examples, predicted)}
  protocol = {
    **examples.protocol(),
    "dev_examples": len(examples.dev.labels),
    "features": "[u, v, |u - v|, u * v] of unit vectors" if examples.pairs else "unit vectors",
    "classifier": "logistic regression",
    "C": f"{classifier.C:g}, of {', '.join(f'{c:g}' for c in STRENGTHS)} the best on dev",
  }
  return result_of(examples, scores, protocol)


def features(lists: Sequence[Sequence[Any]], encode: Encode) -> list[np.ndarray]:
  """The classifier's input of each list of texts [N, D], or of pairs of texts [N, 4 D].

  `encode` (see `evals.Encode`) is called once, with all texts.
  """
  sides: list[Sequence[str]] = []
  for texts in lists:
    sides += zip(*texts, strict=True) if isinstance(texts[0], tuple) else [texts]
  parts = encode_lists(sides, encode)
  if len(parts) == len(lists):
    return parts
  return [combine(u, v) for u, v in zip(parts[::2], parts[1::2], strict=True)]


def combine(u: np.ndarray, v: np.ndarray) -> np.ndarray:
  """[N, D] twice -> [u, v, |u - v|, u * v], [N, 4 D]."""
  return np.concatenate([u, v, np.abs(u - v), u * v], axis=1)


def fit(
  train: np.ndarray, labels: Sequence[int], *, dev: np.ndarray, dev_labels: Sequence[int]
) -> tuple[LogisticRegression, float]:
  """Fits with each of `STRENGTHS`.

  Args:
    train, dev: features [N, F] and [M, F].
    labels, dev_labels: rows of the classes, N and M of them.

  Returns:
    The classifier with the best accuracy on dev, and that accuracy.
  """
  best, best_accuracy = None, -1.0
  for strength in STRENGTHS:
    classifier = LogisticRegression(C=strength, max_iter=ITERATIONS).fit(train, labels)
    accuracy = float(np.mean(classifier.predict(dev) == np.asarray(dev_labels)))
    if accuracy > best_accuracy:
      best, best_accuracy = classifier, accuracy
  assert best is not None
  return best, best_accuracy


def measure(examples: LabelledTexts, predicted: Mapping[str, np.ndarray]) -> dict[str, float]:
  """The scores of predictions on the test splits.

  Args:
    examples: the test splits and their labels.
    predicted: language -> predicted rows of `examples.classes`, int [N].

  Returns:
    `accuracy/LANGUAGE`, `macro_f1/LANGUAGE` (the mean over the classes that occur or were
    predicted) and `majority/LANGUAGE`; and of each the mean over the other languages, if there are
    any.
  """
  majority = np.bincount(examples.numbers(examples.train)).argmax()
  scores: dict[str, dict[str, float]] = {"accuracy": {}, "macro_f1": {}, "majority": {}}
  for code, split in examples.test.items():
    gold = np.asarray(examples.numbers(split))
    scores["accuracy"][code] = float((predicted[code] == gold).mean())
    scores["macro_f1"][code] = float(
      f1_score(gold, predicted[code], average="macro", zero_division=0)
    )
    scores["majority"][code] = float((gold == majority).mean())
  named = {}
  for metric, values in scores.items():
    others = [value for code, value in values.items() if code != examples.train_language]
    if others:
      named[f"{metric}/{MEAN}"] = float(np.mean(others))
    named |= {f"{metric}/{code}": value for code, value in values.items()}
  return named


def result_of(
  examples: LabelledTexts, scores: Mapping[str, float], protocol: Mapping[str, object]
) -> Result:
  """The result of `measure`'s scores; rows: the mean, the training language, others by score."""
  columns = {metric: by_row(scores, metric) for metric in ("accuracy", "macro_f1", "majority")}
  accuracy = columns["accuracy"]
  first = [row for row in (MEAN, examples.train_language) if row in accuracy]
  rest = sorted(set(accuracy) - set(first), key=lambda row: (-accuracy[row], row))
  return Result(protocol, scores, columns, [*first, *rest])
