"""Classification of texts and of pairs of texts, as a task of fine-tuning."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from dap_jax.data.texts.labelled_texts import Examples, LabelledTexts
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.evals import Result, classification
from dap_jax.training.finetuning.batches import Sequences
from dap_jax.training.finetuning.task import Predict
from dap_jax.utils.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledTask:
  """See `Task`.

  Attributes:
    examples: of all languages.
    tokens: of the model.
    head: `sentence_vector` or `sequence`.
    has_types: see `Task`.
  """

  examples: LabelledTexts
  tokens: Tokenizer
  head: str
  has_types: bool

  pool = 1

  @property
  def classes(self) -> Sequence[str]:
    """The labels."""
    return self.examples.classes

  @property
  def metric(self) -> str:
    """Accuracy, where there is a development split."""
    return "eval/dev/accuracy" if self.examples.dev.labels else ""

  def digest(self) -> str:
    """See `Task`."""
    return self.examples.digest()

  def train(self) -> Sequences:
    """See `Task`. Raises UserError: the tokenizer does not tell a pair's texts apart."""
    if self.examples.pairs and len(self.tokens.encode_ragged([("", "")])[0]) < 3:
      raise UserError("the model's tokenizer puts nothing between the texts of a pair")
    return self._sequences(self.examples.train)

  def _sequences(self, examples: Examples) -> Sequences:
    """The examples, tokenised."""
    ids, types = self.tokens.encode_typed(examples.texts)
    return Sequences(ids, self.examples.numbers(examples), types if self.has_types else None)

  def _predicted(self, examples: Examples, predict: Predict) -> np.ndarray:
    """The number of each example's class, that of the largest logit: int [N]."""
    return np.array([logits.argmax() for logits in predict(self._sequences(examples))])

  def dev_scores(self, predict: Predict) -> dict[str, float]:
    """See `Task`."""
    dev = self.examples.dev
    hits = self._predicted(dev, predict) == np.array(self.examples.numbers(dev))
    return {"eval/dev/accuracy": float(hits.mean())}

  def evaluate(self, predict: Predict) -> tuple[Result, Mapping[str, str]]:
    """See `Task`: accuracy and macro F1; predictions are a label a line."""
    tests = self.examples.test
    predicted = {code: self._predicted(split, predict) for code, split in tests.items()}
    figures = classification.measure(self.examples, predicted)
    if self.examples.dev.labels:
      figures["dev_accuracy"] = self.dev_scores(predict)["eval/dev/accuracy"]
    texts = {
      code: "".join(f"{self.classes[number]}\n" for number in numbers)
      for code, numbers in predicted.items()
    }
    return classification.result_of(self.examples, figures, self.examples.protocol()), texts
