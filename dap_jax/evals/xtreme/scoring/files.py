"""Readers of labels and predictions in the benchmark's submission format.

Of classification and Tatoeba a line is a class, or the number of a row; of tags a line is a tag and
an empty line ends a sentence; of BUCC a line is `xx-ID<TAB>en-ID`; questions and answers are JSON.
Errors name the file and the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from etils import epath

from dap_jax.data.texts import text_files
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json


def numbered_lines(path: epath.Path) -> list[str]:
  """The lines of a file, without white space around. Raises UserError: unreadable, or empty."""
  lines = [line.strip() for line in text_files.lines(path)]
  if not any(lines):
    raise UserError(f"{path} is empty: expected a line for each example")
  return lines


def read_classes(path: epath.Path, *, classes: Sequence[str]) -> list[str]:
  """The class in each line. Raises UserError for another word, by its line."""
  lines = numbered_lines(path)
  for number, line in enumerate(lines, 1):
    if line not in classes:
      raise unexpected(path, number, line, f"one of {', '.join(classes)}")
  return lines


def read_rows(path: epath.Path) -> list[str]:
  """The number of a row, from 0, in each line. Raises UserError for something else."""
  lines = numbered_lines(path)
  for number, line in enumerate(lines, 1):
    if not re.fullmatch("0|[1-9][0-9]{0,17}", line):
      raise unexpected(path, number, line, "the number of a row, from 0")
  return lines


def read_tags(path: epath.Path, *, classes: Sequence[str]) -> list[str]:
  """The tag in each line, "" between sentences; empty lines at the end of the file do not count."""
  lines = numbered_lines(path)
  while not lines[-1]:
    lines.pop()
  for number, line in enumerate(lines, 1):
    if line and line not in classes:
      raise unexpected(path, number, line, f"a tag alone, one of {', '.join(classes)}")
  return lines


def read_pairs(path: epath.Path, *, language: str) -> set[tuple[str, str]]:
  """Pairs of ids of BUCC, a set: a repeated pair counts once, as in the benchmark.

  Raises:
    UserError: a line is none. A file without lines is: that nothing was found is a prediction.
  """
  pairs = set()
  for number, line in enumerate(map(str.strip, text_files.lines(path)), 1):
    fields = re.fullmatch(rf"({re.escape(language)}-\S+)\t(en-\S+)", line)
    if not fields:
      raise unexpected(path, number, line, f"{language}-ID, a tab, en-ID")
    pairs.add((fields[1], fields[2]))
  return pairs


def unexpected(path: epath.Path, number: int, line: str, expected: str) -> UserError:
  """The error of a line that is not what it has to be."""
  found = repr(line[:60]) if line else "an empty line"
  return UserError(f"{path}:{number}: expected {expected}; found {found}")


def check_counts(gold: Sequence[str], predicted: Sequence[str], *, paths: Sequence[Any]) -> None:
  """Raises UserError where labels and predictions are not equally many.

  Args:
    gold, predicted: their lines.
    paths: of the labels' file and the predictions'.
  """
  if len(gold) != len(predicted):
    raise UserError(
      f"{paths[1]} has {len(predicted)} lines, the labels {paths[0]} have {len(gold)}: expected"
      " equally many"
    )


def check_sentences(gold: Sequence[str], predicted: Sequence[str], *, paths: Sequence[Any]) -> None:
  """Raises UserError, with the line, where a sentence ends in one file alone; as `check_counts`."""
  for number, (tag, guess) in enumerate(zip(gold, predicted, strict=False), 1):
    if bool(tag) != bool(guess):
      ends, goes_on = (paths[0], paths[1]) if guess else (paths[1], paths[0])
      raise UserError(f"{paths[1]}:{number}: {ends} ends a sentence here, {goes_on} does not")
  check_counts(gold, predicted, paths=paths)


def read_questions(path: epath.Path) -> dict[str, list[str]]:
  """The answers of a file in SQuAD's format: id of a question -> the texts of its answers.

  Raises:
    UserError: it is no such file; an id occurs twice; a question has no answer.
  """
  content = read_object(path)
  answers: dict[str, list[str]] = {}
  for place, question in questions_of(content, path=path):
    name = field(question, "id", str, path=path, place=place)
    if name in answers:
      raise UserError(f"{path}: {place}: the id {name!r} occurs a second time")
    given = field(question, "answers", list, path=path, place=place)
    answers[name] = [
      field(answer, "text", str, path=path, place=f"{place}.answers[{number}]")
      for number, answer in enumerate(given)
    ]
    if not given:
      raise UserError(f"{path}: {place} has no answer: are these the files without annotations?")
  if not answers:
    raise UserError(f"{path} has no questions")
  return answers


def questions_of(content: Any, *, path: epath.Path) -> Iterator[tuple[str, Any]]:
  """The questions of a file in SQuAD's format, each with the name of its place in it."""
  for i, article in enumerate(field(content, "data", list, path=path, place="the file")):
    paragraphs = field(article, "paragraphs", list, path=path, place=f"data[{i}]")
    for j, paragraph in enumerate(paragraphs):
      place = f"data[{i}].paragraphs[{j}]"
      for k, question in enumerate(field(paragraph, "qas", list, path=path, place=place)):
        yield f"{place}.qas[{k}]", question


def field(holder: Any, key: str, kind: type, *, path: epath.Path, place: str) -> Any:
  """A value in a JSON object. Raises UserError where there is none, or one of another type."""
  value = holder.get(key) if isinstance(holder, dict) else None
  if not isinstance(value, kind):
    name = "a text" if kind is str else "a list"
    raise UserError(f"{path}: {place}: expected an object with {key!r}, {name}")
  return value


def read_answers(path: epath.Path, *, known: Callable[[str], bool]) -> dict[str, str]:
  """Predicted answers: id of a question -> text.

  Args:
    path: a JSON object of texts.
    known: whether the labels have a question of that id.

  Raises:
    UserError: it is none; it is empty; an id occurs twice, or is unknown.
  """
  content = read_object(path)
  if not content:
    raise UserError(f"{path} has no answers: expected an object, id of a question -> answer")
  for name, answer in content.items():
    if not isinstance(answer, str):
      raise UserError(f"{path}: the answer to {name!r}: expected a text")
    if not known(name):
      raise UserError(f"{path}: the labels have no question {name!r}")
  return content


def read_object(path: epath.Path) -> dict[str, Any]:
  """The JSON object of a file. Raises UserError: it is none, or a key occurs twice in it."""
  text_files.check_regular(path)
  return read_json(path, unique_keys=True)
