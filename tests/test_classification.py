"""Zero-shot classification on frozen vectors: by hand, on vectors that are known, on real files."""

import gzip
import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dap_jax.data.texts import labelled_texts
from dap_jax.data.texts.labelled_texts import Examples, LabelledTexts
from dap_jax.evals import classification
from dap_jax.utils.errors import UserError
from tests.topics import write, write_topics


class Points:
  """A model whose texts are their own vectors: "3 4" -> [3, 4]."""

  @staticmethod
  def encode(texts):
    return np.array([[float(number) for number in text.split()] for text in texts], np.float32)


def on_two_sides(split, *, flipped=False):
  """Points right of the vertical axis are "yes", those left of it "no"; or the reverse."""
  right, left = ("no", "yes") if flipped else ("yes", "no")
  return [
    *((split, right, f"{x} {y}") for x, y in ((3, 1), (4, -1), (2, 0.5))),
    *((split, left, f"{-x} {y}") for x, y in ((3, 1), (4, -1), (2, 0.5))),
  ]


def test_measures_by_hand():
  """Gold y y y n; predicted y y n n: F1 of y 2*2/(2*2+1) = 4/5, of n 2/(2+1) = 2/3."""
  examples_of_all = Examples(["", "", "", ""], ["y", "y", "y", "n"])
  examples = LabelledTexts(
    train_language="en",
    train=Examples(["", "", ""], ["n", "n", "y"]),  # the most frequent class is n
    dev=examples_of_all,
    test={"en": examples_of_all, "de": examples_of_all, "fr": examples_of_all},
    classes=["n", "y"],
    pairs=False,
    left_out={},
  )
  right = np.array([1, 1, 1, 0])
  predicted = {"en": right, "de": np.array([1, 1, 0, 0]), "fr": right}
  scores = classification.measure(examples, predicted)
  assert scores["accuracy/de"] == 0.75
  assert scores["macro_f1/de"] == pytest.approx((4 / 5 + 2 / 3) / 2)
  assert scores["majority/de"] == 0.25
  assert scores["accuracy/zero_shot_mean"] == pytest.approx((0.75 + 1) / 2)  # without en
  table = classification.result_of(examples, scores, {})
  assert table.rows == ["zero_shot_mean", "en", "fr", "de"]


def test_what_one_language_teaches_is_tested_on_the_others(tmp_path):
  """`aa` has English's sides, `bb` the reverse, `cc` half of either: 1, 0 and 1/2."""
  write(tmp_path, "en", [row for split in ("train", "dev", "test") for row in on_two_sides(split)])
  write(tmp_path, "aa", on_two_sides("test"))
  write(tmp_path, "bb", on_two_sides("test", flipped=True))
  write(tmp_path, "cc", on_two_sides("test") + on_two_sides("test", flipped=True))
  result = classification.evaluate(Points, str(tmp_path), train_language="en")
  accuracy = result.columns["accuracy"]
  expected = {"en": 1.0, "aa": 1.0, "bb": 0.0, "cc": 0.5, "zero_shot_mean": 0.5}
  assert accuracy == pytest.approx(expected)
  assert result.scores["dev_accuracy"] == 1.0
  assert result.protocol["test_examples"] == 6 * 5
  # Nor does another language's own training or dev data change anything: they are not read.
  others = [row for split in ("train", "dev") for row in on_two_sides(split, flipped=True)]
  write(tmp_path, "bb", [*others, *on_two_sides("test", flipped=True)])
  assert classification.evaluate(Points, str(tmp_path), train_language="en") == result


def test_the_strength_is_the_best_on_dev():
  """Against a loop of its own over every strength; noisy labels, so that they differ."""
  rng = np.random.default_rng(0)
  train, dev = rng.normal(size=(2, 60, 20))
  labels, dev_labels = ((x[:, 0] + rng.normal(size=60) > 0).astype(int) for x in (train, dev))
  classifier, accuracy = classification.fit(train, labels, dev=dev, dev_labels=dev_labels)
  each = {
    c: LogisticRegression(C=c, max_iter=5000).fit(train, labels).score(dev, dev_labels)
    for c in classification.STRENGTHS
  }
  assert len(set(each.values())) > 1
  assert accuracy == max(each.values())
  assert min(c for c in each if each[c] == accuracy) == classifier.C


def test_features_of_pairs():
  np.testing.assert_array_equal(
    classification.combine(np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]])),
    [[1, 2, 3, -1, 2, 3, 3, -2]],
  )


def test_pairs_need_both_sides(tmp_path):
  """Whether two points lie on the same side: neither of them tells it, their product does."""
  sides = {"l": "-3 1", "r": "3 1"}

  def rows(split):
    return [
      (split, "same" if a == b else "other", sides[a], sides[b])
      for a, b in ("ll", "rr", "lr", "rl")
      for _ in range(3)
    ]

  header = "split\tlabel\tpremise\thypothesis\n"
  every = [row for split in ("train", "dev", "test") for row in rows(split)]
  write(tmp_path, "en", every, header=header)
  write(tmp_path, "aa", rows("test"), header=header)
  result = classification.evaluate(Points, str(tmp_path), train_language="en")
  assert result.scores["accuracy/aa"] == 1.0
  assert result.protocol["task"] == "pairs of texts"
  write(tmp_path, "bb", on_two_sides("test"))
  with pytest.raises(UserError, match=r"bb\.tsv has single texts, en\.tsv pairs of texts"):
    classification.evaluate(Points, str(tmp_path), train_language="en")


def test_vectors_that_are_no_numbers(tmp_path):
  write(tmp_path, "en", [row for split in ("train", "dev", "test") for row in on_two_sides(split)])
  write(tmp_path, "aa", [*on_two_sides("test"), ("test", "yes", "nan 1")])
  with pytest.raises(UserError, match="1 of [0-9]+ vectors are not finite"):
    classification.evaluate(Points, str(tmp_path), train_language="en")


def test_files(tmp_path):
  """SIB-200's own columns without a header, packed; others in another order with one."""
  rows = "train\t1\ta\tone\ntrain\t2\tb\ttwo\ndev\t3\ta\tthree\ntest\t4\tb\tfour\ntest\t5\ta\t \n"
  (tmp_path / "eng_Latn.tsv.gz").write_bytes(gzip.compress(rows.encode()))
  (tmp_path / "deu_Latn.tsv").write_text(
    "\ufefftext\tsplit\tlabel\nvier\ttest\tb\r\n", encoding="utf-8"
  )
  (tmp_path / "SOURCE.md").write_text("no language")
  examples = labelled_texts.read_labelled_texts(str(tmp_path), train_language="eng_Latn")
  assert examples.train == Examples(["one", "two"], ["a", "b"])
  assert examples.dev == Examples(["three"], ["a"])
  assert examples.test == {
    "eng_Latn": Examples(["four"], ["b"]),
    "deu_Latn": Examples(["vier"], ["b"]),
  }
  assert examples.classes == ["a", "b"]
  assert examples.protocol()["empty_texts_left_out"] == "eng_Latn 1"


GOOD = b"split\tlabel\ttext\ntrain\ta\tone\ntrain\tb\ttwo\ntest\ta\tthree\n"


@pytest.mark.parametrize(
  ("other", "message"),
  [
    (GOOD + b"test\tb\n", r"aa\.tsv:5: 2 columns .*expected 3"),
    (GOOD + b"test\tb\ta\ttab\n", r"aa\.tsv:5: 4 columns"),
    (GOOD + b"validation\tb\tx\n", r"aa\.tsv:5: the split 'validation' is none of train, dev"),
    (GOOD + b"test\t\tx\n", r"aa\.tsv:5: the label is empty"),
    (GOOD + b"test\tc\tx\n", r"aa\.tsv: its test split has the label 'c', .* en only a, b"),
    (GOOD + b"test\ta\t\xff\n", r"aa\.tsv:5: not UTF-8"),
    (b"split\tlabel\ttext\ntest\ta\t \n", "no example with a text in its test split"),
    (b"split\ttext\ntest\tx\n", "expected a header line"),
    (b"split\tlabel\tcategory\ttext\ntest\ta\ta\tx\n", "expected a header line"),
    (b"split\tlabel\ttext\ttext\ntest\ta\tx\ty\n", "expected a header line"),
    (b"one\ttwo\n", r"expected a header line .*found one \| two"),
    (b"", "found nothing"),
  ],
)
def test_bad_files(tmp_path, other, message):
  (tmp_path / "en.tsv").write_bytes(GOOD)
  (tmp_path / "aa.tsv").write_bytes(other)
  with pytest.raises(UserError, match=message):
    labelled_texts.read_labelled_texts(str(tmp_path), train_language="en")


def test_bad_folders(tmp_path):
  read = labelled_texts.read_labelled_texts
  with pytest.raises(UserError, match="is no folder"):
    read(str(tmp_path / "none"), train_language="en")
  with pytest.raises(UserError, match="has no file"):
    read(str(tmp_path), train_language="en")
  (tmp_path / "aa.tsv").write_bytes(GOOD)
  with pytest.raises(UserError, match="train_language=en: .* has no such file; name one of aa"):
    read(str(tmp_path), train_language="en")
  with pytest.raises(UserError, match="aa has no dev split"):
    classification.evaluate(Points, str(tmp_path), train_language="aa")
  (tmp_path / "aa.tsv.gz").write_bytes(gzip.compress(GOOD))
  with pytest.raises(UserError, match="are the same language"):
    read(str(tmp_path), train_language="aa")
  (tmp_path / "bb.tsv").write_bytes(GOOD.replace(b"\tb\t", b"\ta\t"))
  (tmp_path / "aa.tsv").unlink()
  with pytest.raises(UserError, match="classes of its train split: 1, expected at least 2"):
    read(str(tmp_path), train_language="bb")


def test_the_real_topics(shared):
  """31 languages of SIB-200: 701, 99 and 204 sentences of 7 topics in each (its SOURCE.md)."""
  examples = labelled_texts.read_labelled_texts(
    str(shared / "data" / "sib200"), train_language="eng_Latn"
  )
  assert len(examples.train.labels) == 701
  assert len(examples.dev.labels) == 99
  assert [len(split.labels) for split in examples.test.values()] == [204] * 31
  assert len(examples.classes) == 7
  assert not examples.left_out


def test_the_command(commands, tmp_path):
  """English sentences of the commands' corpus and a cipher of them; the noun is the class."""
  for code in ("en", "aa"):
    write_topics(commands.corpus, tmp_path, code)
  scores = tmp_path / "scores.json"
  commands.run(
    "evaluate",
    f"--model={commands.straight}",
    "--suite=classification",
    "--setting=train_language=en",
    f"--data={tmp_path}",
    f"--output={scores}",
  )
  content = json.loads(scores.read_text())
  accuracy = {name.split("/")[-1]: value for name, value in content.items() if "/accuracy/" in name}
  assert set(accuracy) == {"en", "aa", "zero_shot_mean"}
  assert accuracy["en"] > 0.5  # chance is 0.2
