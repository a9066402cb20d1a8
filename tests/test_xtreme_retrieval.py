"""XTREME's Tatoeba and BUCC: by hand, against the protocol written out, and through the command.

Expected values: worked by hand, loops of the protocol (../shared/XTREME.md, C2), and `evaluate`'s
own Tatoeba, which is the same where the layer is the last and no text has double quotes.
"""

import functools
import json

import numpy as np
import pytest
from etils import epath

from dap_jax.evals import tatoeba as suite
from dap_jax.evals.xtreme import tasks
from dap_jax.evals.xtreme.retrieval import bucc, tatoeba
from dap_jax.evals.xtreme.retrieval.layers import layer_of
from dap_jax.inference import embedder
from dap_jax.utils.errors import UserError
from dap_jax.utils.unit_vectors import unit
from tests.fuzzing import fuzz

WORDS = ["red", "old", "new", "big", "page", "user", "file", "word", "opens", "keeps"]


def write_lines(path, lines):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(f"{line}\n" for line in lines))


def vectors_of(table):
  """An encoder that looks its vectors up."""
  return lambda texts: np.array([table[text] for text in texts], np.float32)


def test_layers():
  """Index 7 of the last 12 of L + 1 states is layer L - 4; of 24 XTREME's Tatoeba takes index 13.

  With 8 layers all 9 states are kept, and index 7 is layer 7; with 6 layers there is none.
  """
  assert [layer_of(tasks.BUCC, depth) for depth in (12, 24, 8)] == [8, 20, 7]
  assert [layer_of(tasks.TATOEBA, depth) for depth in (12, 24, 8)] == [8, 14, 7]
  assert layer_of(tasks.TATOEBA, 6, chosen=0) == 0
  with pytest.raises(UserError, match="has 6 layers, the benchmark reads layer 7: .* from 0 to 6"):
    layer_of(tasks.BUCC, 6)
  with pytest.raises(UserError, match="--layer=7: the model has the layers 0 to 6"):
    layer_of(tasks.BUCC, 6, chosen=7)


def test_the_codes_of_the_files():
  assert tatoeba.CODES["fa"] == "pes" and tatoeba.CODES["zh"] == "cmn"
  assert tatoeba.CODES["et"] == "est" and tatoeba.CODES["eu"] == "eus"
  assert len(set(tatoeba.CODES.values())) == 36


def test_tatoeba_by_hand(tmp_path):
  """English sorted is `"a, b, c`: rows 2, 1, 0. The nearest rows are 2, 1 and, wrongly, 1."""
  folder = epath.Path(tmp_path)
  write_lines(tmp_path / "tatoeba.deu-eng.deu", ["x ", "y", "z"])
  write_lines(tmp_path / "tatoeba.deu-eng.eng", ["c", "b", '"a'])
  sentences = tatoeba.read(folder, "de")
  assert sentences.english == ['"a', "b", "c"] and tatoeba.labels_of(sentences) == ["2", "1", "0"]
  table = {"x": (1, 0), "y": (3, 4), "z": (0, 2), '"a': (0, 1), "b": (6, 8), "c": (1, 1)}
  assert tatoeba.predict(sentences, vectors_of(table)) == ["2", "1", "1"]


def test_tatoeba_is_the_suite_from_english(tmp_path):
  rng = np.random.default_rng(0)
  english = [" ".join(rng.choice(WORDS, 5)) for _ in range(40)]
  texts = [f"xx {text}" for text in english]
  write_lines(tmp_path / "tatoeba.deu-eng.deu", texts)
  write_lines(tmp_path / "tatoeba.deu-eng.eng", english)
  of_english = dict(zip(english, rng.normal(size=(40, 6)), strict=True))
  noisy = {f"xx {text}": vector + rng.normal(size=6) for text, vector in of_english.items()}
  encode = vectors_of(of_english | noisy)
  sentences = tatoeba.read(epath.Path(tmp_path), "de")
  predicted = tatoeba.predict(sentences, encode)
  accuracy = np.mean([a == b for a, b in zip(predicted, tatoeba.labels_of(sentences), strict=True)])
  expected = suite.score(unit(encode(texts)), unit(encode(english)))["from_english_accuracy"]
  assert accuracy == expected and 0.2 < accuracy < 1


def write_bucc(folder, language, *, size, seed, repeated=False):
  """A sample and a training split, xx's texts like English ones; gives text -> vector.

  Half of the English sentences have a translation. repeated: two ids have the same text.
  """
  rng, table = np.random.default_rng(seed), {}
  for split in (bucc.SAMPLE, bucc.TRAINING):
    stem = f"{language}-en.{split}"
    english = {f"en-{n:03}": f"{split} english {n}" for n in range(size)}
    texts = {f"{language}-{n:03}": f"{split} text {n}" for n in range(size)}
    if repeated:
      texts[f"{language}-{size:03}"] = texts[f"{language}-000"]
    for n in range(size):
      table[f"{split} english {n}"] = rng.normal(size=8)
      near = table[f"{split} english {n}"] if n % 2 == 0 else rng.normal(size=8)
      table[f"{split} text {n}"] = near + 0.6 * rng.normal(size=8)
    write_lines(folder / f"{stem}.{language}", [f"{name}\t{text}" for name, text in texts.items()])
    write_lines(folder / f"{stem}.en", [f"{name}\t{text}" for name, text in english.items()])
    pairs = [f"{language}-{n:03}\ten-{n:03}" for n in range(0, size, 2)]
    write_lines(folder / f"{stem}.gold", pairs)
  return table


def mined_by_loops(x, y, *, k=4):
  """(score, row of x, row of y) of the protocol: ratio margin, both sides' best, one to one."""
  x, y = (side / np.linalg.norm(side, axis=1)[:, None] for side in (x, y))
  cosines = x @ y.T
  around_x, around_y = (np.sort(c, axis=1)[:, -k:].mean(1) for c in (cosines, cosines.T))
  proposals = []
  for i in range(len(x)):
    near = sorted(range(len(y)), key=lambda j: -cosines[i, j])[:k]
    proposals.append(max((cosines[i, j] * 2 / (around_x[i] + around_y[j]), i, j) for j in near))
  for j in range(len(y)):
    near = sorted(range(len(x)), key=lambda i: -cosines[i, j])[:k]
    proposals.append(max((cosines[i, j] * 2 / (around_x[i] + around_y[j]), i, j) for i in near))
  taken, pairs = set(), []
  for score, i, j in sorted(proposals, reverse=True):
    if not {("x", i), ("y", j)} & taken:
      taken |= {("x", i), ("y", j)}
      pairs.append((score, i, j))
  return pairs


def test_bucc_is_the_protocol_written_out(tmp_path):
  """Text 0 of xx occurs twice: it takes part in mining, once, and in no prediction."""
  table = write_bucc(tmp_path, "de", size=30, seed=1, repeated=True)
  splits = bucc.read(epath.Path(tmp_path), "de")
  by_split = []
  for name in (bucc.SAMPLE, bucc.TRAINING):
    x, y = (np.array([table[f"{name} {w} {n}"] for n in range(30)]) for w in ("text", "english"))
    pairs = [(score, f"de-{i:03}\ten-{j:03}") for score, i, j in mined_by_loops(x, y) if i != 0]
    by_split.append([(score, pair) for score, pair in pairs if score > 0])
  gold = {f"de-{n:03}\ten-{n:03}" for n in range(0, 30, 2)}
  cuts = []
  for n in range(1, len(by_split[0])):
    hits = len({pair for _, pair in by_split[0][:n]} & gold)
    middle = (by_split[0][n - 1][0] + by_split[0][n][0]) / 2
    cuts.append((2 * hits / (n + len(gold)), -n, middle))
  threshold = max(cuts)[2]
  expected = {pair for score, pair in by_split[1] if score >= threshold}
  predicted = bucc.predict(splits, vectors_of(table))
  assert set(predicted) == expected and len(predicted) == len(expected)
  assert 5 < len(predicted) < 30 and len(set(predicted) & gold) > 3
  assert bucc.labels_of(splits)[0] == "de-000\ten-000"


def test_the_threshold_by_hand():
  """F1 after 1, 2, 3 pairs, 3 gold ones: 2/4, 2/5, 4/6: the best is after the last, all stay."""
  scored = {"a": 1.4, "b": 1.2, "c": 1.0}
  assert bucc.best_threshold(scored, ["a", "c", "d"]) == 1.0
  assert bucc.best_threshold(scored, ["a", "d"]) == pytest.approx(1.3)  # 2/3, 2/4, 2/5
  assert bucc.best_threshold(scored, ["d"]) == 0


def test_the_real_tatoeba(shared):
  """All 36 languages are there; LASER's README says up to 1000 pairs, and 28 have as many."""
  folder = epath.Path(shared / "data" / "tatoeba_v1")
  sizes = []
  for code in tatoeba.CODES:
    sentences = tatoeba.read(folder, code)
    assert sorted(sentences.rows) == list(range(len(sentences.texts)))
    assert sentences.english == sorted(sentences.english)
    sizes.append(len(sentences.texts))
  assert sizes.count(1000) == 28 and max(sizes) == 1000


def split_of(data, folder, file):
  (folder / file).write_bytes(data)
  return bucc.read(epath.Path(folder), "de")


@pytest.mark.parametrize("file", ["de-en.sample.de", "de-en.training.gold"])
def test_a_damaged_file_of_bucc_is_a_split_or_one_line(tmp_path, file):
  write_bucc(tmp_path, "de", size=6, seed=0)
  original = (tmp_path / file).read_bytes()
  fuzz(functools.partial(split_of, folder=tmp_path, file=file), original, count=100)


@pytest.mark.parametrize("side", ["deu", "eng"])
def test_a_damaged_file_of_tatoeba_is_sentences_or_one_line(tmp_path, side):
  for name in ("deu", "eng"):
    write_lines(tmp_path / f"tatoeba.deu-eng.{name}", [f"{name} {n} ปู" for n in range(9)])
  place = tmp_path / f"tatoeba.deu-eng.{side}"

  def read(data):
    place.write_bytes(data)
    return tatoeba.read(epath.Path(tmp_path), "de")

  fuzz(read, place.read_bytes(), count=100)


@pytest.mark.parametrize(
  ("file", "lines", "message"),
  [
    ("de-en.sample.de", ["de-1\ta", "de-1\tb"], "1 of its ids occur a second time"),
    ("de-en.sample.de", ["x-1\ta"], ":1: expected an id de-NUMBER, found 'x-1'"),
    ("de-en.training.en", ["en-1"], ":1: expected two fields"),
    ("de-en.training.en", [], "is empty"),
    ("de-en.training.gold", ["de-000\ten-999"], ":1: the id en-999 is not in its text"),
    ("de-en.training.gold", [], "is empty"),
  ],
)
def test_damaged_bucc(tmp_path, file, lines, message):
  write_bucc(tmp_path, "de", size=4, seed=0)
  write_lines(tmp_path / file, lines)
  with pytest.raises(UserError, match=message):
    bucc.read(epath.Path(tmp_path), "de")


@pytest.mark.parametrize(
  ("lines", "message"),
  [(["a", " ", "c"], ":2: expected a sentence"), (["a"], "has 1 lines, .*eng 3"), ([], "0 lines")],
)
def test_damaged_tatoeba(tmp_path, lines, message):
  write_lines(tmp_path / "tatoeba.deu-eng.eng", ["a", "b", "c"])
  write_lines(tmp_path / "tatoeba.deu-eng.deu", lines)
  with pytest.raises(UserError, match=message):
    tatoeba.read(epath.Path(tmp_path), "de")


def write_data(folder, corpus):
  """All languages of both tasks, of sentences of the tests' corpus and its cipher aa."""
  texts = {
    code: [line.split("\t")[1] for line in (corpus / f"{code}.tsv").read_text().splitlines()]
    for code in ("aa", "en")
  }
  for place, code in enumerate(tatoeba.CODES.values()):
    chosen = range(place, 480, 31)
    for side, language in ((code, "aa"), ("eng", "en")):
      lines = [texts[language][n] for n in chosen]
      write_lines(folder / "tatoeba" / f"tatoeba.{code}-eng.{side}", lines)
  for code in tasks.TASKS[tasks.BUCC].languages:
    for split, first in ((bucc.SAMPLE, 0), (bucc.TRAINING, 5)):
      stem = folder / "bucc2018" / f"{code}-en" / f"{code}-en.{split}"
      aa, en = range(first, 480, 24), range(first, 480, 16)
      write_lines(
        stem.with_suffix(f".{split}.{code}"), [f"{code}-{n}\t{texts['aa'][n]}" for n in aa]
      )
      write_lines(stem.with_suffix(f".{split}.en"), [f"en-{n}\t{texts['en'][n]}" for n in en])
      gold = [f"{code}-{n}\ten-{n}" for n in sorted(set(aa) & set(en))]
      write_lines(stem.with_suffix(f".{split}.gold"), gold)
  return texts


def test_the_command(commands, tmp_path):
  """Of the last layer, with its mean, Tatoeba is `evaluate`'s; predictions can be scored again."""
  texts = write_data(tmp_path / "data", commands.corpus)
  work, again = tmp_path / "work", tmp_path / "again.json"
  model = f"--model={commands.straight}"
  flags = model, f"--data={tmp_path}/data", f"--workdir={work}", "--tasks=bucc2018,tatoeba"
  line = commands.fail("xtreme", *flags)
  assert "has 1 layers, the benchmark reads layer 7: give one with --layer" in line
  assert not work.exists()
  said = commands.run("xtreme", *flags, "--layer=1")
  content = json.loads((work / "scores.json").read_text())
  positions = embedder.most_tokens(commands.straight)
  loaded = embedder.load(commands.straight, max_tokens=positions)
  name = f"xtreme[layer=1,max_tokens={positions}]"  # of 512
  for place, code in ((0, "af"), (35, "zh")):
    aa, en = (unit(loaded.encode(texts[x][place::31])) for x in ("aa", "en"))
    expected = 100 * suite.score(aa, en)["from_english_accuracy"]
    scored = content[f"eval/{name}/tatoeba/from_english_accuracy/{code}"]
    assert scored == pytest.approx(expected)
  assert content["protocol"][f"{name}/bucc2018"]["pooling"] == "cls"
  assert content["protocol"][f"{name}/tatoeba"]["layer"] == 1
  places = f"--score={work}/predictions", f"--labels={work}/labels", f"--output={again}"
  assert "retrieval" in said and "overall" not in said
  commands.run("xtreme", *places, "--tasks=bucc2018,tatoeba")
  rescored = json.loads(again.read_text())
  for task in ("bucc2018", "tatoeba"):
    figure = content[f"eval/{name}/{task}/figure"]
    assert rescored[f"eval/xtreme/{task}/figure"] == figure > 5


def test_mistakes_cost_a_line_before_anything_is_encoded(commands, tmp_path):
  write_data(tmp_path / "data", commands.corpus)
  for file in ("tatoeba.pes-eng.pes", "tatoeba.cmn-eng.eng"):
    (tmp_path / "data" / "tatoeba" / file).unlink()
  flags = f"--model={commands.straight}", f"--data={tmp_path}/data"
  line = commands.fail("xtreme", *flags, f"--workdir={tmp_path}/work", "--tasks=tatoeba")
  assert "lacks languages of tatoeba (fa, zh): expected" in line and "pes-eng.pes" in line
  whole = *flags, f"--workdir={commands.straight}", "--tasks=bucc2018"
  assert "is a workdir of train: name another" in commands.fail("xtreme", *whole)
  in_file = *flags, f"--workdir={tmp_path}/data/bucc2018/de-en/de-en.sample.de", "--tasks=bucc2018"
  assert "is a file: name a folder" in commands.fail("xtreme", *in_file)
  assert "or --model, --data and --workdir; --help" in commands.fail("xtreme", *flags, status=2)
  both = *flags, f"--score={tmp_path}", f"--labels={tmp_path}"
  assert "--score and --model exclude each other" in commands.fail("xtreme", *both, status=2)
  assert not (tmp_path / "work").exists()
