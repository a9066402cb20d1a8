"""Readers of tagged sentences: formats, multiword tokens by hand, mistakes by file and line."""

import doctest
import gzip

import networkx
import pytest
from etils import epath

from dap_jax.data.texts import split_files as names_of_splits
from dap_jax.data.texts import tagged_sentences, treebanks
from dap_jax.data.texts.split_files import split_files
from dap_jax.evals.measures.chunks import chunk_scores, chunks
from dap_jax.utils.errors import UserError


def row(number, form, tag, head, deps="_"):
  return f"{number}\t{form}\t_\t{tag}\t_\t_\t{head}\t_\t{deps}\t_\n"


# Vamos al mar: 'al' is a + el, of which both hang on 'mar', so they are equally near to the root.
AL_MAR = (
  "# sent_id = 1\n"
  + row(1, "Vamos", "VERB", 0)
  + "2-3\tal" + "\t_" * 8 + "\n"
  + row(2, "a", "ADP", 4)
  + row(3, "el", "DET", 4)
  + row(4, "mar", "NOUN", 1)
  + "\n"
)  # fmt: skip
UNER = "# sent_id = 1\n1\tAnna\tB-PER\t-\t-\n2\tSo\tI-PER\t-\t-\n3\tsings\tO\t-\t-\n\n"
WIKIANN = "en:Anna\tB-PER\nen::\tO\n\nen:Rome\tB-LOC\nen:City\tI-LOC\n\n"


def treebank(folder, text, *, language="es"):
  path = epath.Path(folder) / f"{language}-test.conllu"
  path.write_text(text)
  return list(treebanks.read_treebank(path, language=language))


def of(folder, **files):
  for name, text in files.items():
    path = folder / name.replace("__", ".")
    path.write_text(text)
  return tagged_sentences.read_tagged_sentences(str(folder), train_language="en")


@pytest.mark.parametrize(("language", "tag"), [("es", "ADP"), ("it", "ADP"), ("de", "ADP")])
def test_a_fused_word_has_the_tag_that_goes_first(tmp_path, language, tag):
  """ADP stands before DET in all three lists."""
  (sentence,) = treebank(tmp_path, AL_MAR, language=language)
  assert sentence.words == ["Vamos", "al", "mar"]
  assert sentence.tags == ["VERB", tag, "NOUN"]
  assert sentence.lines == [2, 3, 6]


def test_precedence_differs_by_language(tmp_path):
  """ADV and PRON of one head: XTREME's list of Spanish has no ADV, that of Italian has it first."""
  text = AL_MAR.replace("a\t_\tADP", "a\t_\tADV").replace("el\t_\tDET", "el\t_\tPRON")
  tags = [treebank(tmp_path, text, language=code)[0].tags[1] for code in ("es", "it", "de")]
  assert tags == ["PRON", "ADV", "PRON"]


def test_the_part_nearer_to_the_root_wins(tmp_path):
  """Verb with a clitic: 'se' hangs on 'dar', whatever the precedence of tags."""
  text = "1-2\tdarse" + "\t_" * 8 + "\n" + row(1, "dar", "NOUN", 0) + row(2, "se", "VERB", 1)
  (sentence,) = treebank(tmp_path, text)
  assert (sentence.words, sentence.tags) == (["darse"], ["NOUN"])


def test_enhanced_dependencies_count_as_ancestors(tmp_path):
  """'dar' and 'se' are equally near to the root but for an enhanced edge, one ancestor more."""
  fused = "2-3\tdarse" + "\t_" * 8 + "\n" + row(3, "se", "PRON", 1)
  basic = row(1, "va", "AUX", 0) + row(2, "dar", "VERB", 1, "1:x") + fused
  lines = basic.splitlines(keepends=True)
  assert treebank(tmp_path, "".join([lines[0], lines[2], lines[1], lines[3]]))[0].tags[1] == "VERB"
  enhanced = lines[1].replace("1:x", "1:x|4:y")
  rest = row(4, "a", "ADP", 1)
  text = "".join([lines[0], lines[2], enhanced, lines[3], rest])
  assert treebank(tmp_path, text)[0].tags[1] == "PRON"  # 'dar' has 'a' above it besides


def test_ancestors_are_networkx_ancestors(tmp_path):
  """On graphs with cycles and several parents, drawn at random."""
  import random

  rng = random.Random(0)
  for _ in range(50):
    size = rng.randint(1, 8)
    words = [
      treebanks.Node(i, "a", "X", rng.choices(range(size + 1), k=rng.randint(1, 2)), 1)
      for i in range(1, size + 1)
    ]
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(size + 1))
    graph.add_edges_from((parent, word.id) for word in words for parent in word.parents)
    for word in words:
      expected = len(networkx.ancestors(graph, word.id) - {word.id})
      assert treebanks.count_ancestors(words, word.id) == expected


def test_empty_nodes_blanks_and_missing_tags(tmp_path):
  text = row(1, "20 000", "NUM", 2) + "1.1\tgone" + "\t_" * 8 + "\n" + row(2, "می\u200cرود", "_", 0)
  (sentence,) = treebank(tmp_path, text)
  assert sentence.words == ["20000", "میرود"]
  assert sentence.tags == ["NUM", "X"]


def test_sentences_without_their_words_are_left_out(tmp_path):
  """Kept where fewer than (words - 1) forms are withheld, or none is."""

  def sentence(*forms):
    return "".join(row(i, form, "X", i - 1) for i, form in enumerate(forms, 1)) + "\n"

  text = sentence("_", "_", "a") + sentence("_", "a", "b") + sentence("a") + sentence("_")
  assert [s.words for s in treebank(tmp_path, text)] == [["_", "a", "b"], ["a"]]


def test_a_sentence_occurs_twice(tmp_path):
  with pytest.raises(UserError, match=r"conllu:8: the sent_id '1' is that of line 1 too"):
    treebank(tmp_path, AL_MAR + AL_MAR)


def test_the_three_formats_of_entities_are_one(tmp_path):
  path = tmp_path / "en-train.tsv"
  path.write_text(WIKIANN)
  (tmp_path / "xx_pud-ud-test.iob2").write_text(UNER)
  (tmp_path / "de").mkdir()
  (tmp_path / "de" / "test.gz").write_bytes(gzip.compress(b"Rom\tB-LOC\n\n"))
  read = tagged_sentences.read_tagged_sentences(str(tmp_path), train_language="en")
  assert read.train.words == [["Anna", ":"], ["Rome", "City"]]
  assert read.classes == ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]
  assert read.test["de"].tags == [["B-LOC"]]


def test_names_of_files(tmp_path):
  names = ["UD_Spanish-GSD/es_gsd-ud-test.conllu", "UD_Spanish-AnCora/es_ancora-ud-test.conllu.gz"]
  names += ["UD_Spanish-GSD/es_gsd-ud-test.txt", "train-en.tsv", "pt.dev.tsv", "zh_Hant-test.tsv"]
  names += ["yo/train", "README.md", "notes.tsv", "en-extra.tsv", "train.tsv"]
  for name in names:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("")
  found = split_files(epath.Path(tmp_path))
  assert {key: [path.name for path in paths] for key, paths in found.items()} == {
    ("es", "test"): ["es_ancora-ud-test.conllu.gz", "es_gsd-ud-test.conllu"],
    ("pt", "dev"): ["pt.dev.tsv"],
    ("en", "train"): ["train-en.tsv"],
    ("yo", "train"): ["train"],
    ("zh_Hant", "test"): ["zh_Hant-test.tsv"],
  }


def test_a_share_of_training_for_development(tmp_path):
  lines = "".join(f"w{i}\tNOUN\nx\tVERB\n\n" for i in range(10))
  (tmp_path / "en-dev.tsv").write_text(lines)
  (tmp_path / "en-test.tsv").write_text(lines)
  read = tagged_sentences.read_tagged_sentences(
    str(tmp_path), train_language="en", train_split="dev", dev_share=0.2
  )
  assert [words[0] for words in read.dev.words] == ["w4", "w9"]
  assert len(read.train.words) == 8
  assert read.classes == list(treebanks.UPOS)
  assert read.protocol()["dev_sentences"] == "2, every 5th of training"


# What is wrong with `en-train.tsv` or another file -> the message.
MISTAKES = {
  "en-test.tsv": [
    ("Rome\tB-LOC\textra\n", r"en-test.tsv:1: 3 columns with tabs between, expected two"),
    ("Rome\n", r"en-test.tsv:1: 1 columns"),
    ("a\tO\nRome\tI-LOC\n", r"en-test.tsv:2: I-LOC follows O: expected B-LOC"),
    ("a\tB-PER\nRome\tI-LOC\n", r"en-test.tsv:2: I-LOC follows B-PER"),
    ("a\tO\n\nb\tB-OTH\n", r"en-test.tsv:3: the tag 'B-OTH' is none of .*--ignore_tags=OTH"),
    ("a\tFOO\n", r"en-test.tsv:1: the tag 'FOO' is none of those of training, .*O$"),
    ("a\t \n", r"en-test.tsv:1: the tag is empty"),
    ("\n\n", r"en-test.tsv has no sentence"),
  ],
  "de_x-ud-test.iob2": [
    ("1\ta\tO\t-\n2\tb\tO\n", r"iob2:2: 3 columns with tabs between, expected 4"),
    ("1\ta\n", r"iob2:1: 2 columns"),
    ("1\ta\tO\n1\tb\tO\n", r"iob2:2: the word's id is '1', expected 2"),
    (UNER + UNER, r"iob2:6: the sent_id '1' is that of line 1 too"),
  ],
  "de_x-ud-test.conllu": [
    ("1\ta\n", r"conllu:1: 2 columns with tabs between, expected 10"),
    (row("x", "a", "NOUN", 0), r"conllu:1: no line of CoNLL-U: .*'x' is not a valid ID"),
    (row(1, "a", "NN", 0), r"conllu:1: 'NN' is none of the tags ADJ"),
    (row(2, "a", "NOUN", 0), r"conllu:1: the word's id is 2, expected 1"),
    (row(1, "a", "NOUN", 7), r"conllu:1: its head is none of the 1 words"),
    (row("1-2", "ab", "_", "_") + row(1, "a", "X", 0), r"conllu:1: the range 1-2 overlaps"),
    (row("2-1", "ab", "_", "_") + row(1, "a", "X", 0), r"conllu:1: no line of CoNLL-U"),
    (row("_", "a", "X", 0), r"conllu:1: the line has no id"),
  ],
}


@pytest.mark.parametrize(
  ("name", "text", "message"),
  [(name, *case) for name, cases in MISTAKES.items() for case in cases],
)
def test_mistakes(tmp_path, name, text, message):
  (tmp_path / "en-train.tsv").write_text(WIKIANN)
  (tmp_path / name).write_text(text)
  with pytest.raises(UserError, match=message) as error:
    tagged_sentences.read_tagged_sentences(str(tmp_path), train_language="en")
  assert "\n" not in str(error.value)


def test_mistakes_of_folders(tmp_path):
  def read(**settings):
    settings = {"train_language": "en", **settings}
    return tagged_sentences.read_tagged_sentences(str(tmp_path), **settings)

  with pytest.raises(UserError, match="has no file of a language and split, it has nothing"):
    read()
  (tmp_path / "en-test.tsv").write_text(WIKIANN)
  with pytest.raises(UserError, match="no train split of train_language=en: it has test of it"):
    read()
  (tmp_path / "en-train.tsv").write_text("a\tO\n")
  with pytest.raises(UserError, match="tags of the training split: 1, expected at least 2"):
    read()
  (tmp_path / "en-train.tsv").write_text("a\tB-LOC\nb\tFOO\n")
  with pytest.raises(UserError, match="the tag 'FOO' is neither O nor B-TYPE nor I-TYPE"):
    read()
  (tmp_path / "en-train.tsv").write_text(WIKIANN)
  with pytest.raises(UserError, match="there are only 2 training sentences"):
    read(dev_share=0.1)
  (tmp_path / "en-dev.tsv").write_text(WIKIANN)
  with pytest.raises(UserError, match="en has a development split already"):
    read(dev_share=0.5)
  (tmp_path / "en-test.tsv").unlink()
  with pytest.raises(UserError, match="no test split in any language"):
    read()


def test_ignored_types_are_outside(tmp_path):
  (tmp_path / "en-train.tsv").write_text(WIKIANN)
  (tmp_path / "en-test.tsv").write_text("a\tB-OTH\nb\tI-OTH\n")
  read = tagged_sentences.read_tagged_sentences(str(tmp_path), train_language="en", ignored=["OTH"])
  assert read.test["en"].tags == [["O", "O"]]


def test_examples():
  ran = doctest.testmod(names_of_splits)
  assert ran.attempted and not ran.failed


def test_chunks_by_hand():
  """Each rule of seqeval 0.0.12 once: what begins a chunk, what ends it, tags without prefix."""
  assert list(chunks([["I-A", "I-A", "B-A", "I-B", "O", "S-A", "E-A", "E-A"]])) == [
    *(("A", 0, 1), ("A", 2, 2), ("B", 3, 3), ("A", 5, 5), ("A", 6, 6), ("A", 7, 7))
  ]
  assert list(chunks([["VERB", "VERB"], ["VERB"]])) == [("VERB", 0, 1), ("VERB", 3, 3)]
  gold, guess = [["B-A", "I-A", "O", "B-B"]], [["B-A", "O", "O", "B-B"]]
  assert chunk_scores(gold, guess) == (50, 50, 50)  # one of two right, one of two found
  assert chunk_scores([["O"]], [["O"]]) == (0, 0, 0)


@pytest.mark.parametrize(
  ("task", "golden"), [("panx", 57.50793650793652), ("udpos", 70.21746048354693)]
)
def test_chunks_of_xtremes_mock_files(shared, task, golden):
  """The averages that the benchmark's own `evaluate_test.py` expects."""
  folder = shared / "data" / "xtreme_mock"
  if not folder.is_dir():
    pytest.skip("needs ../shared/data/xtreme_mock, which is absent")
  scores = []
  for labels in sorted((folder / "labels" / task).iterdir()):
    gold, predicted = (
      [[line.split("\t")[-1] for line in part.split("\n")] for part in text.strip().split("\n\n")]
      for text in (labels.read_text(), (folder / "predictions" / task / labels.name).read_text())
    )
    scores.append(chunk_scores(gold, predicted).f1)
  assert sum(scores) / len(scores) == pytest.approx(golden, abs=1e-9)


def test_the_files_at_hand(shared):
  """Universal NER has no types but three, Serbian OTH beside them; every file is read."""
  folder = shared / "data" / "tagging" / "uner"
  if not folder.is_dir():
    pytest.skip("needs ../shared/data/tagging, which is absent")
  options = {"train_language": "en", "train_split": "dev"}
  with pytest.raises(UserError, match=r"sr_set-ud-test.iob2.gz:74: the tag 'B-OTH'"):
    tagged_sentences.read_tagged_sentences(str(folder), **options)
  read = tagged_sentences.read_tagged_sentences(str(folder), **options, ignored=["OTH"])
  assert list(read.test) == ["en", "pt", "sk", "sr", "sv", "zh"]
  assert len(read.train.words) == 2001
