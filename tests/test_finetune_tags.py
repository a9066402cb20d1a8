"""Fine-tuning for tags as a user runs it: what it learns, what it writes, what it exports."""

import json

import numpy as np
import pytest
import torch
import transformers

from dap_jax.data.texts import tagged_sentences
from dap_jax.data.texts.tagged_sentences import Split, TaggedSentences
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.training.finetuning.tags import TagsTask, measure
from tests.commands import lines_of

TAGS = ("DET", "ADJ", "NOUN", "VERB", "PRON")  # of the corpus's grammar, by the place of a word


def write_tags(corpus, folder, code, split, rows):
  lines = (corpus / f"{code}.tsv").read_text().splitlines()
  sentences = [lines[row].split("\t")[1].split() for row in rows]
  blocks = [
    "".join(f"{word}\t{tag}\n" for word, tag in zip(words, TAGS, strict=True))
    for words in sentences
  ]
  (folder / f"{code}-{split}.tsv").write_text("\n".join(blocks), encoding="utf-8")


@pytest.fixture
def data(commands, tmp_path):
  folder = tmp_path / "data"
  folder.mkdir()
  order = np.random.default_rng(0).permutation(480)
  write_tags(commands.corpus, folder, "en", "train", order[:240])
  write_tags(commands.corpus, folder, "en", "dev", order[240:280])
  write_tags(commands.corpus, folder, "en", "test", order[280:360])
  write_tags(commands.corpus, folder, "aa", "test", order[280:320])
  return folder


def task_on(words, tags, *, tokenizer, max_tokens):
  split = Split(words, tags)
  sentences = TaggedSentences(
    train_language="en",
    train=split,
    dev=Split([], []),
    test={"en": split},
    classes=sorted({tag for of_sentence in tags for tag in of_sentence}),
    are_entities=False,
    train_split="en train",
    dev_split="",
  )
  return TagsTask(sentences=sentences, tokens=Tokenizer.load(tokenizer, max_tokens=max_tokens))


def test_long_sentences_are_cut_into_several_and_joined(commands):
  """Labels stand on first pieces; every word keeps its tag, in its order, within the limit."""
  words = [["the", "red", "page"] * 7, ["", "x" * 90, "user"], ["a"]]
  tags = [["D", "A", "N"] * 7, ["X", "Y", "N"], ["D"]]
  task = task_on(words, tags, tokenizer=commands.straight / "tokenizer", max_tokens=8)
  sequences = task.train()
  assert len(sequences.ids) > 3
  labels = []
  for ids, of_ids in zip(sequences.ids, sequences.labels, strict=True):
    assert len(ids) == len(of_ids) <= 8
    assert (ids[0], ids[-1]) == (task.tokens.cls_id, task.tokens.sep_id)
    labels += [task.classes[label] for label in of_ids if label >= 0]
  assert labels == [tag for of_sentence in tags for tag in of_sentence]
  unknown = [ids.count(task.tokens.unk_id) for ids in sequences.ids]
  assert sum(unknown) >= 2  # the empty word, and the one of more pieces than fit

  def perfect(asked):
    numbers = iter(label for of_ids in sequences.labels for label in of_ids)
    return [np.eye(len(task.classes))[[next(numbers) for _ in ids]] for ids in asked.ids]

  result, texts = task.evaluate(perfect)
  assert result.scores["accuracy/en"] == result.scores["f1/en"] == 1.0
  assert texts["en"].endswith("\n\na\tD\n")


def test_pieces_are_those_of_each_word_alone(commands):
  """As transformers' tokenizer gives them without special tokens."""
  folder = commands.straight / "tokenizer"
  peer = transformers.AutoTokenizer.from_pretrained(folder)
  words = ["opens", "page", "groupword", ""]
  expected = [peer(word, add_special_tokens=False)["input_ids"] for word in words]
  assert Tokenizer.load(folder, max_tokens=24).pieces(words) == expected


def test_tags_by_hand():
  assert measure([["D", "D", "N"]], [["D", "N", "N"]]) == {
    "f1": pytest.approx(0.0),  # chunks D D | N against D | N N: none is the same
    "accuracy": pytest.approx(2 / 3),
  }


def test_it_learns_and_exports(commands, data, tmp_path):
  """A word's place in the grammar is its tag; transformers' logits of the folder are ours."""
  run, out = tmp_path / "run", tmp_path / "out"
  table = commands.run(
    "finetune",
    *("--task=tags", f"--model={commands.straight}", f"--data={data}", f"--workdir={run}"),
    *("--epochs=6", "--batch_size=16", "--learning_rate=5e-3", "--max_tokens=20", "--seed=3"),
  )
  assert "majority_f1" in table and "zero_shot_mean" in table
  scores = json.loads((run / "scores.json").read_text())
  ((suite, protocol),) = scores["protocol"].items()
  assert scores[f"eval/{suite}/f1/en"] > 0.95
  assert scores[f"eval/{suite}/majority_accuracy/en"] == pytest.approx(0.2)  # one tag of five
  assert protocol["classes"] == 17 and "seed=3" in suite
  of_dev = {line["step"]: line["eval/dev/f1"] for line in lines_of(run) if "eval/dev/f1" in line}
  epoch = min(of_dev)  # 240 sentences, some cut in two, 16 at a time
  assert epoch >= 15 and sorted(of_dev) == [epoch * number for number in range(1, 7)]
  step = int(protocol["checkpoint"].split()[1].strip(","))
  assert of_dev[step] == max(of_dev.values())
  predicted = list(tagged_sentences.read_columns(run / "predictions" / "en.txt"))
  gold = list(tagged_sentences.read_columns(data / "en-test.tsv"))
  assert [s.words for s in predicted] == [s.words for s in gold]
  assert measure([s.tags for s in gold], [s.tags for s in predicted])["f1"] == pytest.approx(
    scores[f"eval/{suite}/f1/en"]
  )

  commands.run("export", f"--workdir={run}", f"--output={out}")
  module = transformers.AutoModelForTokenClassification.from_pretrained(out).eval()
  tokenizer = transformers.AutoTokenizer.from_pretrained(out)
  assert module.config.id2label[7] == "NOUN"
  inputs = tokenizer([gold[0].words], is_split_into_words=True, return_tensors="pt")
  with torch.no_grad():
    numbers = module(**inputs).logits[0].argmax(-1).tolist()
  first = [inputs.word_ids(0).index(word) for word in range(5)]
  assert [module.config.id2label[numbers[place]] for place in first] == predicted[0].tags
  readme = (out / "README.md").read_text()
  assert f"step {step}" in readme and "| en |" in readme and str(tmp_path) not in readme
  assert "--prune_vocabulary has no effect" in commands.fail(
    "export", f"--workdir={run}", f"--output={out}2", "--prune_vocabulary=a.txt", status=2
  )


def test_mistakes(commands, data, tmp_path):
  flags = [f"--model={commands.straight}", f"--data={data}", f"--workdir={tmp_path / 'run'}"]
  for more, status, message in (
    (["--task=tags", "--head=transformers"], 2, "--head has no effect with --task=tags"),
    (["--ignore_tags=OTH"], 2, "--ignore_tags has no effect with --task=classification"),
    (["--task=tags", "--train_language=de"], 1, "no train split of train_language=de"),
    (["--task=tags", "--train_split=dev", "--eval_steps=5"], 1, "en has no development split"),
  ):
    assert message in commands.fail("finetune", *flags, *more, status=status)
    assert not (tmp_path / "run").exists()
