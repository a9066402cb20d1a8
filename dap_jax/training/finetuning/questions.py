"""Extractive question answering as a task of fine-tuning.

A sequence is a question, cut to 64 tokens, and a window of its context; windows begin every 128
tokens, as in BERT's and XTREME's scripts. Unlike there, windows and answers are told by characters,
so that an answer is right in languages that put no spaces between words. In a window without the
answer both ends are the first token. The prediction is the best span of at most 30 tokens over all
windows of a question.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np

from dap_jax.data.texts.question_answers import Question, QuestionAnswers
from dap_jax.data.tokenizer import Tokenizer, Window
from dap_jax.evals import Result
from dap_jax.evals.measures.answers import answer_scores, normalise_squad
from dap_jax.evals.transfer import transfer_result
from dap_jax.training.finetuning.batches import Sequences
from dap_jax.training.finetuning.task import Predict

STRIDE, MOST_OF_QUESTION = 128, 64  # tokens
BEST, LONGEST_ANSWER = 20, 30  # starts and ends that are tried; tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuestionsTask:
  """See `Task`.

  Attributes:
    questions: of all languages.
    tokens: of the model.
    has_types: see `Task`.
  """

  questions: QuestionAnswers
  tokens: Tokenizer
  has_types: bool

  head, pool = "answer", 1
  classes = ("start", "end")

  @property
  def metric(self) -> str:
    """F1, where there is a development split."""
    return "eval/dev/f1" if self.questions.dev else ""

  def digest(self) -> str:
    """See `Task`."""
    return self.questions.digest()

  def _windows(self, question: Question) -> list[Window]:
    """A question's sequences; half of one at most is the question."""
    most = min(MOST_OF_QUESTION, self.tokens.max_tokens // 2)
    return self.tokens.windows(
      question.question, question.context, step=STRIDE, most_of_question=most
    )

  def _sequences(self, windows: Sequence[Window], labels: Sequence[tuple[int, int]]) -> Sequences:
    """The arrays' contents."""
    types = [window.types for window in windows] if self.has_types else None
    return Sequences([window.ids for window in windows], labels, types)

  def train(self) -> Sequences:
    """See `Task`: labels are the first answer's first and last token."""
    windows: list[Window] = []
    labels: list[tuple[int, int]] = []
    for question in self.questions.train:
      of_question = self._windows(question)
      text, start = question.answers[0]
      windows += of_question
      labels += [ends_of(window.spans, start, start + len(text)) for window in of_question]
    return self._sequences(windows, labels)

  def _answers(self, questions: Sequence[Question], predict: Predict) -> dict[str, str]:
    """Id -> the predicted answer."""
    windows = [self._windows(question) for question in questions]
    logits = iter(predict(self._sequences([each for one in windows for each in one], [])))
    return {
      question.id: best_answer(question.context, [(each, next(logits)) for each in of_question])
      for question, of_question in zip(questions, windows, strict=True)
    }

  def dev_scores(self, predict: Predict) -> dict[str, float]:
    """See `Task`: exact match and F1."""
    scores = measure(self.questions.dev, self._answers(self.questions.dev, predict))
    return {f"eval/dev/{name}": value for name, value in scores.items()}

  def evaluate(self, predict: Predict) -> tuple[Result, Mapping[str, str]]:
    """See `Task`: exact match and F1; predictions are JSON, id -> answer, as SQuAD has them."""
    scores: dict[str, dict[str, float]] = {"f1": {}, "exact_match": {}}
    texts = {}
    for code, questions in self.questions.test.items():
      predicted = self._answers(questions, predict)
      for name, value in measure(questions, predicted).items():
        scores[name][code] = value
      texts[code] = json.dumps(predicted, indent=1, ensure_ascii=False) + "\n"
    about = {
      **self.questions.protocol(),
      "f1": "SQuAD 1.1's script, for every language",
      "windows": f"every {STRIDE} tokens; question at most {MOST_OF_QUESTION}",
      "answers": f"at most {LONGEST_ANSWER} tokens, by characters",
    }
    return transfer_result(scores, about, train_language=self.questions.train_language), texts


def measure(questions: Sequence[Question], predicted: Mapping[str, str]) -> dict[str, float]:
  """`exact_match` and `f1` of predictions, id -> answer, in [0, 1]."""
  right = {question.id: [text for text, _ in question.answers] for question in questions}
  scores = answer_scores(right, predicted, normalise=normalise_squad)
  return {name: value / 100 for name, value in scores._asdict().items()}


def ends_of(spans: Sequence[tuple[int, int] | None], start: int, end: int) -> tuple[int, int]:
  """The first and the last token of the characters [start, end); (0, 0) where they are not all in.

  Args:
    spans: characters of each token, None of the question and special tokens.
    start, end: of an answer.
  """
  inside = [place for place, span in enumerate(spans) if span and span[0] < end and start < span[1]]
  if not inside:
    return 0, 0
  in_context = [place for place, span in enumerate(spans) if span]
  # At the edge of a window a part of the answer may be missing.
  cut_before = inside[0] == in_context[0] and spans[inside[0]][0] > start  # type: ignore[index]
  cut_behind = inside[-1] == in_context[-1] and spans[inside[-1]][1] < end  # type: ignore[index]
  return (0, 0) if cut_before or cut_behind else (inside[0], inside[-1])


def best_answer(context: str, windows: Sequence[tuple[Window, np.ndarray]]) -> str:
  """The text of the span with the largest sum of logits; "" where no window has a span.

  Args:
    context: of the question.
    windows: each with its logits, float32 [L, 2].
  """
  best, text = -np.inf, ""
  for window, logits in windows:
    places = np.array([place for place, span in enumerate(window.spans) if span], int)
    starts, ends = (
      places[np.argsort(-logits[places, column], kind="stable")[:BEST]] for column in (0, 1)
    )
    for start in starts:
      for end in ends:
        score = logits[start, 0] + logits[end, 1]
        if start <= end < start + LONGEST_ANSWER and score > best:
          first, last = window.spans[start], window.spans[end]
          assert first and last
          best, text = score, context[first[0] : last[1]].strip()
  return text
