"""Labelled texts, or pairs of texts, in several languages: the data of classification.

A folder has one file for each language, `CODE.tsv` or `CODE.tsv.gz`: UTF-8, tabs between the
columns, no quoting. A header line names the columns, in any order; further ones are ignored:

    split     train, dev or test
    label     the class (or `category`)
    text      the text; of pairs also `text_pair`; or `premise` and `hypothesis`

Without a header line, four columns are those of SIB-200: split, index_id, category, text. One
language has training examples; of the others only the test split is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from dap_jax.data.texts import text_files
from dap_jax.utils.errors import UserError

TRAIN, DEV, TEST = "train", "dev", "test"
SPLITS = (TRAIN, DEV, TEST)
LABELS = ("label", "category")
PAIRS = (("text", "text_pair"), ("premise", "hypothesis"))
SIB200 = ("split", "index_id", "category", "text")


class Examples(NamedTuple):
  """texts: strings, or pairs of strings (tuples). labels: the class of each."""

  texts: list[Any]
  labels: list[str]


class LabelledTexts(NamedTuple):
  """Examples for training in one language and testing in all.

  Attributes:
    train_language: its code.
    train, dev: examples of that language; dev may be empty.
    test: language -> its examples, the training language first if it has any.
    classes: the labels of `train`, sorted.
    pairs: whether an example is a pair of texts.
    left_out: language -> how many of its examples have an empty text, if there are any.
  """

  train_language: str
  train: Examples
  dev: Examples
  test: dict[str, Examples]
  classes: list[str]
  pairs: bool
  left_out: dict[str, int]

  def numbers(self, examples: Examples) -> list[int]:
    """The labels as their numbers in `classes`."""
    return [self.classes.index(label) for label in examples.labels]

  def digest(self) -> str:
    """SHA-256 of all texts and labels, hexadecimal."""
    parts = [self.train, self.dev, *self.test.values()]
    content = json.dumps([self.train_language, list(self.test), parts])
    return hashlib.sha256(content.encode()).hexdigest()

  def protocol(self) -> dict[str, object]:
    """The data's part in the protocol of a result."""
    left_out = ", ".join(f"{code} {number}" for code, number in self.left_out.items())
    return {
      "task": "pairs of texts" if self.pairs else "single texts",
      "classes": len(self.classes),
      "train_examples": len(self.train.labels),
      "test_languages": ",".join(self.test),
      "test_examples": sum(len(examples.labels) for examples in self.test.values()),
      "empty_texts_left_out": left_out or 0,
    }


class Columns(NamedTuple):
  """The positions of the fields in a line. number: how many fields a line has."""

  split: int
  label: int
  texts: tuple[int, ...]
  number: int


def read_labelled_texts(folder: str, *, train_language: str) -> LabelledTexts:
  """Reads a folder of labelled texts.

  Raises:
    UserError: a file is damaged or has other columns; the training language has no file or fewer
      than two classes; a language has no test split; a label never occurs in training.
  """
  files = language_files(epath.Path(folder))
  if train_language not in files:
    raise UserError(
      f"train_language={train_language}: {folder} has no such file; name one of {', '.join(files)}"
    )
  order = [train_language, *(code for code in files if code != train_language)]
  splits_of, left_out, kinds = {}, {}, {}
  for code in order:
    splits = SPLITS if code == train_language else (TEST,)
    splits_of[code], left_out[code], kinds[code] = read_file(files[code], splits=splits)
    if kinds[code] != kinds[train_language]:
      both = {True: "pairs of texts", False: "single texts"}
      raise UserError(
        f"{files[code]} has {both[kinds[code]]}, {files[train_language].name}"
        f" {both[kinds[train_language]]}: expected the same columns in every language"
      )
    if not splits_of[code][TEST].labels and code != train_language:
      raise UserError(f"{files[code]} has no example with a text in its test split")
  train, dev = splits_of[train_language][TRAIN], splits_of[train_language][DEV]
  classes = sorted(set(train.labels))
  if len(classes) < 2:
    raise UserError(
      f"{files[train_language]}: classes of its train split: {len(classes)}, expected at least 2"
    )
  for code in order:
    refuse_unknown(splits_of[code], classes, where=str(files[code]), train_language=train_language)
  if not any(splits_of[code][TEST].labels for code in order):
    raise UserError(f"{folder} has no test split in any language: there is nothing to test on")
  return LabelledTexts(
    train_language=train_language,
    train=train,
    dev=dev,
    test={code: splits_of[code][TEST] for code in order if splits_of[code][TEST].labels},
    classes=classes,
    pairs=kinds[train_language],
    left_out={code: number for code, number in left_out.items() if number},
  )


def language_files(folder: epath.Path) -> dict[str, epath.Path]:
  """Language code -> its file, sorted; files that are not called CODE.tsv[.gz] are ignored.

  Raises:
    UserError: the folder does not exist, has no such file, or has two of one language.
  """
  if not folder.is_dir():
    raise UserError(f"{folder} is no folder: expected one with a file CODE.tsv[.gz] a language")
  files: dict[str, epath.Path] = {}
  for path in sorted(folder.glob("*")):
    match = re.fullmatch(r"([^.]+)\.tsv(\.gz)?", path.name)
    if match and text_files.LANGUAGE.fullmatch(match[1]):
      if match[1] in files:
        raise UserError(f"{path} and {files[match[1]].name} are the same language: remove one")
      files[match[1]] = path
  if not files:
    entries = ", ".join(sorted(path.name for path in folder.glob("*"))[:3]) or "nothing"
    raise UserError(
      f"{folder} has no file CODE.tsv or CODE.tsv.gz, CODE a language, it has {entries}: put the"
      " splits of a language into one file, whose columns a first line names, split, label and text"
    )
  return files


def read_file(path: epath.Path, *, splits: Sequence[str]) -> tuple[dict[str, Examples], int, bool]:
  """Some splits of a file, how many examples have an empty text, and whether it has pairs.

  Raises:
    UserError: a line that does not fit, by its number.
  """
  rows = enumerate(text_files.lines(path), 1)
  lines = [(number, line.split("\t")) for number, line in rows]
  first = lines[0][1] if lines else []
  has_header = "split" in first
  columns = columns_of(first if has_header else SIB200, first, path=path)
  examples = {split: Examples([], []) for split in splits}
  left_out = 0
  for number, fields in lines[1 if has_header else 0 :]:
    where = f"{path}:{number}"
    if len(fields) != columns.number:
      raise UserError(
        f"{where}: {len(fields)} columns with tabs between, expected {columns.number}"
      )
    split, label = fields[columns.split], fields[columns.label].strip()
    if split not in SPLITS:
      raise UserError(f"{where}: the split {split!r} is none of {', '.join(SPLITS)}")
    if split not in splits:
      continue
    if not label:
      raise UserError(f"{where}: the label is empty")
    texts = tuple(fields[column] for column in columns.texts)
    if not all(text.strip() for text in texts):
      left_out += 1
      continue
    examples[split].texts.append(texts if len(texts) == 2 else texts[0])
    examples[split].labels.append(label)
  return examples, left_out, len(columns.texts) == 2


def columns_of(names: Sequence[str], first: Sequence[str], *, path: epath.Path) -> Columns:
  """The columns of a file.

  Args:
    names: of the columns.
    first: the fields of the first line: as many as there are names.
    path: of the file, for the message.

  Raises:
    UserError: a column is missing or occurs twice.
  """
  labels = [name for name in LABELS if name in names]
  texts = next((pair for pair in PAIRS if set(pair) <= set(names)), ("text",))
  used = ["split", *labels, *texts]
  fits = len(first) == len(names) and len(labels) == 1
  if not fits or any(list(names).count(name) != 1 for name in used):
    raise UserError(
      f"{path}:1: expected a header line with split, label (or category), and text, or text and"
      f" text_pair, or premise and hypothesis; found {' | '.join(first)[:100] or 'nothing'}"
    )
  split, label, *positions = (list(names).index(name) for name in used)
  return Columns(split, label, tuple(positions), len(names))


def refuse_unknown(
  splits: Mapping[str, Examples], classes: Iterable[str], *, where: str, train_language: str
) -> None:
  """Raises UserError for a label that training never sees: no prediction could be right there."""
  for split, examples in splits.items():
    unknown = sorted(set(examples.labels) - set(classes))
    if unknown:
      raise UserError(
        f"{where}: its {split} split has the label {unknown[0]!r}, the train split of"
        f" {train_language} only {', '.join(classes)}"
      )
