"""Readers of XNLI and PAWS-X as they are released: pairs of sentences, train and dev in English.

XNLI: `XNLI-MT-1.0/multinli/multinli.train.en.tsv` (premise, hypothesis, label) and
`XNLI-1.0/xnli.{dev,test}.tsv`, in which columns 1 and 2 are language and label, 7 and 8 the texts.
PAWS-X: `LANGUAGE/{train,dev_2k,test_2k}.tsv` (id, sentence, sentence, label). Each has a header
line; there is no quoting. Examples stay in their order, none is left out: a prediction is a line.

The benchmark's preprocessing writes these texts as CSV, and its programs read them without its
quoting, so that its models see `He said "no".` as `"He said ""no""."`. `QUOTES`: "mended" leaves
texts as they are released, "xtreme" has them as the benchmark's models do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from etils import epath

from dap_jax.data.texts import text_files
from dap_jax.data.texts.labelled_texts import Examples, LabelledTexts
from dap_jax.evals.xtreme.tasks import PAWSX, TASKS, XNLI
from dap_jax.utils.errors import UserError

QUOTES = {
  "mended": "as released",
  "xtreme": "a text with double quotes is quoted, those inside doubled",
}
ENGLISH = "en"
RENAMED = {"contradictory": "contradiction"}  # in the English training texts of XNLI


class Columns(NamedTuple):
  """Positions in a line. language: None where the file has one language."""

  label: int
  texts: tuple[int, int]
  language: int | None = None


TRAIN_COLUMNS = Columns(label=2, texts=(0, 1))
XNLI_COLUMNS = Columns(label=1, texts=(6, 7), language=0)
PAWSX_COLUMNS = Columns(label=3, texts=(1, 2))


class Row(NamedTuple):
  """An example, see `Examples`."""

  language: str
  text: tuple[str, str]
  label: str


def read_xnli(folder: epath.PathLike, *, quotes: str = "mended") -> LabelledTexts:
  """Reads XNLI: 15 languages. Raises UserError as `rows_of`, or where a language is missing."""
  train, dev, test = files_of(XNLI, epath.Path(folder))
  by_language: dict[str, list[Row]] = {code: [] for code in TASKS[XNLI].languages}
  for row in rows_of(test, XNLI_COLUMNS, task=XNLI, quotes=quotes):
    by_language[row.language].append(row)
  english = rows_of(dev, XNLI_COLUMNS, task=XNLI, quotes=quotes)
  return together(
    rows_of(train, TRAIN_COLUMNS, task=XNLI, quotes=quotes),
    (row for row in english if row.language == ENGLISH),
    by_language,
    task=XNLI,
    where=(train, dev, test),
  )


def read_pawsx(folder: epath.PathLike, *, quotes: str = "mended") -> LabelledTexts:
  """Reads PAWS-X: 7 languages. Raises UserError as `rows_of`."""
  train, dev, *tests = files_of(PAWSX, epath.Path(folder))
  by_language = {
    code: list(rows_of(test, PAWSX_COLUMNS, task=PAWSX, quotes=quotes))
    for code, test in zip(TASKS[PAWSX].languages, tests, strict=True)
  }
  return together(
    rows_of(train, PAWSX_COLUMNS, task=PAWSX, quotes=quotes),
    rows_of(dev, PAWSX_COLUMNS, task=PAWSX, quotes=quotes),
    by_language,
    task=PAWSX,
    where=(train, dev, epath.Path(folder)),
  )


def files_of(task: str, folder: epath.Path) -> list[epath.Path]:
  """The files of xnli or pawsx: train, dev, and the test or the tests by language."""
  if task == XNLI:
    names = ["XNLI-MT-1.0/multinli/multinli.train.en.tsv"]
    names += [f"XNLI-1.0/xnli.{split}.tsv" for split in ("dev", "test")]
  else:
    names = [f"{ENGLISH}/{split}.tsv" for split in ("train", "dev_2k")]
    names += [f"{code}/test_2k.tsv" for code in TASKS[PAWSX].languages]
  return [folder / name for name in names]


def rows_of(path: epath.Path, columns: Columns, *, task: str, quotes: str) -> Iterator[Row]:
  """The examples of a file, without its header.

  Args:
    path: the file.
    columns: where its fields are.
    task: xnli or pawsx, whose classes and languages are expected.
    quotes: a key of `QUOTES`.

  Raises:
    UserError: the file or its header is missing, or a line has too few columns, another label or
      another language.
  """
  if quotes not in QUOTES:
    raise UserError(f"quotes={quotes!r}: expected one of {', '.join(QUOTES)}")
  needed = 1 + max(columns.label, *columns.texts)
  for number, line in enumerate(text_files.lines(path), 1):
    fields = [field.strip() for field in line.split("\t")]
    if len(fields) < needed:
      raise UserError(
        f"{path}:{number}: {len(fields)} columns with tabs between, expected {needed} or more"
      )
    label = RENAMED.get(fields[columns.label], fields[columns.label])
    is_known = label in TASKS[task].classes
    if number == 1:
      if is_known:
        raise UserError(f"{path}:1: expected a header line, found an example")
      continue
    if not is_known:
      known = ", ".join(TASKS[task].classes)
      raise UserError(f"{path}:{number}: the label {label[:60]!r} is none of {known}")
    language = ENGLISH if columns.language is None else fields[columns.language]
    if language not in TASKS[task].languages:
      raise UserError(f"{path}:{number}: {language[:60]!r} is no language of {task}")
    first, second = (quoted(fields[place], quotes=quotes) for place in columns.texts)
    yield Row(language, (first, second), label)


def quoted(text: str, *, quotes: str) -> str:
  r"""A text as the benchmark's models see it, or as it is released.

  Examples:
    >>> quoted('He said "no".', quotes="xtreme")
    '"He said ""no""."'
    >>> quoted('He said "no".', quotes="mended")
    'He said "no".'
  """
  if quotes == "mended" or '"' not in text:
    return text
  doubled = text.replace('"', '""')
  return f'"{doubled}"'


def together(
  train: Iterable[Row],
  dev: Iterable[Row],
  test: Mapping[str, Iterable[Row]],
  *,
  task: str,
  where: Sequence[epath.Path],
) -> LabelledTexts:
  """The splits in one. Raises UserError where one of them, or a language of the test, is empty.

  Args:
    train, dev, test: their examples; test by language.
    task: xnli or pawsx.
    where: the file or folder of each split, for errors.
  """
  splits = {"train": examples_of(train), "dev": examples_of(dev)}
  tests = {code: examples_of(rows) for code, rows in test.items()}
  empty = [place for place, split in zip(where, splits.values(), strict=False) if not split.labels]
  if empty:
    raise UserError(f"{empty[0]} has no examples in {ENGLISH}")
  lacking = [code for code, split in tests.items() if not split.labels]
  if lacking:
    raise UserError(f"{where[-1]} has no test examples in {', '.join(lacking)}")
  return LabelledTexts(
    train_language=ENGLISH,
    **splits,
    test={ENGLISH: tests.pop(ENGLISH), **tests},
    classes=list(TASKS[task].classes),
    pairs=True,
    left_out={},
  )


def examples_of(rows: Iterable[Row]) -> Examples:
  """Texts and labels of rows."""
  examples = Examples([], [])
  for row in rows:
    examples.texts.append(row.text)
    examples.labels.append(row.label)
  return examples
