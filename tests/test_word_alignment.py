"""Word alignment: AER by hand, files, the real gold alignments."""

import json

import pytest

from dap_jax.evals import word_alignment
from dap_jax.utils.errors import UserError


def test_aer_by_hand():
  """A = {00, 11, 20, 22}, S = {00, 11}, P = S + {22}: |A n S| = 2, |A n P| = 3, so

  precision 3/4, recall 2/2, AER 1 - (2 + 3) / (4 + 2) = 1/6.
  """
  sure = {(0, 0), (1, 1)}
  pair = word_alignment.Pair(["a"] * 3, ["b"] * 3, sure, sure | {(2, 2)})
  counts = word_alignment.compare({(0, 0), (1, 1), (2, 0), (2, 2)}, pair)
  assert counts == (4, 2, 2, 3)
  assert counts.scores() == {
    "aer": pytest.approx(1 / 6),
    "precision": pytest.approx(3 / 4),
    "recall": pytest.approx(1.0),
  }
  # Sentences add up before anything is divided: one more of 2 links, none right, 2 sure ones:
  # AER 1 - 5 / (6 + 4) = 1/2, where the mean of both sentences' AER would be 7/12.
  both = counts.add(word_alignment.Counts(2, 2, 0, 0))
  assert both.scores()["aer"] == pytest.approx(1 / 2)
  assert both.scores()["precision"] == pytest.approx(3 / 6)
  nothing = word_alignment.Counts(0, 2, 0, 0).scores()
  assert nothing == {"aer": 1.0, "precision": 0.0, "recall": 0.0}


def write(folder, texts, gold):
  (folder / "aaen.src-tgt").write_text(texts)
  (folder / "aaen.gold").write_text(gold)


def test_files(tmp_path):
  write(tmp_path, "a b ||| c d e\nf ||| g\n", "1-1 2p3 2-4\n1-1\n")
  corpus = word_alignment.read_alignments(tmp_path, first_index=1)["aaen"]
  assert corpus.pairs[0] == (["a", "b"], ["c", "d", "e"], {(0, 0)}, {(0, 0), (1, 2)})
  assert corpus.ignored == 1  # 2-4: the target has three words
  write(tmp_path, "a b ||| c d e\nf ||| g\n", "0-0 1p2\n0-0\n")
  zero = word_alignment.read_alignments(tmp_path, first_index=0)["aaen"]
  assert zero.pairs == corpus.pairs and zero.ignored == 0


@pytest.mark.parametrize(
  ("texts", "gold", "message"),
  [
    ("a ||| b\n", "0-0\n", r"src-tgt:1, its gold: 0-0 counts words from 0; set first_index=0"),
    ("a ||| b\n", "1:1\n", "'1:1' is neither i-j nor ipj"),
    ("a | b\n", "1-1\n", "src-tgt:1: expected `source words"),
    ("a ||| b\n ||| c\n", "1-1\n1-1\n", "src-tgt:2: expected `source words"),
    ("a ||| b\n", "1-1\n1-1\n", "has 1 lines, aaen.gold 2"),
    ("a ||| b\n", "1p1\n", "has no sure link"),
  ],
)
def test_mistakes(tmp_path, texts, gold, message):
  write(tmp_path, texts, gold)
  with pytest.raises(UserError, match=message):
    word_alignment.read_alignments(tmp_path, first_index=1)


@pytest.mark.parametrize("inside", ["\u00a0", "\u3000", "\u2009", "\x85"])
def test_words_are_split_at_spaces_alone(tmp_path, inside):
  """Aligners count words between U+0020: another blank is a part of its word."""
  pair, beyond = word_alignment.parse_pair(
    f"10{inside}km weit  ||| far", "2-1", first_index=1, where=""
  )
  assert pair == ([f"10{inside}km", "weit"], ["far"], {(1, 0)}, {(1, 0)}) and beyond == 0


def test_files_that_are_absent(tmp_path):
  with pytest.raises(UserError, match="has no files NAME.src-tgt"):
    word_alignment.read_alignments(tmp_path, first_index=1)
  (tmp_path / "aaen.src-tgt").write_text("a ||| b\n")
  with pytest.raises(UserError, match="aaen.gold"):
    word_alignment.read_alignments(tmp_path, first_index=1)


def test_the_real_gold(shared):
  """1,817 pairs. Where words lie between U+0020, one link runs past a sentence's end: en-hi's line
  41, 33-34. The data's README counts 7: it splits at ideographic spaces too, which leaves Japanese
  sentences too short for 6 of their links.
  """
  corpora = word_alignment.read_alignments(shared / "data" / "word_alignment", first_index=1)
  sizes = {name: len(corpus.pairs) for name, corpus in corpora.items()}
  assert sizes == {"enfr": 447, "enhi": 90, "jaen": 582, "roen": 248, "zhen": 450}
  assert sum(corpus.ignored for corpus in corpora.values()) == 1


def test_the_command(commands, tmp_path):
  """A text aligned with itself: every word finds itself, in every layer, pieces or words."""
  write(tmp_path, "the red page opens ||| the red page opens\n" * 2, "1-1 2-2 3-3 4-4\n" * 2)
  scores = tmp_path / "scores.json"
  flags = [f"--model={commands.straight}", "--suite=word_alignment", f"--data={tmp_path}"]
  commands.run("evaluate", *flags, "--setting=unit_of_alignment=word", f"--output={scores}")
  content = json.loads(scores.read_text())
  name = "eval/word_alignment[unit_of_alignment=word]"
  assert content[f"{name}/aer/aaen"] == 0.0 and content[f"{name}/recall/mean"] == 1.0
  assert content[f"{name}/aer_layer_0/aaen"] == content[f"{name}/aer_layer_1/aaen"] == 0.0
  message = commands.fail("evaluate", *flags, "--setting=layer=7", status=1)
  assert "layers 0 (embeddings) to 1" in message
  message = commands.fail("evaluate", *flags, "--setting=threshold=nan", status=1)
  assert "threshold=nan: expected" in message
