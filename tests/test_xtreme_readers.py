"""XNLI and PAWS-X as released: columns, labels, the benchmark's quotes; damaged files.

Expected values by hand, and of the quotes by Python's csv module: the benchmark's preprocessing
writes with it, tabs between, and its programs read what it wrote without quoting.
"""

import csv
import io
import random

import pytest

from dap_jax.data.texts.labelled_texts import Examples
from dap_jax.evals.xtreme import sentence_pairs, tasks
from dap_jax.utils.errors import UserError
from tests.fuzzing import fuzz

XNLI_HEADER = "language\tgold_label\tp1\tp2\tp3\tp4\tsentence1\tsentence2\tpromptID"
PAWSX_HEADER = "id\tsentence1\tsentence2\tlabel"


def xnli_line(code, label, first, second):
  return f"{code}\t{label}\t\t\t\t\t{first}\t{second}\t7"


def write(path, *lines):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_xnli(folder):
  train = folder / "XNLI-MT-1.0" / "multinli" / "multinli.train.en.tsv"
  write(train, "premise\thypo\tlabel", 'He said "no".\tNo.\tcontradictory', "A \tB\tneutral")
  lines = [xnli_line(code, "neutral", f"{code} a", "b") for code in tasks.TASKS["xnli"].languages]
  write(folder / "XNLI-1.0" / "xnli.dev.tsv", XNLI_HEADER, *lines)
  write(
    folder / "XNLI-1.0" / "xnli.test.tsv",
    XNLI_HEADER,
    *lines,
    xnli_line("de", "entailment", "c", ""),
  )
  return folder


def write_pawsx(folder):
  for code in tasks.TASKS["pawsx"].languages:
    for split in ("train", "dev_2k", "test_2k"):
      write(
        folder / code / f"{split}.tsv", PAWSX_HEADER, f'1\t{code} {split}\t"b"\t0', "2\tc\td\t1"
      )
  return folder


def test_xnli(tmp_path):
  texts = sentence_pairs.read_xnli(write_xnli(tmp_path))
  assert texts.train == Examples(
    [('He said "no".', "No."), ("A", "B")], ["contradiction", "neutral"]
  )
  assert texts.dev == Examples([("en a", "b")], ["neutral"])
  assert list(texts.test)[0] == "en" and len(texts.test) == 15
  # A prediction is a line, so an example with an empty text stays.
  assert texts.test["de"] == Examples([("de a", "b"), ("c", "")], ["neutral", "entailment"])
  assert texts.classes == ["contradiction", "entailment", "neutral"] and texts.pairs


def test_pawsx(tmp_path):
  texts = sentence_pairs.read_pawsx(write_pawsx(tmp_path), quotes="xtreme")
  assert texts.train.texts[0] == ("en train", '"""b"""') and texts.train.labels == ["0", "1"]
  assert texts.dev.texts[0][0] == "en dev_2k" and texts.test["ko"].texts[0][0] == "ko test_2k"
  assert len(texts.test) == 7 and texts.classes == ["0", "1"]


def test_quotes_are_those_that_csv_leaves():
  """On 300 random texts of quotes, commas, apostrophes and words."""
  rng = random.Random(0)
  for _ in range(300):
    text = "".join(rng.choices(['"', "'", ",", "a", " b", "ü"], k=rng.randrange(1, 9))).strip()
    file = io.StringIO()
    csv.writer(file, delimiter="\t").writerow([text, "x"])
    ((seen, _),) = csv.reader(
      io.StringIO(file.getvalue()), delimiter="\t", quotechar=None, quoting=csv.QUOTE_NONE
    )
    assert sentence_pairs.quoted(text, quotes="xtreme") == seen
    assert sentence_pairs.quoted(text, quotes="mended") == text


@pytest.mark.parametrize(
  ("lines", "message"),
  [
    ([XNLI_HEADER, "en\tneutral\ta"], ":2: 3 columns with tabs between, expected 8 or more"),
    ([XNLI_HEADER, xnli_line("en", "maybe", "a", "b")], ":2: the label 'maybe' is none of contra"),
    ([XNLI_HEADER, xnli_line("nl", "neutral", "a", "b")], ":2: 'nl' is no language of xnli"),
    ([xnli_line("en", "neutral", "a", "b")], ":1: expected a header line, found an example"),
    ([XNLI_HEADER, xnli_line("en", "neutral", "a", "b")], "no test examples in ar, bg, de"),
    ([], "no test examples in ar, bg"),
  ],
)
def test_damaged_xnli(tmp_path, lines, message):
  write(write_xnli(tmp_path) / "XNLI-1.0" / "xnli.test.tsv", *lines)
  with pytest.raises(UserError, match=message):
    sentence_pairs.read_xnli(tmp_path)


def test_missing_files_and_unknown_quotes(tmp_path):
  (write_pawsx(tmp_path) / "fr" / "test_2k.tsv").unlink()
  with pytest.raises(UserError, match="fr/test_2k.tsv"):
    sentence_pairs.read_pawsx(tmp_path)
  write(write_pawsx(tmp_path) / "en" / "dev_2k.tsv", PAWSX_HEADER)
  with pytest.raises(UserError, match="dev_2k.tsv has no examples in en"):
    sentence_pairs.read_pawsx(tmp_path)
  with pytest.raises(UserError, match="quotes='csv': expected one of mended, xtreme"):
    sentence_pairs.read_pawsx(write_pawsx(tmp_path), quotes="csv")


@pytest.mark.parametrize(
  ("reader", "write_all", "file"),
  [
    (sentence_pairs.read_xnli, write_xnli, "XNLI-1.0/xnli.test.tsv"),
    (sentence_pairs.read_xnli, write_xnli, "XNLI-MT-1.0/multinli/multinli.train.en.tsv"),
    (sentence_pairs.read_pawsx, write_pawsx, "ko/test_2k.tsv"),
  ],
)
def test_a_damaged_file_is_examples_or_one_line(tmp_path, reader, write_all, file):
  place = write_all(tmp_path) / file

  def read(data):
    place.write_bytes(data)
    return reader(tmp_path)

  read.__name__ = file
  fuzz(read, place.read_bytes(), count=100)
