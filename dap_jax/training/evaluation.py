"""What a run evaluates as it trains: held-out retrieval, and the benchmarks of `eval_suites`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from dap_jax import evals
from dap_jax.core.train_step import TrainState
from dap_jax.evals.retrieval import retrieval
from dap_jax.inference.embedder import Embedder
from dap_jax.training.build import TrainProgram
from dap_jax.training.metric_writer import MetricWriter
from dap_jax.training.run_data import RunData
from dap_jax.utils.prompts import Prompts, Sides, of_section


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluator:
  """(state, step) -> scores; `loop.train_loop` calls it.

  Attributes:
    train_program: of the run.
    data: its held-out sentences and its tokenizer.
    model: the config's `model` section.
    prompts: the config's section of that name.
    pivot: the pivot's language code.
    suites: benchmarks beside held-out retrieval, name -> folder.
    best_metric: the score that chooses the best checkpoint; "" where none is kept.
    writer: takes the scores.
  """

  train_program: TrainProgram
  data: RunData
  model: Mapping[str, Any]
  prompts: Mapping[str, Any]
  pivot: str
  suites: Mapping[str, str]
  best_metric: str
  writer: MetricWriter

  def __call__(self, state: TrainState, step: int) -> dict[str, float]:
    """Evaluates and writes `eval/SUITE/METRIC` -> score.

    Raises:
      NotFiniteError: the vectors are not finite.
      UserError: the files of a benchmark are damaged.
    """
    prompts, sides = of_section(**self.prompts)
    model = self._embedder(state, step, prompts)
    rows = [prompted(row, sides, pivot=self.pivot) for row in self.data.corpus.heldout]
    heldout = retrieval(rows, model.with_prompt(given="").encode, pivot=self.pivot)
    scores = scores_of("retrieval", heldout)
    for suite, folder in self.suites.items():
      protocol, result = evals.run_suite(suite, model, folder)
      scores |= scores_of(suite, result.scores)
      self.writer.keep_protocol(suite, protocol)
    self.writer.write(step, scores)
    self.writer.announce(
      f"step {step}: held-out retrieval to {self.pivot} {heldout['to_pivot_accuracy']:.3f},"
      f" from it {heldout['from_pivot_accuracy']:.3f}"
    )
    if self.best_metric and self.best_metric not in scores:
      self.writer.announce(
        f"no best checkpoint is kept: best_metric={self.best_metric} is none of them"
      )
    return scores

  def _embedder(self, state: TrainState, step: int, prompts: Prompts) -> Embedder:
    """The state's parameters as a model that encodes texts."""
    return Embedder(
      network=self.train_program.model,
      params=state.params,
      model_config=dict(self.model),
      tokenizer=self.data.tokenizer,
      max_tokens=self.data.corpus.info["max_tokens"],
      step=step,
      mesh=self.train_program.mesh,
      changed={},
      prompts=prompts,
      prompt=prompts.text(),
    )


def prompted(row: Mapping[str, str], sides: Sides, *, pivot: str) -> dict[str, str]:
  """A held-out row, language -> text, with what goes before each text in training."""
  return {
    code: f"{sides.pivot if code == pivot else sides.translation}{text}"
    for code, text in row.items()
  }


def scores_of(suite: str, figures: Mapping[str, float]) -> dict[str, float]:
  """A suite's figures under the names that they have in metrics.jsonl."""
  return {f"eval/{suite}/{name}": value for name, value in figures.items()}
