"""XTREME's scorer: on the benchmark's own mock files, by hand, against conlleval's rules.

Expected values: `evaluate_test.py` of google-research/xtreme (../shared/XTREME.md, "Test oracle");
else each test says how its value is worked out.
"""

import json
import random

import pytest

from dap_jax.evals.measures import answers, chunks
from dap_jax.evals.xtreme import tasks
from dap_jax.evals.xtreme.scoring import score
from dap_jax.utils.errors import UserError
from tests import xtreme_folders
from tests.commands import Commands

ORACLE = {
  "pawsx/accuracy": 51.42857142857143,
  "xnli/accuracy": 30.666666666666668,
  "panx/seqeval_0.0.12_f1": 57.50793650793652,
  "panx/seqeval_0.0.12_precision": 54.729166666666664,
  "panx/seqeval_0.0.12_recall": 62.750000000000014,
  "udpos/seqeval_0.0.12_f1": 70.21746048354693,
  "udpos/seqeval_0.0.12_precision": 71.02232625883823,
  "udpos/seqeval_0.0.12_recall": 69.54982073976082,
  "bucc2018/pair_f1": 55.0,
  "tatoeba/from_english_accuracy": 53.611111111111114,
  "xquad/squad_1.1_exact_match": 77.27272727272727,
  "xquad/squad_1.1_f1": 79.9586776859504,
  "mlqa/mlqa_exact_match": 57.142857142857146,
  "mlqa/mlqa_f1": 81.76870748299321,
  "tydiqa/squad_1.1_exact_match": 88.88888888888889,
  "tydiqa/squad_1.1_f1": 97.22222222222223,
}


def score_all(folder, *names):
  labels, predictions = xtreme_folders.write(folder, *names)
  return score.score_folders(str(predictions), str(labels), chosen=names or list(tasks.TASKS))


def test_the_benchmarks_own_averages(shared, tmp_path):
  """Through the command, as a user scores; token accuracy of UDPOS is 74.19 (XTREME.md)."""
  mock, output = shared / "data" / "xtreme_mock", tmp_path / "scores.json"
  places = f"--score={mock}/predictions", f"--labels={mock}/labels"
  said = Commands(tmp_path).run("xtreme", *places, f"--output={output}")
  content = json.loads(output.read_text())
  for name, expected in ORACLE.items():
    assert content[f"eval/xtreme/{name}/mean"] == pytest.approx(expected, abs=1e-9), name
  assert content["eval/xtreme/udpos/token_accuracy/mean"] == pytest.approx(74.19, abs=5e-3)
  question_answering = (
    (77.27272727272727 + 79.9586776859504 + 57.142857142857146 + 81.76870748299321) / 2
    + (88.88888888888889 + 97.22222222222223) / 2
  ) / 3
  groups = {
    "classification": (51.42857142857143 + 30.666666666666668) / 2,
    "structured_prediction": (57.50793650793652 + 70.21746048354693) / 2,
    "question_answering": question_answering,
    "retrieval": (55.0 + 53.611111111111114) / 2,
  }
  for name, expected in groups.items():
    assert content[f"eval/xtreme/group/{name}"] == pytest.approx(expected, abs=1e-9)
  # Two tasks in each group, of question answering three, nine in all.
  overall = (2 * (sum(groups.values()) - question_answering) + 3 * question_answering) / 9
  assert content["eval/xtreme/overall"] == pytest.approx(overall, abs=1e-9)
  assert f"overall{overall:27.3f}" in said
  assert "seqeval 0.0.12" in content["protocol"]["xtreme/udpos"]["metric"]


def test_averages_by_hand(tmp_path):
  """Every language has the files of `xtreme_folders`, but English of PAWS-X, which is all right.

  PAWS-X 1 of 2, and English 2 of 2: (6 x 50 + 100) / 7. XNLI 2 of 3. UDPOS: gold chunks NOUN 0-1,
  VERB 2, VERB, X, predicted NOUN 0-2, VERB, X: 2 hits of 3 and of 4, F1 4/7; 4 of 5 tokens. PANX: 1
  of 1 and of 2, F1 2/3. XQuAD: "house of cards" shares a word of 3 with "house", F1 1/2, and q2 has
  no answer: EM 0, F1 1/4. TyDiQA all right. BUCC: 1 of 3 and of 2: F1 2/5. Tatoeba 2 of 3.
  """
  labels, predictions = xtreme_folders.write(tmp_path)
  (predictions / "pawsx" / "test-en.tsv").write_text("0\n1\n")
  scores = score.score_folders(str(predictions), str(labels), chosen=list(tasks.TASKS)).scores
  figures = {
    "pawsx": 400 / 7,
    "xnli": 200 / 3,
    "udpos": 400 / 7,
    "panx": 200 / 3,
    "xquad": (0 + 25) / 2,
    "tydiqa": 100,
    "bucc2018": 40,
    "tatoeba": 200 / 3,
  }
  # MLQA keeps articles that are not of the language: "a red house" is "the red house" in English
  # alone; elsewhere 2 words of 3 are shared with it, 1 of 3 with "house" (1/2), so F1 is 2/3. In
  # Spanish, German, Arabic, Hindi, Vietnamese, Chinese q1 is thus EM 0, F1 2/3, and q2 right.
  figures["mlqa"] = (100 + 6 * 50) / 7 / 2 + (100 + 6 * (200 / 3 + 100) / 2) / 7 / 2
  for task, expected in figures.items():
    assert scores[f"{task}/figure"] == pytest.approx(expected, abs=1e-9), task
  assert scores["pawsx/accuracy/en"] == 100 and scores["pawsx/accuracy/de"] == 50
  assert scores["udpos/token_accuracy/mean"] == pytest.approx(80)
  assert scores["group/retrieval"] == pytest.approx((40 + 200 / 3) / 2)
  assert scores["overall"] == pytest.approx(sum(figures.values()) / 9)


def test_fewer_tasks_have_no_average_of_what_is_missing(tmp_path):
  scores = score_all(tmp_path, "pawsx", "xnli", "panx").scores
  assert scores["group/classification"] == pytest.approx((50 + 200 / 3) / 2)
  assert not any(name.startswith(("group/structured", "group/re", "overall")) for name in scores)


def by_conlleval(tags):
  """Chunks by the two tables of CoNLL-2000's conlleval, where a chunk ends and where one starts.

  Written out from its rules for B, I, O, E and S, as seqeval 0.0.12 applies them to a tag's first
  letter and to what follows the last hyphen.
  """
  found, begin, before, kind_before = [], 0, "O", ""
  for place, tag in enumerate([*tags, "O"]):
    letter, kind = tag[0], tag.split("-")[-1]
    changed = kind != kind_before
    ends = (before, letter) in {(a, b) for a in "BI" for b in "BSO"} or before in "ES"
    starts = letter in "BS" or (before, letter) in {(a, b) for a in "ESO" for b in "EI"}
    if ends or (before not in "O." and changed):
      found.append((kind_before, begin, place - 1))
    if starts or (letter not in "O." and changed):
      begin = place
    before, kind_before = letter, kind
  return set(found)


@pytest.mark.parametrize("task", ["panx", "udpos"])
def test_chunks_are_those_of_conlleval(task):
  """On 500 random sequences of all tags of a task, BIO errors among them."""
  rng = random.Random(0)
  for _ in range(500):
    tags = rng.choices(tasks.TASKS[task].classes, k=rng.randrange(12))
    assert set(chunks.chunks([tags])) == by_conlleval(tags), tags


def test_parts_of_speech_are_runs_but_for_those_that_begin_with_s():
  tags = ["NOUN", "NOUN", "SCONJ", "SCONJ", "INTJ", "INTJ", "O", "X", "X"]
  assert set(chunks.chunks([tags])) == {
    *(("NOUN", 0, 1), ("SCONJ", 2, 2), ("SCONJ", 3, 3)),
    *(("INTJ", 4, 5), ("X", 7, 8)),
  }


def test_a_run_does_not_cross_sentences():
  """NOUN | NOUN are two chunks; of one sentence they would be one, and wrong."""
  scores = chunks.chunk_scores([["NOUN"], ["NOUN"]], [["NOUN"], ["VERB"]])
  assert scores == (50, 50, 50)


@pytest.mark.parametrize(
  ("language", "text", "expected"),
  [
    ("en", "The  U.S. — an ally of a theatre", "us ally of theatre"),
    ("es", "Los «lagos» del Sur, la Pampa", "lagos del sur pampa"),
    ("de", "Der Dom zu Köln und das Rathaus", "dom zu köln und rathaus"),
    ("vi", "những cái nhà của ông là", "nhà ông"),
    ("ar", "في المدينة والبلد", "في مدينة و بلد"),  # the article goes from inside words, too
    ("hi", "वह a घर है।", "वह a घर है"),
    ("zh", "在2008年，the奥运会", "在 2008 年 the 奥 运 会"),
  ],
)
def test_mlqa_by_language(language, text, expected):
  """By the rules of XTREME.md ("EM/F1"), worked by hand."""
  assert answers.normalise_mlqa(text, language=language) == expected


def test_squad_is_english_for_every_language():
  """ASCII punctuation goes, the danda and articles of other languages stay."""
  assert answers.normalise_squad("Die «Straße»; the (end)।") == "die «straße» end।"


def test_the_best_answer_counts_and_a_missing_one_is_zero():
  """q1: "red house" is 2 of 2 and of 3 words of "big red house", F1 4/5; q2 has none."""
  gold = {"q1": ["house", "big red house"], "q2": ["x"]}
  scores = answers.answer_scores(gold, {"q1": "Red house."}, normalise=answers.normalise_squad)
  assert scores == pytest.approx((0, 40))


@pytest.mark.parametrize(
  ("task", "kind", "content", "message"),
  [
    ("xnli", "predictions", "neutral\n", "has 1 lines, the labels .* have 3: expected equally"),
    ("xnli", "predictions", "neutral\nyes\nneutral\n", ":2: expected one of contra.*found 'yes'"),
    ("xnli", "labels", "neutral\n\nneutral\n", ":2: expected one of .*; found an empty line"),
    ("xnli", "predictions", "", "is empty: expected a line for each example"),
    ("xnli", "predictions", "neutral\nneu\0tral\n", r":2: .*found 'neu\\x00tral'"),
    ("xnli", "predictions", b"neutral\n\xff\n", ":2: not UTF-8"),
    ("xnli", "predictions", "neutral".encode("utf-16"), "it is UTF-16"),
    ("pawsx", "predictions", "entailment\n0\n", ":1: expected one of 0, 1"),
    ("panx", "predictions", "B-PER\nI-PER\nO\n\nB-GPE\n", ":5: expected a tag alone.*'B-GPE'"),
    (
      "panx",
      "predictions",
      "B-PER\n\nO\nO\nO\n",
      ":2: .*predictions.* ends a sentence here, .*lab",
    ),
    ("panx", "predictions", "B-PER\nI-PER\nO\nO\n", ":4: .*labels.* ends a sentence here, .*pred"),
    ("panx", "predictions", "B-PER\nI-PER\nO\n", "has 3 lines, the labels .* have 5"),
    ("udpos", "labels", "NOUN\tdog\n", r":1: expected a tag alone, .*found 'NOUN\\tdog'"),
    ("bucc2018", "predictions", "en-1\tde-1\n", ":1: expected de-ID, a tab, en-ID"),
    ("tatoeba", "predictions", "1\n-1\n3\n", ":2: expected the number of a row, from 0"),
    ("tydiqa", "predictions", "{", "cannot read .*line 1 column 2"),
    ("tydiqa", "predictions", "{}", "has no answers"),
    ("tydiqa", "predictions", "[]", "expected a JSON object"),
    ("tydiqa", "predictions", '{"q1": "a", "q1": "b"}', "the key 'q1' occurs twice"),
    ("tydiqa", "predictions", '{"q9": "a"}', "the labels have no question 'q9'"),
    ("tydiqa", "predictions", '{"q1": 3}', "the answer to 'q1': expected a text"),
    ("tydiqa", "labels", '{"data": []}', "has no questions"),
    ("tydiqa", "labels", '{"data": [{"paragraphs": 3}]}', r"data\[0\]: .*'paragraphs', a list"),
    ("tydiqa", "labels", xtreme_folders.squad({"q": []}), r"qas\[0\] has no answer"),
  ],
)
def test_damaged_files(tmp_path, task, kind, content, message):
  xtreme_folders.write(tmp_path, task)
  code = min(tasks.TASKS[task].languages)
  path = tasks.file_of(tmp_path / kind, task, code)
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  with pytest.raises(UserError, match=message):
    score.score_folders(str(tmp_path / "predictions"), str(tmp_path / "labels"), chosen=[task])


def test_a_repeated_question_is_refused(tmp_path):
  labels, predictions = xtreme_folders.write(tmp_path, "xquad")
  path = labels / "xquad" / "test-ar.json"
  content = json.loads(path.read_text())
  content["data"] *= 2
  path.write_text(json.dumps(content))
  with pytest.raises(UserError, match=r"data\[1\].paragraphs\[0\].qas\[0\]: the id 'q1' occurs a"):
    score.score_folders(str(predictions), str(labels), chosen=["xquad"])


def test_empty_lines_at_the_end_of_tags_do_not_count(tmp_path):
  labels, predictions = xtreme_folders.write(tmp_path, "panx")
  for path in (labels / "panx").iterdir():
    path.write_text(path.read_text() + "\n\n")
  scores = score.score_folders(str(predictions), str(labels), chosen=["panx"]).scores
  assert scores["panx/figure"] == pytest.approx(200 / 3)


def test_holes_are_named_in_one_line(tmp_path):
  """Whole tasks and single languages, of predictions and of labels; nothing is written."""
  labels, predictions = xtreme_folders.write(tmp_path, "pawsx", "xnli", "bucc2018")
  (predictions / "xnli" / "test-sw.tsv").unlink()
  (predictions / "xnli" / "test-ur.tsv").unlink()
  (labels / "bucc2018" / "test-de.tsv").unlink()
  output, commands = tmp_path / "scores.json", Commands(tmp_path)
  flags = f"--score={predictions}", f"--labels={labels}", f"--output={output}"
  line = commands.fail("xtreme", *flags, "--tasks=xnli,bucc2018,panx")
  assert f"the predictions {predictions} lack xnli (sw ur), panx (all)" in line
  assert f"the labels {labels} lack panx (all), bucc2018 (de)" in line
  assert not output.exists()
  commands.run("xtreme", *flags, "--tasks=pawsx")
  assert json.loads(output.read_text())["eval/xtreme/pawsx/figure"] == 50


def test_wrong_flags(tmp_path):
  commands = Commands(tmp_path)
  assert "--score and --labels are both needed" in commands.fail("xtreme", status=2)
  places = f"--score={tmp_path}", f"--labels={tmp_path}"
  assert "'qa': expected some of pawsx" in commands.fail("xtreme", *places, "--tasks=qa")
  assert "each once" in commands.fail("xtreme", *places, "--tasks=xnli,xnli")
  line = commands.fail("xtreme", *places, "--max_tokens=9", status=2)
  assert "--score and --max_tokens exclude each other" in line
  none = f"--score={tmp_path}/none", f"--labels={tmp_path}"
  assert "none is no folder" in commands.fail("xtreme", *none)
