"""mine --mode=score, search and negatives, as a user runs them.

Expected values: LASER's formula and full sorts in numpy's float64, loops, cases worked by hand.
"""

import signal
import time
from pathlib import Path

import numpy as np
import pytest

from dap_jax.data.readers import formats
from dap_jax.data.texts.normal_forms import key_of
from dap_jax.mining import exact_search, inputs, work_folder
from dap_jax.mining.modes import WRITERS, score
from dap_jax.mining.modes.aligned import Aligned
from dap_jax.mining.options import Options
from dap_jax.utils.unit_vectors import unit
from tests.commands import lines_of
from tests.test_mine import bare, read_rows, save_vectors, vector_flags  # noqa: F401, a fixture

# Lines 2 and 5 are blank on one side; source line 6 and target line 4 repeat the first.
SOURCE = ["eins", "", "drei", "vier", "fünf", " eins", "sieben"]
TARGET = ["one", "two", "three", "one", "\t", "six", "seven"]
PAIRS = [0, 2, 3, 5, 6]  # the lines with a text on both sides
OF_SOURCE = {"eins": 0, "drei": 2, "vier": 3, "fünf": 4, "sieben": 6}  # the line of each text
OF_TARGET = {"one": 0, "two": 1, "three": 2, "six": 5, "seven": 6}


def laser_scores(x, y, *, margin, k):
  """The scores of all pairs [N, M], and their cosines, by the formula of LASER's mode score."""
  cosines = unit(x.astype(np.float64)) @ unit(y.astype(np.float64)).T
  forward = np.sort(cosines, axis=1)[:, -k:].mean(1)
  backward = np.sort(cosines, axis=0)[-k:].mean(0)
  around = (forward[:, None] + backward[None]) / 2
  scores = {"absolute": cosines, "distance": cosines - around, "ratio": cosines / around}
  return scores[margin], cosines


def save_texts(folder, source=SOURCE, target=TARGET, *, width=16, seed=0):
  """Texts and random vectors of theirs; the flags that name them, and the vectors."""
  rng = np.random.default_rng(seed)
  sides, texts = [], []
  for name, text in (("x", source), ("y", target)):
    (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in text))
    first = {}
    numbers = [first.setdefault(line.strip(), number) for number, line in enumerate(text)]
    vectors = (rng.normal(size=(len(text), width)) + 0.3)[numbers].astype(np.float32)
    np.save(folder / f"{name}.npy", vectors)
    sides.append(vectors)
  texts = [f"--source={folder}/x.txt", f"--target={folder}/y.txt"]
  return texts, *sides


@pytest.mark.parametrize("margin", ["absolute", "distance", "ratio"])
def test_scores_are_those_of_laser(bare, tmp_path, margin):  # noqa: F811
  save_vectors(tmp_path, rows=500, width=24)
  x, y = (np.load(tmp_path / f"{name}.npy") for name in "xy")
  output = tmp_path / "scores.tsv"
  k = [] if margin == "absolute" else ["--neighbours=5"]
  log = bare.run(*vector_flags(tmp_path, output, "--mode=score", f"--margin={margin}", *k))
  assert f"score: 500 x 500 sentences; {margin} margin" in log
  rows = np.array(read_rows(output), float)
  of_all, _ = laser_scores(x, y, margin=margin, k=5)
  wrong = np.sort(np.roll(of_all, -1, axis=1).diagonal())  # x_i with y_(i+1)
  # Of 500 sorted numbers 0.5 * 499 = 249.5 and 0.95 * 499 = 474.05 are the places.
  assert f"by a line: 50% {wrong[249]:.3f}, 95% {wrong[474]:.3f}; " in log
  below = 100 * (of_all.diagonal() <= wrong[474]).mean()
  assert f"{below:.1f}% of the pairs score no more" in log
  scores, cosines = (part.diagonal() for part in laser_scores(x, y, margin=margin, k=5))
  np.testing.assert_allclose(rows[:, 0], scores, rtol=0, atol=1e-6)
  np.testing.assert_allclose(rows[:, 1], cosines, rtol=0, atol=1e-6)
  assert rows[:, 2].tolist() == rows[:, 3].tolist() == list(range(1, 501))


def test_the_log_compares_scores_with_those_of_wrong_pairs(bare, tmp_path):  # noqa: F811
  """By hand: cosines 1, 0.8, 0 and 1; of the shifted pairs 0.6, 1, 0 and 0."""
  np.save(tmp_path / "x.npy", np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32))
  np.save(tmp_path / "y.npy", np.array([[1, 0], [3, 4], [0, 1], [0, 1]], np.float32))
  output = tmp_path / "scores.tsv"
  log = bare.run(*vector_flags(tmp_path, output, "--mode=score", "--margin=absolute"))
  assert "scores: 5% 0.000, 50% 0.800, 95% 1.000" in log
  assert "by a line: 50% 0.000, 95% 0.600; 25.0% of the pairs score no more" in log
  assert "set --threshold about there" in log
  for name in "xy":  # all pairs are as good as the wrong ones
    np.save(tmp_path / f"{name}.npy", np.ones((3, 2), np.float32))
  log = bare.run(*vector_flags(tmp_path, output, "--mode=score", "--margin=absolute"))
  assert "100.0% of the pairs score no more" in log and "no threshold will" in log
  for name in "xy":
    np.save(tmp_path / f"{name}.npy", np.ones((1, 2), np.float32))
  log = bare.run(*vector_flags(tmp_path, output, "--mode=score", "--margin=absolute"))
  assert "scores: 5% 1.000" in log and "wrong pairs" not in log  # one has no next


def test_shifted_pairs_are_some_of_many_and_never_right(monkeypatch):
  monkeypatch.setattr(score, "SHIFTED", 2)
  targets = np.array([0, 1, 1, 2, 3])
  pairs = Aligned(np.arange(5), np.arange(5), targets)
  assert score.shifted(pairs).source.tolist() == [0, 3]  # every third
  monkeypatch.setattr(score, "SHIFTED", 9)
  wrong = score.shifted(pairs)
  assert wrong.source.tolist() == [0, 2, 3, 4] and wrong.target.tolist() == [1, 2, 3, 0]


def test_scores_of_texts_with_blank_and_repeated_lines(bare, tmp_path):  # noqa: F811
  """Neighbours: each text once, also those whose partner is blank (`fünf` and `two`)."""
  texts, x, y = save_texts(tmp_path)
  output = tmp_path / "scores.tsv"
  flags = vector_flags(tmp_path, output, "--mode=score", *texts)
  log = bare.run(*flags)
  assert "2 of 7 pairs left out: a side is empty" in log
  unique = x[list(OF_SOURCE.values())], y[list(OF_TARGET.values())]
  scores, cosines = laser_scores(*unique, margin="ratio", k=4)
  expected = []
  for line in PAIRS:
    one, other = SOURCE[line].strip(), TARGET[line]
    place = list(OF_SOURCE).index(one), list(OF_TARGET).index(other)
    expected.append((scores[place], cosines[place], one, other, "same", line + 1))
  rows = read_rows(output)
  assert [(*row[2:5], int(row[5]), int(row[6])) for row in rows] == [
    (*row[2:], row[-1]) for row in expected
  ]
  np.testing.assert_allclose(
    [[float(row[0]), float(row[1])] for row in rows], [row[:2] for row in expected], atol=1e-6
  )
  middle = sorted(row[0] for row in expected)[2]
  bare.run(*flags, f"--threshold={middle:.9f}")
  assert [row[5] for row in read_rows(output)] == [
    str(row[-1]) for row in expected if row[0] >= middle - 1e-8
  ]
  low = sorted(row[1] for row in expected)[3]
  bare.run(*flags, f"--min_cosine={low - 1e-6}")
  assert [row[5] for row in read_rows(output)] == [
    str(row[-1]) for row in expected if row[1] >= low - 1e-6
  ]


def full_sort(x, y, k):
  cosines = unit(x.astype(np.float64)) @ unit(y.astype(np.float64)).T
  rows = np.argsort(-cosines, axis=1)[:, :k]
  return np.take_along_axis(cosines, rows, axis=1), rows


@pytest.mark.parametrize("index", ["flat", "faiss:Flat"])
def test_search_is_a_full_sort(bare, tmp_path, index):  # noqa: F811
  if index != "flat":
    pytest.importorskip("faiss", reason="needs faiss-cpu of requirements-dev.txt, which is absent")
  save_vectors(tmp_path, rows=300, width=24)
  x, y = (np.load(tmp_path / f"{name}.npy") for name in "xy")
  np.save(tmp_path / "x.npy", x[:70])
  output = tmp_path / "near.tsv"
  flags = vector_flags(tmp_path, output, "--mode=search", "--neighbours=3", f"--index={index}")
  assert "search: 70 x 300 sentences; 3 neighbours; " in bare.run(*flags)
  rows = np.array(read_rows(output), float)
  cosines, nearest = full_sort(x[:70], y, 3)
  assert rows[:, 0].tolist() == np.repeat(np.arange(1, 71), 3).tolist()
  assert rows[:, 1].tolist() == [1, 2, 3] * 70
  np.testing.assert_allclose(rows[:, 2], cosines.ravel(), rtol=0, atol=1e-6)
  assert rows[:, 3].tolist() == (nearest.ravel() + 1).tolist()
  bare.run(*flags, "--min_cosine=0.85")
  assert len(read_rows(output)) == (cosines >= 0.85).sum() > 10


def test_search_of_texts(bare, tmp_path):  # noqa: F811
  """Every line that has a text gets its neighbours, a repeated one too; a target is there once."""
  texts, x, y = save_texts(tmp_path)
  output = tmp_path / "near.tsv"
  bare.run(*vector_flags(tmp_path, output, "--mode=search", "--neighbours=9", *texts))
  lines, places = [0, 2, 3, 4, 5, 6], list(OF_TARGET.values())
  cosines, nearest = full_sort(x[lines], y[places], 5)
  expected = [
    [line + 1, rank + 1, places[nearest[i, rank]] + 1, SOURCE[line].strip()]
    for i, line in enumerate(lines)
    for rank in range(5)
  ]
  rows = read_rows(output)
  assert [[int(row[0]), int(row[1]), int(row[3]), row[4]] for row in rows] == expected
  assert [row[5] for row in rows] == [TARGET[int(row[3]) - 1] for row in rows]
  np.testing.assert_allclose([float(row[2]) for row in rows], cosines.ravel(), atol=1e-6)


def corpus_texts(commands, folder, count=120):
  """Sentences of the tests' corpus and their cipher, aligned."""
  chosen = np.random.default_rng(0).permutation(480)[:count]
  for code in ("en", "aa"):
    lines = (commands.corpus / f"{code}.tsv").read_text().split("\n")
    texts = [lines[number].split("\t")[1] for number in chosen]
    (folder / f"{code}.txt").write_text("".join(f"{text}\n" for text in texts))
  return [f"--source={folder}/aa.txt", f"--target={folder}/en.txt"]


def test_a_target_that_was_embedded_once(commands, tmp_path):
  """Only the source goes through the model; what is nearest is what it is with both."""
  texts = corpus_texts(commands, tmp_path)
  model, vectors = f"--model={commands.straight}", tmp_path / "en.npy"
  commands.run("embed", model, f"--input={tmp_path}/en.txt", f"--output={vectors}")
  given = ["mine", "--mode=search", model, *texts]
  commands.run(*given, f"--output={tmp_path}/both.tsv")
  log = commands.run(*given, f"--output={tmp_path}/one.tsv", f"--target_vectors={vectors}")
  assert "encoding" not in log or "en.txt" not in log.split("encoding")[1]
  one, both = (read_rows(tmp_path / f"{name}.tsv") for name in ("one", "both"))
  assert len(both) == 480 and both[0][0] == "1"
  cosines = [[float(row[2]) for row in rows] for rows in (one, both)]
  np.testing.assert_allclose(*cosines, atol=1e-5)
  differ = [row for row, other in zip(one, both, strict=True) if row[3:] != other[3:]]
  assert len(differ) < 20  # of equal cosines
  np.save(vectors, np.load(vectors)[:, :-1])
  log = commands.fail(*given, f"--output={tmp_path}/three.tsv", f"--target_vectors={vectors}")
  assert f"--target_vectors={vectors} are 31 wide, --model=" in log and " 32: expected" in log


@pytest.mark.parametrize(
  ("mode", "state"), [("score", "search-4"), ("search", "forward-4"), ("negatives", "forward-4")]
)
def test_killed_in_the_search_it_gives_the_same_file(bare, tmp_path, mode, state):  # noqa: F811
  save_vectors(tmp_path, rows=25_000, width=64, planted=100)
  (tmp_path / "t.txt").write_text("".join(f"text {number}\n" for number in range(25_000)))
  more = [f"--mode={mode}", "--neighbours=4", f"--source={tmp_path}/t.txt"]
  more.append(f"--target={tmp_path}/t.txt")
  straight, killed = tmp_path / "straight.tsv", tmp_path / "killed.tsv"
  bare.run(*vector_flags(tmp_path, straight, *more))
  flags = vector_flags(tmp_path, killed, "--save_seconds=0", *more)
  process = bare.start(*flags)
  path = Path(f"{killed}.work") / f"{state}.npz"
  while not path.exists():
    assert process.poll() is None
    time.sleep(0.005)
  process.kill()
  process.communicate()
  assert process.returncode == -signal.SIGKILL and not killed.exists()
  log = bare.run(*flags)
  assert "the search goes on: " in log and " of 25000 rows were done" in log
  assert killed.read_bytes() == straight.read_bytes() and not path.parent.exists()


def test_mistakes(bare, tmp_path):  # noqa: F811
  texts, x, _ = save_texts(tmp_path)
  output = tmp_path / "out.tsv"
  before = set(tmp_path.iterdir())
  flags = [*vector_flags(tmp_path, output), *texts]
  for more, message in (
    (["--mode=search", "--margin=ratio"], "--margin has no effect with --mode=search"),
    (["--mode=search", "--threshold=1"], "--threshold has no effect with --mode=search"),
    (["--mode=score", "--retrieval=max"], "--retrieval has no effect with --mode=score"),
    (["--rules=1"], "--rules has no effect with --mode=mine"),
    (["--mode=score", "--margin=absolute", "--neighbours=3"], "no effect with --margin=absolute"),
    (["--mode=negatives", "--min_cosine=0"], "--min_cosine has no effect with --mode=negatives"),
    (["--mode=negatives", "--negatives=0"], "_vectors has no effect with --negatives=0"),
    (["--mode=negatives", "--negatives=33"], "--negatives=33: expected at most --neighbours=32"),
    (["--mode=negatives", "--max_share=nan"], "--max_share=nan: expected a number"),
    (["--mode=negatives", "--max_share=95"], "--max_share=95"),
    (["--mode=scores"], "--mode"),
    (["--model=runs/demo"], "needed are --output, --source and --target"),
  ):
    assert message in bare.fail(*flags, *more, status=2), more
  none = ["mine", f"--output={output}", "--mode=negatives", "--negatives=0"]
  assert "expected 1 or more" in bare.fail(*none, *texts, status=2)
  vectors = vector_flags(tmp_path, output, "--mode=negatives")
  log = bare.fail(*vectors, status=2)
  assert "--source and --target, and --model" in log and "left out" not in log
  (tmp_path / "y.txt").write_text("one\ntwo\n")
  log = bare.fail(*none, "--rules=1", *texts)
  assert f"--source={tmp_path}/x.txt has 7 lines, --target={tmp_path}/y.txt 2: " in log
  np.save(tmp_path / "x.npy", x[:3])
  log = bare.fail(*vector_flags(tmp_path, output, "--mode=score"))
  assert f"--source_vectors={tmp_path}/x.npy has 3 lines" in log and "mode=score takes" in log
  assert set(tmp_path.iterdir()) == before


NEGATIVES = Options(
  mode="negatives",
  margin="ratio",
  retrieval="max",
  neighbours=32,
  threshold=-np.inf,
  min_cosine=-np.inf,
  negatives=2,
  rules=0,
  max_share=0.95,
  index="flat",
  save_seconds=60.0,
)


def negatives_of(folder, source, target, x, y, **options):
  """What mode negatives writes for texts and vectors."""
  sides = []
  for name, texts, vectors in (("source", source, x), ("target", target, y)):
    path = folder / f"{name}.lines"
    path.write_text("".join(f"{text}\n" for text in texts))
    read = inputs.Input(name, inputs.scan(str(path)), vectors, "")
    sides.append(work_folder.prepare(read, folder, encode=None))
  options = Options(**(vars(NEGATIVES) | options))
  found = ()
  if options.negatives:
    k = options.neighbours
    found = (exact_search.one_way(sides[0].side, sides[1].side, neighbours=k),)
  WRITERS["negatives"](*sides, folder / "out.tsv", found=found, options=options)
  for side in sides:
    side.texts.path.unlink()
  return read_rows(folder / "out.tsv")


def at(*degrees):
  """Vectors of width 2."""
  angles = np.deg2rad(degrees)
  return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_negatives_by_hand(tmp_path):
  """Cosines are those of the angles between a source and the targets.

  Pair 1: its own cosine is that of 20, and 0.95 of it that of 26.8. At 25 a text is too near, the
  one at 40 is a translation of the same source; at 30 and 60 are the two, and 65 says what 60 says.
  """
  source = ["ein Hund", "ein Hund", "eine Kuh", "c", "d", "e"]
  target = ["a dog", "A dog!", "a cow", "a cat", "a mouse", "A mouse."]
  x, y = at(0, 0, 100, 30, 45, 60), at(20, 40, 25, 30, 60, 65)
  rows = negatives_of(tmp_path, source, target, x, y)
  assert rows[0] == ["source", "target", "negative_1", "negative_2"]
  assert rows[1] == ["ein Hund", "a dog", "a cat", "a mouse"]
  # Its own is that of 40, 0.95 of it that of 43.3: what is at 25 and 30 is too near.
  assert rows[2] == ["ein Hund", "A dog!", "a mouse", ""]
  # Its own is that of 75, 0.95 of it that of 75.8: of all others only the one at 80 is farther.
  assert rows[3] == ["eine Kuh", "a cow", "a dog", ""]
  assert negatives_of(tmp_path, source, target, x, y, max_share=0.99)[1][2:] == ["a cow", "a cat"]
  few = negatives_of(tmp_path, source, target, x, y, neighbours=3)
  assert few[1][2:] == ["a cat", ""]  # 20, 25 and 30 are the three nearest


def test_negatives_equal_loops(tmp_path):
  """Few different texts, so that many are translations of one source, or repeated."""
  rng = np.random.default_rng(3)
  of_source, of_target = rng.integers(0, 40, 200), rng.integers(0, 60, 200)
  source = [f"satz {number}" for number in of_source]
  target = [f"{'Text' if number % 2 else 'text'} {number // 2}" for number in of_target]
  x = rng.normal(size=(40, 8)).astype(np.float32)
  y = rng.normal(size=(60, 8)).astype(np.float32)
  for one, other in zip(of_source, of_target, strict=True):
    y[other] += x[one]
  rows = negatives_of(tmp_path, source, target, x[of_source], y[of_target], negatives=3)[1:]
  cosines = unit(x.astype(np.float64)) @ unit(y.astype(np.float64)).T
  there = sorted(set(of_target))
  text_of = {number: f"{'Text' if number % 2 else 'text'} {number // 2}" for number in there}
  translations = {(one, other // 2) for one, other in zip(of_source, of_target, strict=True)}
  for row, one, other in zip(rows, of_source, of_target, strict=True):
    expected = []
    for number in sorted(there, key=lambda number: -cosines[one, number])[:32]:
      near = cosines[one, number] > 0.95 * cosines[one, other]
      said = {key_of(text) for text in expected}
      if not near and (one, number // 2) not in translations and len(expected) < 3:
        expected += [text_of[number]] if key_of(text_of[number]) not in said else []
    assert row[2:] == expected + [""] * (3 - len(expected))
  assert {sum(text != "" for text in row[2:]) for row in rows} == {0, 1, 2, 3}


def test_negatives_by_rules_need_no_model(bare, tmp_path):  # noqa: F811
  """`He is here.` has two changes, the first of each kind; `Yes.` has none."""
  save_texts(
    tmp_path, ["Er ist hier.", "", "Ja.", "Er ist hier."], ["He is here.", "x", "Yes.", ""]
  )
  output = tmp_path / "de-en.tsv"
  texts = [f"--source={tmp_path}/x.txt", f"--target={tmp_path}/y.txt", f"--output={output}"]
  log = bare.run("mine", "--mode=negatives", "--negatives=0", "--rules=2", *texts)
  assert "2 of 4 pairs left out" in log and "2 pairs -> " in log
  assert "of 2 pairs 1 have 2 negatives, 1 have none" in log
  assert read_rows(output) == [
    ["source", "target", "negative_1", "negative_2"],
    ["Er ist hier.", "He is here.", "He is not here.", "She is here."],
    ["Ja.", "Yes.", "", ""],
  ]
  assert not Path(f"{output}.work").exists()


CONFIG = """
from configs import split_softmax
from tests import tiny


def get_config():
  config, small = split_softmax.get_config("{path}"), tiny.get_config()
  for section in ("model", "decoder", "optimizer", "checkpoint"):
    config[section] = small[section]
  config.steps, config.log_steps, config.eval_steps, config.batch_size = 2, 1, 2, 16
  config.max_tokens, config.tokenizer.vocabulary_size = 12, 54
  config.data.bucket_tokens = ()
  config.data.arguments.negatives = config.data.hard_negatives = 3
  config.data.rules, config.data.guard = (), ()
  config.data.heldout.sentences = 10
  return config
"""


def test_from_a_bitext_to_a_training_step(commands, tmp_path):
  """Two negatives of a model and one by rules, through the reader of tsv into split softmax."""
  texts = corpus_texts(commands, tmp_path)
  output = tmp_path / "aa-en.tsv"
  flags = [f"--model={commands.straight}", *texts, f"--output={output}"]
  log = commands.run("mine", "--mode=negatives", "--max_share=0.99", "--rules=1", *flags)
  assert "negatives: 120 x 120 sentences; 32 neighbours; exact search" in log
  table = read_rows(output)[1:]
  read = list(formats.read_rows("tsv", pivot="en", paths=str(output), negatives=3))
  assert len(read) == len(table) == 120
  for row, texts in zip(read, table, strict=True):
    found = {f"negative {number}": text for number, text in enumerate(texts[2:], 1) if text}
    assert row == {"aa": texts[0], "en": texts[1]} | found
  count = sum(len(row) - 2 for row in read)
  assert count > 150
  (tmp_path / "config.py").write_text(CONFIG.format(path=output))
  log = commands.run("train", f"--config={tmp_path}/config.py", f"--workdir={tmp_path}/run")
  assert "finished at step 2" in log
  (line,) = [line for line in lines_of(tmp_path / "run") if "split_softmax" in line]
  assert np.isfinite(line["split_softmax"]) and line["split_softmax"] > 0
