"""The mine command as a user runs it: planted pairs, a kill, broken input; its parts by hand."""

import gzip
import itertools
import logging
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from dap_jax.mining import inputs, pairing, pairs_file, work_folder
from dap_jax.utils.errors import UserError
from dap_jax.utils.unit_vectors import unit
from tests.commands import Commands


@pytest.fixture(scope="module")
def bare(tmp_path_factory, common):
  """The commands, without a trained model."""
  return Commands(tmp_path_factory.mktemp("mine"), shared=common)


def save_vectors(folder, *, rows=600, width=32, planted=200, seed=0):
  """x.npy and y.npy, random, with planted pairs of cosine 0.9; returns the set of their rows."""
  rng = np.random.default_rng(seed)
  x, y = (unit(rng.normal(size=(rows, width))) for _ in range(2))
  i, j = rng.permutation(rows)[:planted], rng.permutation(rows)[:planted]
  across = unit(y[j] - (y[j] * x[i]).sum(1, keepdims=True) * x[i])
  y[j] = 0.9 * x[i] + np.sqrt(1 - 0.81) * across
  for name, side in (("x", x), ("y", y)):
    np.save(folder / f"{name}.npy", side.astype(np.float32))
  return set(zip(i.tolist(), j.tolist(), strict=True))


def vector_flags(folder, output, *more):
  vectors = [f"--source_vectors={folder}/x.npy", f"--target_vectors={folder}/y.npy"]
  return ["mine", *vectors, f"--output={output}", *more]


def read_rows(path):
  lines = path.read_text(encoding="utf-8").split("\n")
  assert lines.pop() == ""
  return [line.split("\t") for line in lines]


def test_planted_pairs_are_found_on_any_number_of_devices(bare, tmp_path):
  """At most 0.75 for unrelated ones of width 32: 0.85 parts them."""
  planted = save_vectors(tmp_path)
  one, eight = tmp_path / "one.tsv", tmp_path / "eight.tsv"
  log = bare.run(*vector_flags(tmp_path, one, "--min_cosine=0.85"))
  assert "600 x 600 sentences; ratio margin, 4 neighbours" in log and "exact search" in log
  rows = read_rows(one)
  assert {(int(i) - 1, int(j) - 1) for _, _, i, j in rows} == planted
  scores = [float(row[0]) for row in rows]
  assert scores == sorted(scores, reverse=True)
  assert all(float(row[1]) == pytest.approx(0.9, abs=1e-6) for row in rows)
  assert not Path(f"{one}.work").exists()
  bare.run(*vector_flags(tmp_path, eight, "--min_cosine=0.85"), devices=8)
  assert eight.read_bytes() == one.read_bytes()


def test_killed_in_the_search_it_gives_the_same_file(bare, tmp_path):
  planted = save_vectors(tmp_path, rows=25_000, width=64, planted=100)
  straight, killed = tmp_path / "straight.tsv", tmp_path / "killed.tsv"
  bare.run(*vector_flags(tmp_path, straight))
  process = bare.start(*vector_flags(tmp_path, killed, "--save_seconds=0"))
  state = Path(f"{killed}.work") / "search-4.npz"
  while not state.exists():
    assert process.poll() is None
    time.sleep(0.005)
  process.kill()
  process.communicate()
  assert process.returncode == -signal.SIGKILL and not killed.exists()
  swap = {"--source_vectors": "--target_vectors", "--target_vectors": "--source_vectors"}
  halves = (flag.partition("=") for flag in vector_flags(tmp_path, killed))
  log = bare.fail(*(swap.get(name, name) + equals + value for name, equals, value in halves))
  assert "source_vectors='" in log and "an unfinished command with" in log and state.exists()
  log = bare.run(*vector_flags(tmp_path, killed))
  done, count = log.split("the search goes on: ")[1].split(" rows")[0].split(" of ")
  assert 0 < int(done) < int(count) == 25_000
  assert killed.read_bytes() == straight.read_bytes()
  assert planted <= {(int(i) - 1, int(j) - 1) for _, _, i, j in read_rows(straight)}
  assert not state.parent.exists()


def test_texts_through_a_model(commands, tmp_path):
  """60 sentences and their cipher, in reverse; beside them an empty and a repeated line."""
  english, cipher = (
    [line.split("\t")[1] for line in (commands.corpus / f"{code}.tsv").read_text().split("\n")[:-1]]
    for code in ("en", "aa")
  )
  chosen = np.random.default_rng(0).permutation(len(english))[:60]
  source = [*(cipher[number] for number in chosen), "", cipher[chosen[0]]]
  target = [english[number] for number in chosen[::-1]]
  (tmp_path / "aa.txt").write_text("".join(f"{line}\n" for line in source))
  data = "".join(f"{line}\r\n" for line in target).encode()
  (tmp_path / "en.txt.gz").write_bytes(gzip.compress(data))
  texts = [f"--source={tmp_path}/aa.txt", f"--target={tmp_path}/en.txt.gz"]
  output = tmp_path / "pairs.tsv"
  log = commands.run("mine", f"--model={commands.straight}", *texts, f"--output={output}")
  assert "aa.txt: 1 empty of 62 lines" in log and "aa.txt: 1 repeated of 62 lines" in log
  assert "mine: 60 x 60 sentences" in log and "numbers differ in 0 of" in log
  rows = read_rows(output)
  assert len(rows) > 10
  for _, _, one, other, numbers, i, j in rows:
    assert (one, other, numbers) == (source[int(i) - 1], target[int(j) - 1], "same")
  right = sum(int(i) - 1 == 60 - int(j) for *_, i, j in rows)
  assert right > 0.25 * len(rows)  # by chance 1 of 60
  # The same from vectors of embed: every line has one, the left out ones too.
  for name, path in (("x", "aa.txt"), ("y", "en.txt.gz")):
    flags = [f"--input={tmp_path}/{path}", f"--output={tmp_path}/{name}.npy"]
    commands.run("embed", f"--model={commands.straight}", *flags)
  again = tmp_path / "again.tsv"
  commands.run(*vector_flags(tmp_path, again, *texts))
  assert {tuple(row[2:]) for row in read_rows(again)} == {tuple(row[2:]) for row in rows}


def test_broken_vectors_are_left_out_and_named(bare, tmp_path):
  planted = save_vectors(tmp_path)
  x = np.load(tmp_path / "x.npy")
  x[6], x[17, 3], x[20, 0] = 0.0, np.nan, np.inf
  np.save(tmp_path / "x.npy", x)
  output = tmp_path / "pairs.tsv"
  log = bare.run(*vector_flags(tmp_path, output, "--min_cosine=0.85"))
  assert "--source: 3 of 600 vectors are 0 or not finite" in log and "line 7" in log
  expected = {(i, j) for i, j in planted if i not in (6, 17, 20)}
  assert {(int(i) - 1, int(j) - 1) for *_, i, j in read_rows(output)} == expected


def test_wrong_input_leaves_nothing(bare, tmp_path):
  save_vectors(tmp_path)
  np.save(tmp_path / "y.npy", np.ones((600, 31), np.float32))
  output = tmp_path / "pairs.tsv"
  before = set(tmp_path.iterdir())
  log = bare.fail(*vector_flags(tmp_path, output))
  assert "are 32 wide" in log and "31" in log
  (tmp_path / "t.txt").write_text("a\nb\n")
  texts = [f"--source={tmp_path}/t.txt", f"--target={tmp_path}/t.txt"]
  log = bare.fail(*vector_flags(tmp_path, output, *texts))
  assert "600 rows" in log and "2 lines" in log
  bare.fail(*vector_flags(tmp_path, output, "--model=runs/demo"), status=2)
  bare.fail(*vector_flags(tmp_path, output, "--margin=rato"), status=2)
  bare.fail(*vector_flags(tmp_path, output, "--index=hnsw"), status=2)
  bare.fail(*vector_flags(tmp_path, output, "--max_tokens=32"), status=2)
  bare.fail("mine", f"--output={output}", f"--source={tmp_path}/t.txt", status=2)
  save_vectors(tmp_path)
  np.save(tmp_path / "y.npy", np.full((600, 32), np.nan, np.float32))
  log = bare.fail(*vector_flags(tmp_path, output))
  assert "--target: every vector is 0 or not finite" in log
  assert set(tmp_path.iterdir()) == before | {tmp_path / "t.txt"}


def test_faiss_is_called_approximate(bare, tmp_path):
  pytest.importorskip("faiss", reason="needs faiss-cpu of requirements-dev.txt, which is absent")
  planted = save_vectors(tmp_path)
  output = tmp_path / "pairs.tsv"
  log = bare.fail(*vector_flags(tmp_path, output, "--index=faiss:Nonsense"))
  assert "--index=faiss:Nonsense is refused" in log
  assert not Path(f"{output}.work").exists()
  flags = vector_flags(tmp_path, output, "--index=faiss:IVF4,Flat:nprobe=4", "--min_cosine=0.85")
  assert "APPROXIMATE search by FAISS" in bare.run(*flags)
  assert {(int(i) - 1, int(j) - 1) for *_, i, j in read_rows(output)} == planted


@pytest.mark.parametrize(
  ("array", "message"),
  [
    (np.zeros(3, np.float32), "holds [3]"),
    (np.zeros((0, 4), np.float32), "holds [0, 4]"),
    (np.zeros((2, 4)), "is float64"),
    (np.zeros((2, 4), np.int8), "is int8"),
    (np.array([{}, 1], object), "cannot be read"),
  ],
)
def test_files_that_hold_no_vectors(tmp_path, array, message):
  path = tmp_path / "v.npy"
  np.save(path, array, allow_pickle=True)
  with pytest.raises(UserError) as raised:
    inputs.open_vectors(str(path), flag="source_vectors")
  assert message in str(raised.value) and "--source_vectors=" in str(raised.value)


def test_a_cut_short_vector_file(tmp_path):
  np.save(tmp_path / "v.npy", np.zeros((20, 4), np.float32))
  data = (tmp_path / "v.npy").read_bytes()
  (tmp_path / "v.npy").write_bytes(data[:-8])
  with pytest.raises(UserError, match="cannot be read"):
    inputs.open_vectors(str(tmp_path / "v.npy"), flag="source_vectors")


def test_no_usable_vector_at_all():
  vectors, rows = np.full((3, 4), np.nan, np.float32), np.arange(3)
  with pytest.raises(UserError, match="every vector is 0 or not finite"):
    inputs.usable(vectors, rows, rows, name="--source")


def test_texts_that_are_none(tmp_path):
  path = tmp_path / "t.txt"
  path.write_bytes(b"one\n\xff\xfe\n")
  with pytest.raises(UserError, match="t.txt:2: not UTF-8"):
    inputs.scan(str(path))
  for empty in (b"", b"\n \n\t\n"):
    path.write_bytes(empty)
    with pytest.raises(UserError, match="holds no text"):
      inputs.scan(str(path))


def copy_of(scanned, path):
  work_folder.copy_texts(scanned, path)
  return work_folder.Texts(path)


def test_lines_that_take_part(tmp_path, caplog):
  """Line 2 repeats the first but for a blank; 3 is empty; only \\n ends a line."""
  caplog.set_level(logging.INFO)
  (tmp_path / "t.txt").write_bytes("\ufeffa\nb\u2028c\rd\n a \n\nää".encode())
  scanned = inputs.scan(str(tmp_path / "t.txt"))
  assert scanned.lines == 5
  assert scanned.used.tolist() == [0, 1, 4]
  assert scanned.places.tolist() == [0, 1, 0, -1, 2]
  assert "1 empty of 5" in caplog.text and "1 repeated of 5" in caplog.text
  texts = copy_of(scanned, tmp_path / "copy.txt")
  assert texts.read(np.array([2, 0, 1])) == ["ää", "a", "b\u2028c\rd"]
  places = np.array([1, 2])
  half = work_folder.Sentences("source", None, scanned.used[1:], texts, places, places)
  assert half.read(np.array([0, 1])) == ["b\u2028c d", "ää"]


def test_a_work_folder_belongs_to_its_command(tmp_path):
  folder, output = tmp_path / "o.tsv.work", tmp_path / "o.tsv"
  work_folder.claim(folder, {"margin": "ratio", "threshold": None}, output=output)
  work_folder.claim(folder, {"margin": "ratio", "threshold": None}, output=output)
  with pytest.raises(
    UserError, match="an unfinished command with threshold=None, this one has 1.0"
  ):
    work_folder.claim(folder, {"margin": "ratio", "threshold": 1.0}, output=output)
  (folder / "search-4.npz").write_bytes(b"")
  work_folder.release(folder)
  assert folder.exists()  # what took long is kept
  with pytest.raises(UserError, match="is a folder"):
    work_folder.claim(tmp_path / "w", {}, output=tmp_path)
  with pytest.raises(UserError, match="cannot be written"):
    work_folder.claim(tmp_path / "none" / "w", {}, output=output)
  (tmp_path / "other").mkdir()
  (tmp_path / "other" / "mine.txt").write_text("")
  with pytest.raises(UserError, match="is no work folder"):
    work_folder.claim(tmp_path / "other", {}, output=output)


@pytest.mark.parametrize(
  ("one", "other", "same"),
  [
    ("no digits", "keine Ziffern", True),
    ("In 2001, 30 people", "30 Leute im Jahr 2001", True),
    ("1,000,000 pages", "1 000 000 pages", True),
    ("In 2001 300 people", "2001: 300 Leute", True),
    ("300,000 rupees", "3,00,000 Rupien", True),
    ("costs 12.50", "kostet 12,50", True),
    ("at 05:00", "um 5:00", True),
    ("page ١٢", "Seite 12", True),
    ("page 12", "Seite 21", False),
    ("page 7", "Seite", False),
    ("7 and 7", "7", False),
    ("9" * 5000, "9" * 5000, True),
  ],
)
def test_numbers_agree(one, other, same):
  assert (pairs_file.numbers(one) == pairs_file.numbers(other)) is same
  assert pairs_file.same_numbers(one, other) is same


def test_numbers_that_agree_at_a_glance_agree():
  """`same_numbers` looks at runs of digits first: on random texts it says what `numbers` says."""
  rng = random.Random(0)
  texts = ["".join(rng.choices("012,. ٣a-", k=rng.randrange(7))) for _ in range(300)]
  for one in texts:
    for other in texts:
      slow = pairs_file.numbers(one) == pairs_file.numbers(other)
      assert pairs_file.same_numbers(one, other) is slow, (one, other)


def half_of(texts, folder):
  """One side, with its texts."""
  (folder / "t.txt").write_text("".join(f"{text}\n" for text in texts))
  scanned = inputs.scan(str(folder / "t.txt"))
  places = np.arange(len(texts))
  texts = copy_of(scanned, folder / "c")
  return work_folder.Sentences("target", None, places, texts, places, places)


def test_hubs_are_named(tmp_path, caplog):
  """12 of 20 propose text 3, of which one does not count; 10 make a hub."""
  half = half_of([f"text {number}" for number in range(20)], tmp_path)
  partners = np.array([3] * 12 + list(range(8)))
  scores = np.array([-np.inf, *[1.0] * 19])
  pairs_file.warn_of_hubs(pairing.Proposals(partners, scores, scores), half)
  assert "1 of 20 target sentences are the choice of 12 others" in caplog.text
  assert "12 x line 4: text 3" in caplog.text
  caplog.clear()
  few = pairing.Proposals(partners[5:], scores[5:], scores[5:])
  pairs_file.warn_of_hubs(few, half)
  assert not caplog.text


def test_a_hub_is_one_against_the_average(tmp_path, caplog):
  """100 propose 2 texts: 50 each is the average."""
  half = half_of(["one", "two"], tmp_path)
  partners = np.array(list(itertools.islice(itertools.cycle([0, 1]), 100)))
  ones = np.ones(100)
  pairs_file.warn_of_hubs(pairing.Proposals(partners, ones, ones), half)
  assert not caplog.text
