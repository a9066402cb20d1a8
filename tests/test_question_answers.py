"""Questions: SQuAD's files, windows by characters, spans by hand, EM and F1."""

import json

import numpy as np
import pytest
from etils import epath

from dap_jax.data.texts import question_answers
from dap_jax.data.texts.question_answers import Question, QuestionAnswers
from dap_jax.data.texts.split_files import language_and_split
from dap_jax.data.tokenizer import Tokenizer, Window
from dap_jax.evals.measures.answers import answer_scores, normalise_squad, token_f1
from dap_jax.training.finetuning import questions
from dap_jax.utils.errors import UserError
from tests.commands import lines_of


def squad(*rows):
  """rows: id, question, context, answer, start -> the content of a file."""
  paragraphs = [
    {
      "context": context,
      "qas": [
        {"id": name, "question": asked, "answers": [{"text": answer, "answer_start": start}]}
      ],
    }
    for name, asked, context, answer, start in rows
  ]
  return {"data": [{"paragraphs": paragraphs}]}


ROW = ("q1", "who opens it?", "the red user opens it", "red user", 4)


def test_a_file_is_read(tmp_path):
  for name in ("train-v1.1.json", "xquad.zh.json"):
    (tmp_path / name).write_text(json.dumps(squad(ROW)))
  read = question_answers.read_question_answers(str(tmp_path), train_language="en")
  assert read.train == [Question("q1", ROW[1], ROW[2], [("red user", 4)])]
  assert list(read.test) == ["zh"] and read.dev == []


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("train-v1.1.json", ("en", "train")),
    ("dev-v1.1.json", ("en", "dev")),
    ("xquad.de.json", ("de", "test")),
    ("test-context-ar-question-ar.json", ("ar", "test")),
    ("test-context-ar-question-de.json", None),  # across languages, which XTREME does not score
    ("ko-test.json", ("ko", "test")),
  ],
)
def test_names_of_files(name, expected):
  assert language_and_split(name, folder="") == expected


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("{", "is no JSON"),
    ([], r"expected 'data' with a list"),
    ({"data": []}, "has no question"),
    ({"data": [{"paragraphs": 3}]}, r"data\[0\]: expected 'paragraphs' with a list"),
    (squad((*ROW[:4], 5)), r"'q1': the answer 'red user' does not stand at character 5 .*'ed user"),
    (squad((*ROW[:4], -4)), "does not stand at character -4"),
    (squad((*ROW[:4], 400)), "does not stand at character 400"),
    (squad((*ROW[:3], "", 0)), "the answer '' does not stand"),
    (squad((*ROW[:4], "4")), r"qas\[0\].answers: expected 'answer_start' with a whole number"),
    (squad((*ROW[:4], True)), "expected 'answer_start' with a whole number"),
    (squad(ROW, ROW), "two questions have the id 'q1'"),
  ],
)
def test_mistakes(tmp_path, content, message):
  path = tmp_path / "en-train.json"
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  with pytest.raises(UserError, match=message) as error:
    question_answers.read_file(epath.Path(path))
  assert "\n" not in str(error.value)


def test_scores_are_squads():
  """Worked by hand: articles and punctuation do not count; F1 of shared words; the best answer."""
  assert normalise_squad("The  U.S. Senate, an office!") == "us senate office"
  assert token_f1("red user", "user red page") == pytest.approx(100 * 2 * 2 / (2 + 3))
  assert token_f1("", "") == 0.0
  right = {"a": ["red user", "page"], "b": ["file"], "c": ["word"]}
  predicted = {"a": "a Page.", "b": "old file"}  # c has no prediction
  scores = answer_scores(right, predicted, normalise=normalise_squad)
  assert scores.exact_match == pytest.approx(100 / 3)
  assert scores.f1 == pytest.approx(100 * (1 + 2 / 3 + 0) / 3)


def test_ends_of_an_answer():
  """Of the second and third token of a context; not where the window cuts into it."""
  spans = [None, None, (10, 13), (13, 17), (18, 20), None]
  assert questions.ends_of(spans, 13, 20) == (3, 4)
  assert questions.ends_of(spans, 14, 16) == (3, 3)  # inside a token
  assert questions.ends_of(spans, 8, 12) == (0, 0)
  assert questions.ends_of(spans, 18, 22) == (0, 0)
  assert questions.ends_of(spans, 30, 32) == (0, 0)


def test_the_best_answer_over_windows():
  """Of the largest sum whose end is not before its start; an answer of 31 tokens is too long."""
  context = "abcdefgh" * 8
  spans = [None, *((i, i + 1) for i in range(40)), None]
  window = Window(list(range(42)), [0] * 42, spans)
  logits = np.zeros((42, 2), np.float32)
  logits[5, 0], logits[3, 1], logits[7, 1] = 5, 9, 4
  assert questions.best_answer(context, [(window, logits)]) == context[4:7]
  logits[36, 1] = 8  # 32 tokens from 5
  assert questions.best_answer(context, [(window, logits)]) == context[4:7]
  logits[34, 1] = 8  # 30 tokens
  assert questions.best_answer(context, [(window, logits)]) == context[4:34]
  other = np.zeros((42, 2), np.float32)
  other[1] = 50
  assert questions.best_answer(context, [(window, logits), (window, other)]) == "a"
  logits[0] = 99  # no token of the context
  assert questions.best_answer(context, [(window, logits)]) == context[4:34]


def task_on(rows, tokenizer, max_tokens):
  asked = [Question(*row[:3], [row[3:]]) for row in rows]
  data = QuestionAnswers("en", asked, asked, {"en": asked})
  tokens = Tokenizer.load(tokenizer, max_tokens=max_tokens)
  return questions.QuestionsTask(questions=data, tokens=tokens, has_types=False)


def test_labels_decode_to_the_answers(commands, monkeypatch):
  """Over windows that overlap; a head that puts all on the labels answers every question."""
  monkeypatch.setattr(questions, "STRIDE", 4)
  context = "the red page opens it  the old user keeps them the new file finds more"
  rows = [
    (str(start), "who?", context, answer, context.index(answer))
    for start, answer in enumerate(("red page", "old user", "file", "the new"))
  ]
  task = task_on(rows, commands.straight / "tokenizer", 24)
  sequences = task.train()
  assert len(sequences.ids) > 2 * len(rows)
  assert all(len(ids) <= 24 for ids in sequences.ids)
  assert set(sequences.labels) - {(0, 0)}

  def perfect(asked):
    logits = []
    for ids, (first, last) in zip(asked.ids, sequences.labels, strict=True):
      values = np.zeros((len(ids), 2), np.float32)
      values[first, 0] = values[last, 1] = 9.0
      logits.append(values)
    return logits

  result, texts = task.evaluate(perfect)
  assert result.scores["exact_match/en"] == 1.0
  assert json.loads(texts["en"]) == {row[0]: row[3] for row in rows}
  assert task.dev_scores(perfect) == {"eval/dev/exact_match": 1.0, "eval/dev/f1": 1.0}


def test_every_character_of_a_context_is_in_a_window(commands):
  tokens = Tokenizer.load(commands.straight / "tokenizer", max_tokens=16)
  context = "the red page opens it " * 9
  windows = tokens.windows("who? " * 50, context, step=5, most_of_question=4)
  covered = {i for window in windows for span in window.spans if span for i in range(*span)}
  assert {i for i, character in enumerate(context) if character != " "} <= covered
  assert len(tokens.encode_ragged(["the red page " * 9])[0]) == 16  # the tokenizer is as before


@pytest.mark.slow
def test_it_learns_where_an_answer_is(commands, tmp_path):
  """The noun of a sentence is its answer: chance is one word of five."""
  data, run = tmp_path / "data", tmp_path / "run"
  data.mkdir()
  lines = [line.split("\t")[1] for line in (commands.corpus / "en.tsv").read_text().splitlines()]
  order = np.random.default_rng(0).permutation(len(lines))
  for split, part in (("train", order[:300]), ("dev", order[300:340]), ("test", order[340:])):
    rows = []
    for number in part:
      noun = lines[number].split()[2]
      rows.append((str(number), "what?", lines[number], noun, lines[number].index(noun)))
    (data / f"en-{split}.json").write_text(json.dumps(squad(*rows)))
  commands.run(
    "finetune",
    *("--task=questions", f"--model={commands.straight}", f"--data={data}", f"--workdir={run}"),
    *("--epochs=6", "--batch_size=16", "--learning_rate=5e-3", "--max_tokens=20"),
    "--eval_steps=38",
  )
  scores = json.loads((run / "scores.json").read_text())
  ((suite, _),) = scores["protocol"].items()
  assert scores[f"eval/{suite}/exact_match/en"] > 0.9
  assert any("eval/dev/f1" in line for line in lines_of(run))
