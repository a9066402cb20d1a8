"""The benchmarks: one file, one protocol. `evaluate --suite=NAME` runs them.

May import `mining`, `data`, `workdir`. Start with `retrieval.py`, the simplest; `Model`, below, is
what a benchmark may ask of a model.

To add one, write `evals/NAME.py` with a function

    def evaluate(model: Model, data: str, *, setting=its_default, ...) -> Result

and a number `VERSION`, which rises when the meaning of its scores changes, and add NAME to
`SUITES`. `evaluate --suite=NAME --data=FOLDER --setting=KEY=VALUE` calls the function. What it
computes stands beside it as functions of numpy arrays, which need no model.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np

from dap_jax.utils.errors import UserError
from dap_jax.utils.unit_vectors import unit

SUITES = ("retrieval", "xsim", "tatoeba", "bucc", "sts", "word_alignment", "mexa", "classification")
ON_HELD_OUT = ("retrieval", "xsim", "mexa")  # these can also use the held-out rows of a workdir

MEAN = "mean"

Encode = Callable[[Sequence[str]], np.ndarray]  # N texts -> vectors float32 [N, D], of any length


class Pieces(NamedTuple):
  """The subword pieces of one sentence that was given as a list of words.

  Attributes:
    states: float32 [layers + 1, P, D], the states of the P pieces in each layer, the embeddings
      first; or [P, D], those of one layer.
    words: int [P], the word that each piece belongs to. Words beyond the model's limit, and words
      that the tokenizer drops, have no piece.
  """

  states: np.ndarray
  words: np.ndarray


class Model(Protocol):
  """What a benchmark may ask of a model; `inference.embedder.Embedder` is one.

  Of the layers + 1 layers number 0 is the embeddings.
  """

  def encode(self, texts: Sequence[str]) -> np.ndarray:
    """Sentence vectors, float32 [N, D]."""

  def layer_vectors(self, texts: Sequence[str]) -> np.ndarray:
    """The mean of each text's token states in each layer, float32 [N, layers + 1, D]."""

  def word_states(self, sentences: Sequence[Sequence[str]]) -> list[Pieces]:
    """The pieces of each sentence, which is a list of words."""


class DescribedModel(Model, Protocol):
  """A model that can say how it encodes, for the protocol of a result."""

  def describe(self) -> dict[str, Any]:
    """Everything its vectors depend on beside its name and the texts: name -> value."""


class Result(NamedTuple):
  """The scores of a benchmark.

  Attributes:
    protocol: what the scores mean, name -> value. It extends the suite's settings and the model's
      description, and replaces those of the same name.
    scores: `METRIC` or `METRIC/ROW` -> value.
    columns: the columns of the table: title -> row -> value.
    rows: the rows of the table, in order.
  """

  protocol: Mapping[str, Any]
  scores: Mapping[str, float]
  columns: Mapping[str, Mapping[str, float]]
  rows: Sequence[str]


def load_suite(suite: str) -> ModuleType:
  """The module of a suite. Raises UserError for an unknown name."""
  if suite not in SUITES:
    raise UserError(f"the suite {suite!r} is unknown: there are {', '.join(SUITES)}")
  return importlib.import_module(f"dap_jax.evals.{suite}")


def run_suite(
  suite: str, model: DescribedModel, data: str, **settings: Any
) -> tuple[dict[str, Any], Result]:
  """Runs a benchmark.

  Args:
    suite: one of `SUITES`.
    model: the model.
    data: the folder of the suite's data, or a workdir for those in `ON_HELD_OUT`.
    **settings: in place of the suite's defaults.

  Returns:
    The whole protocol, name -> value, and the result.
  """
  module = load_suite(suite)
  protocol = {"suite": suite, "version": module.VERSION, "data": data}
  protocol |= {**settings_of(suite), **settings, **model.describe()}
  result = module.evaluate(model, data, **settings)
  return protocol | dict(result.protocol), result


def settings_of(suite: str) -> dict[str, Any]:
  """The settings of a suite and their defaults."""
  return {
    name: parameter.default
    for name, parameter in inspect.signature(load_suite(suite).evaluate).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
  }


def encode_lists(lists: Sequence[Sequence[str]], encode: Encode) -> list[np.ndarray]:
  """Unit vectors [N, D] of each list, by one call of `encode`, which sorts texts by length."""
  vectors = unit(encode([text for texts in lists for text in texts]))
  return np.split(vectors, np.cumsum([len(texts) for texts in lists])[:-1])


def with_means(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
  """metric -> row -> value, as `METRIC/ROW` -> value, and `METRIC/mean` over the rows."""
  named = {}
  for metric, values in scores.items():
    if MEAN in values:
      raise UserError(f"one of the rows is called {MEAN!r}, as their mean is: rename its file")
    named[f"{metric}/{MEAN}"] = float(np.mean(list(values.values())))
    named |= {f"{metric}/{row}": float(value) for row, value in values.items()}
  return named


def by_row(scores: Mapping[str, float], metric: str) -> dict[str, float]:
  """The scores of one metric: `METRIC/ROW` -> value, as ROW -> value."""
  return {
    name.split("/", 1)[1]: value for name, value in scores.items() if name.startswith(f"{metric}/")
  }
