"""XTREME's nine tasks through the command, on small files in every language of each.

Expected values: the benchmark's table of numbers (../shared/XTREME.md, C1), what `finetune` writes
of the same task, and counts of the files' own lines.
"""

import json

import pytest

from dap_jax.evals.xtreme import tasks
from dap_jax.evals.xtreme.tasks import TASKS
from dap_jax.training.xtreme import data, protocols
from dap_jax.utils.errors import UserError
from tests.test_xtreme_readers import write, write_pawsx, write_xnli
from tests.test_xtreme_retrieval import write_data

SENTENCE = [("The", "DET"), ("user", "NOUN"), ("opens", "VERB"), ("it", "PRON")]
NAMES = [("Old", "O"), ("New", "B-LOC"), ("York", "I-LOC"), ("Anna", "B-PER"), ("UN", "B-ORG")]
CONTEXT = "The red user opens the old file."


def write_squad(path, *names):
  """A question for each name, the answer to each `user`."""
  answer = [{"text": "user", "answer_start": 8}]
  qas = [{"id": name, "question": f"who opens {name}?", "answers": answer} for name in names]
  content = {"data": [{"title": "", "paragraphs": [{"context": CONTEXT, "qas": qas}]}]}
  write(path, json.dumps(content))


def write_all(folder, corpus):
  """The files of all nine tasks."""
  write_data(folder, corpus)
  write_xnli(folder / "xnli")
  write_pawsx(folder / "pawsx")
  for task, split in (("udpos", "tags"), ("panx", "names")):
    rows = SENTENCE if split == "tags" else NAMES
    lines = [f"{word}\t{tag}" for word, tag in rows]
    for code in TASKS[task].languages:
      splits = ("train", "dev", "test") if code == "en" else ("test",)
      for name in splits:
        write(folder / task / f"{code}-{name}.tsv", *lines, "", *lines[:2])
  write_squad(folder / "squad" / "train-v1.1.json", "s1", "s2")
  for code in TASKS["xquad"].languages:
    write_squad(folder / "xquad" / f"xquad.{code}.json", "x1", "x2")
  for code in TASKS["mlqa"].languages:
    write_squad(folder / "mlqa" / "test" / f"test-context-{code}-question-{code}.json", "m1")
  write_squad(folder / "tydiqa" / data.TYDI_TRAIN, "english-1", "english-2", "korean-1")
  for name in data.TYDI_LANGUAGES.values():
    write_squad(folder / "tydiqa" / data.TYDI_TEST.format(name), f"{name}-9")
  return folder


def test_the_benchmarks_numbers():
  """XNLI, PAWS-X, UDPOS, PANX, SQuAD and TyDiQA: rows of the table, column by column."""
  rows = {
    "xnli": (2e-5, 5, 128, 100, 42, 0, 0.0),
    "pawsx": (2e-5, 5, 128, 200, 42, 0, 0.0),
    "udpos": (2e-5, 10, 128, 500, 1, 0, 0.0),
    "panx": (2e-5, 10, 128, 1000, 1, 0, 0.0),
    "squad": (3e-5, 3, 384, 0, 42, 500, 1e-4),
    "tydiqa": (3e-5, 3, 384, 0, 42, 500, 1e-4),
  }
  assert {name: each[2:] for name, each in protocols.PROTOCOLS.items()} == rows
  assert protocols.runs_of(["mlqa", "tatoeba", "panx"]) == ["panx", "squad"]


def test_what_differs_is_named():
  def named(task, name, *, quotes="xtreme", **changes):
    options = {"model": "m", "data": "d", "most_tokens": 512, "seed": None, "step": "newest"}
    options |= {"compute_dtype": "", **changes}
    settings = protocols.settings_of(name, **options)
    return protocols.differences(task, settings, quotes=quotes)

  assert named("xnli", "xnli") == named("udpos", "udpos") == {}
  assert named("xnli", "xnli", quotes="mended") == {"quotes": "mended"}
  assert named("udpos", "udpos", quotes="mended", seed=1) == {}  # 1 is the benchmark's
  assert named("udpos", "udpos", seed=42, most_tokens=60) == {"max_tokens": 60, "seed": 42}
  assert named("mlqa", "squad") == {"windows": "characters"}
  assert named("panx", "panx", compute_dtype="bfloat16") == {"compute_dtype": "bfloat16"}


@pytest.mark.slow
def test_all_nine_tasks(commands, tmp_path):
  folder, work = write_all(tmp_path / "data", commands.corpus), tmp_path / "work"
  flags = f"--model={commands.straight}", f"--data={folder}", f"--workdir={work}", "--layer=1"
  said = commands.run("xtreme", *flags)
  assert "overall" in said
  scores = json.loads((work / "scores.json").read_text())
  (overall,) = (value for key, value in scores.items() if key.endswith("/overall"))
  figures = [value for key, value in scores.items() if key.endswith("/figure")]
  assert len(figures) == 9 and overall == pytest.approx(sum(figures) / 9)
  counts = {"xnli": 1, "pawsx": 2, "udpos": 7, "panx": 8}  # lines of a file; sentences end in one
  for task, count in counts.items():
    for code in TASKS[task].languages:
      for kind in ("predictions", "labels"):
        path = tasks.file_of(work / kind, task, code)
        more = task == "xnli" and code == "de"  # has a second example
        assert len(path.read_text().splitlines()) == count + more, path
  answers = json.loads((work / "predictions" / "mlqa" / "test-zh.json").read_text())
  assert list(answers) == ["m1"]
  # The same fine-tuning says the same of a language as the benchmark's score of its predictions.
  own = json.loads((work / "udpos" / "scores.json").read_text())
  (own_f1,) = (value for key, value in own.items() if key.endswith("/f1/de"))
  (f1,) = (v for k, v in scores.items() if "udpos/seqeval_0.0.12_f1/de" in k)
  assert f1 == pytest.approx(100 * own_f1)

  again = commands.run("xtreme", *flags[:3], "--tasks=udpos,xquad,mlqa")
  steps = (work / "udpos" / "metrics.jsonl").read_text().splitlines()
  assert "overall" not in again and len(steps) == len(set(steps))
  rescored = json.loads((work / "scores.json").read_text())
  for key, value in rescored.items():
    if key.startswith("eval/"):
      assert scores[key] == value


def test_what_is_missing_is_said_before_anything_is_trained(commands, tmp_path):
  folder = write_all(tmp_path / "data", commands.corpus)
  (folder / "udpos" / "en-dev.tsv").unlink()
  (folder / "udpos" / "zh-test.tsv").unlink()
  (folder / "squad" / "train-v1.1.json").unlink()
  (folder / "pawsx" / "ko" / "test_2k.tsv").unlink()
  flags = f"--model={commands.straight}", f"--data={folder}", f"--workdir={tmp_path}/work"
  line = commands.fail("xtreme", *flags, "--layer=1")
  for part in ("ko/test_2k.tsv", "udpos: en dev", "udpos: zh test", "squad/train-v1.1.json"):
    assert part in line
  assert "is --data" in commands.fail(
    "xtreme", *flags[:2], f"--workdir={folder}", "--layer=1", "--tasks=tatoeba"
  )
  for flag, task in (("layer=1", "panx"), ("seed=1", "tatoeba"), ("quotes=mended", "panx,mlqa")):
    line = commands.fail("xtreme", *flags, f"--{flag}", f"--tasks={task}", status=2)
    assert f"--{flag.partition('=')[0]} has no effect on" in line
  with pytest.raises(UserError, match="and 72 more"):  # of 2 + 33 and 2 + 40
    data.check(["udpos", "panx"], str(tmp_path / "nowhere"), chosen=["udpos", "panx"])
  assert not (tmp_path / "work").exists()
