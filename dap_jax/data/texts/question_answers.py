"""Questions whose answers are spans of a text, in several languages: files of SQuAD's format.

    {"data": [{"paragraphs": [{"context": ..., "qas": [{"id": ..., "question": ...,
      "answers": [{"text": ..., "answer_start": ...}]}]}]}]}

A folder has a file a language and split, see `split_files`: `en-train.json`, `de-test.json`; and
SQuAD's, XQuAD's and MLQA's own names: `train-v1.1.json` is English, `xquad.de.json` a test, and
`test-context-de-question-de.json` too. One language has training examples; of the others only the
test split is read. `answer_start` counts characters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from etils import epath

from dap_jax.data.texts import text_files
from dap_jax.data.texts.split_files import split_files
from dap_jax.utils.errors import UserError

MAX_FILE = 1 << 30  # bytes: such a file is one line


class Question(NamedTuple):
  """A question.

  Attributes:
    id: of its file, once in it.
    question, context: the texts.
    answers: each a text of the context, and the character at which it starts.
  """

  id: str
  question: str
  context: str
  answers: list[tuple[str, int]]


class QuestionAnswers(NamedTuple):
  """Questions for training in one language and testing in all.

  Attributes:
    train_language: its code.
    train, dev: of that language; dev may be empty.
    test: language -> questions, the training language first if it has any.
  """

  train_language: str
  train: list[Question]
  dev: list[Question]
  test: dict[str, list[Question]]

  def digest(self) -> str:
    """SHA-256 of all questions, hexadecimal."""
    parts = [self.train_language, list(self.test), self.train, self.dev, *self.test.values()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

  def protocol(self) -> dict[str, Any]:
    """The data's part in the protocol of a result."""
    return {
      "task": "question answering",
      "train_questions": len(self.train),
      "dev_questions": len(self.dev) or "",
      "test_languages": ",".join(self.test),
      "test_questions": sum(map(len, self.test.values())),
    }


def read_question_answers(folder: str, *, train_language: str) -> QuestionAnswers:
  """Reads a folder of questions.

  Raises:
    UserError: a file is damaged, or an answer does not stand where the file says; the training
      language has no train split; no language has a test split.
  """
  files = split_files(epath.Path(folder))
  if (train_language, "train") not in files:
    languages = ", ".join(sorted({language for language, _ in files}))
    raise UserError(
      f"{folder} has no train split of train_language={train_language}; languages are {languages}"
    )

  def read(language: str, split: str) -> list[Question]:
    paths = files.get((language, split), [])
    return [question for path in paths for question in read_file(path)]

  order = [train_language, *sorted({language for language, _ in files} - {train_language})]
  test = {code: read(code, "test") for code in order if (code, "test") in files}
  if not test:
    raise UserError(f"{folder} has no test split in any language: there is nothing to test on")
  train, dev = read(train_language, "train"), read(train_language, "dev")
  for question in train:
    if not question.answers:
      raise UserError(f"{folder}: the question {question.id!r} of training has no answer")
  return QuestionAnswers(train_language, train, dev, test)


def read_file(path: epath.Path) -> list[Question]:
  """The questions of a file.

  Raises:
    UserError: it is no JSON, lacks something, or has an answer that its context has not there.
  """
  with text_files.line_limit(MAX_FILE):
    text = "\n".join(text_files.lines(path))
  try:
    content = json.loads(text)
  except (ValueError, RecursionError) as error:
    raise UserError(f"{path} is no JSON: {error}") from error
  questions: list[Question] = []
  known: set[str] = set()
  for question in questions_in(content, where=str(path)):
    if question.id in known:
      raise UserError(f"{path}: two questions have the id {question.id[:60]!r}")
    known.add(question.id)
    check_answers(question, where=str(path))
    questions.append(question)
  if not questions:
    raise UserError(f"{path} has no question")
  return questions


def questions_in(content: Any, *, where: str) -> Iterator[Question]:
  """The questions of a parsed file. Raises UserError where something is missing."""
  for number, article in enumerate(field(content, "data", list, where=where)):
    of_article = f"{where}: data[{number}]"
    for place, paragraph in enumerate(field(article, "paragraphs", list, where=of_article)):
      of_paragraph = f"{of_article}.paragraphs[{place}]"
      context = field(paragraph, "context", str, where=of_paragraph)
      for row, entry in enumerate(field(paragraph, "qas", list, where=of_paragraph)):
        here = f"{of_paragraph}.qas[{row}]"
        answers = [
          (
            field(answer, "text", str, where=f"{here}.answers"),
            field(answer, "answer_start", int, where=f"{here}.answers"),
          )
          for answer in field(entry, "answers", list, where=here)
        ]
        named = field(entry, "id", str, where=here), field(entry, "question", str, where=here)
        yield Question(*named, context, answers)


def field(holder: Any, key: str, kind: type, *, where: str) -> Any:
  """A value of a JSON object. Raises UserError where it is missing or of another type."""
  value = holder.get(key) if isinstance(holder, dict) else None
  if not isinstance(value, kind) or isinstance(value, bool):
    names = {list: "a list", str: "a text", int: "a whole number"}
    raise UserError(f"{where}: expected {key!r} with {names[kind]}, as SQuAD's files have it")
  return value


def check_answers(question: Question, *, where: str) -> None:
  """Raises UserError for an answer that is empty, or not at its place in the context."""
  for text, start in question.answers:
    there = question.context[start : start + len(text)] if start >= 0 else ""
    if not text.strip() or there != text:
      raise UserError(
        f"{where}: the question {question.id[:60]!r}: the answer {text[:40]!r} does not stand at"
        f" character {start} of its context, where there is {there[:40]!r}"
      )
