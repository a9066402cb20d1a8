"""The benchmarks: one file, one protocol.

To add one, write `evals/NAME.py` with a function

    def evaluate(model: Model, data: str, *, setting=its_default, ...) -> Result

and `VERSION`, which is raised when its figures change their meaning, and put NAME into `SUITES`.
`evaluate --suite=NAME --data=FOLDER --setting=KEY=VALUE` calls it. What it computes lies beside it
as functions of arrays, numpy in and numpy out, which need no model.
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
ON_HELD_OUT = ("retrieval", "xsim", "mexa")  # those that can also run on a workdir's held-out rows

MEAN = "mean"

Encode = Callable[[Sequence[str]], np.ndarray]  # texts -> vectors float32 [N, D], of any length


class Pieces(NamedTuple):
  """The pieces of a sentence that was given as words.

  Attributes:
    states: float32 [layers + 1, P, D], of the P pieces in each layer, the embeddings first; or
      [P, D], of one layer.
    words: int [P], the word that a piece belongs to. Words that were cut off have no piece.
  """

  states: np.ndarray
  words: np.ndarray


class Model(Protocol):
  """What a benchmark may ask of a model; `embedder.Embedder` is one. Layer 0 is the embeddings."""

  def encode(self, texts: Sequence[str]) -> np.ndarray:
    """Sentence vectors, float32 [N, D]."""

  def layer_vectors(self, texts: Sequence[str]) -> np.ndarray:
    """The mean of a text's token states in each layer, float32 [N, layers + 1, D]."""

  def word_states(self, sentences: Sequence[Sequence[str]]) -> list[Pieces]:
    """Sentences as lists of words -> the pieces of each."""


class Result(NamedTuple):
  """What a benchmark found.

  Attributes:
    protocol: what the figures mean, beside the suite's settings and what the model says of itself,
      or in place of them: name -> value.
    scores: `METRIC` or `METRIC/ROW` -> value.
    columns: the table's columns, title -> row -> value.
    rows: the order of its rows.
  """

  protocol: Mapping[str, Any]
  scores: Mapping[str, float]
  columns: Mapping[str, Mapping[str, float]]
  rows: Sequence[str]


def load_suite(suite: str) -> ModuleType:
  """The file of a suite. Raises UserError for a name that is none."""
  if suite not in SUITES:
    raise UserError(f"the suite {suite!r} is unknown: there are {', '.join(SUITES)}")
  return importlib.import_module(f"dap_jax.evals.{suite}")


def run_suite(suite: str, model: Any, data: str, **settings: Any) -> tuple[dict[str, Any], Result]:
  """The whole protocol, and what was found; `given` are settings, `model` an Embedder."""
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
  found = {}
  for metric, own in scores.items():
    if MEAN in own:
      raise UserError(f"one of the rows is called {MEAN!r}, as their mean is: rename its file")
    found[f"{metric}/{MEAN}"] = float(np.mean(list(own.values())))
    found |= {f"{metric}/{row}": float(value) for row, value in own.items()}
  return found


def by_row(scores: Mapping[str, float], metric: str) -> dict[str, float]:
  """`METRIC/ROW` -> value, as ROW -> value."""
  return {
    name.split("/", 1)[1]: value for name, value in scores.items() if name.startswith(f"{metric}/")
  }
