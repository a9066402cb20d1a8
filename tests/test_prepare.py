"""The prepare command: the data of a run without the run, and a look at it before that."""

import gzip
import json
import pathlib
import shutil
import string
import time

from dap_jax.workdir import layout


def flags_of(commands, folder, *flags):
  return [f"--config=tests/tiny.py:{commands.corpus}", f"--workdir={folder}", *flags]


def test_train_begins_with_what_prepare_made(commands, tmp_path):
  """The files of a run that prepared its own data, and no checkpoint."""
  run = tmp_path / "run"
  output = commands.run("prepare", *flags_of(commands, run))
  info = json.loads((run / "data" / "info.json").read_text())
  assert f"{sum(info['pairs'].values()):,} pairs in 3 languages" in output
  for file in ("data/train.npz", "data/info.json", "tokenizer/tokenizer.json"):
    assert (run / file).read_bytes() == (commands.straight / file).read_bytes(), file
  assert not layout.has_checkpoints(run)
  output = commands.run(*commands.train_flags(run, "--config.steps=2"))
  assert "finished at step 2" in output and "preparing the data" not in output
  cache = f"--seqio_cache={tmp_path}/seqio"
  again = commands.run("prepare", *flags_of(commands, run, "--config.steps=2", cache))
  assert "preparing" not in again
  tasks = json.loads((tmp_path / "seqio" / "mixture.json").read_text())["tasks"]
  assert {each["language"]: each["pairs"] for each in tasks.values()} == info["pairs"]


def test_a_killed_preparation_goes_on_from_its_stage(commands, tmp_path):
  """Killed while it trains the vocabulary or tokenises; no process of it goes on.

  Near duplicates, which it looks for after that, are pairs with other punctuation, and a few more.
  """
  run = tmp_path / "run"
  letters = str.maketrans(string.digits, "abcdefghij")
  lines = [
    f"{word} {number} {word}\tpage {number} {word}\n".translate(letters)
    for word in "abcdefgh"
    for number in range(2000)
  ]
  lines += [line.replace("\t", ".\t") for line in lines[::10]]
  (tmp_path / "aa-en.tsv").write_text("".join(lines))
  flags = flags_of(commands, run, "--config.data.format=tsv", "--config.data.near_duplicates=0.8")
  flags += [f"--config.data.arguments.paths={tmp_path}/aa-en.tsv"]
  flags += ["--config.data.heldout.min_languages=1", "--config.tokenizer.vocabulary_size=40"]
  whole = commands.run("prepare", *flags)
  expected = {path: path.read_bytes() for path in (run / "data").rglob("*") if path.is_file()}
  shutil.rmtree(run)
  process = commands.start("prepare", *flags)
  while process.poll() is None and not (run / "data" / "stage" / "stage.json").exists():
    time.sleep(0.001)
  tasks = pathlib.Path(f"/proc/{process.pid}/task")
  children = [pid for file in tasks.glob("*/children") for pid in file.read_text().split()]
  process.kill()
  process.communicate()
  assert process.returncode == -9 and children
  deadline = time.monotonic() + 30
  while any(pathlib.Path(f"/proc/{pid}").exists() for pid in children):
    assert time.monotonic() < deadline, "a worker outlives its command"
    time.sleep(0.05)
  again = commands.run("prepare", *flags)
  assert "a run before read and cleaned the corpus" in again and again.count("pairs") > 1
  assert "a run before" not in whole and "rejected: near_duplicate 1," in whole
  assert {
    path: path.read_bytes() for path in (run / "data").rglob("*") if path.is_file()
  } == expected


def test_a_dry_run_shows_and_writes_nothing(commands, tmp_path):
  (tmp_path / "de-en.tsv").write_text("ein  Haus\ta house\nHaus\thaus\nzwei\ttwo\n" * 2)
  run = tmp_path / "run"
  flags = flags_of(commands, run, "--config.data.format=tsv", "--config.data.rules=('equal',)")
  flags += [f"--config.data.arguments.paths={tmp_path}/de-en.tsv"]
  output = commands.run("prepare", *flags, "--dry_run", "--examples=2")
  assert not run.exists()
  lines = [line for line in output.splitlines() if line.startswith(("de ", "  ", "6 rows"))]
  assert lines == [
    f"de  {tmp_path}/de-en.tsv:1",
    "  texts   en, column 2  |||  de, column 1",
    "  before  'a house'  |||  'ein  Haus'",
    "  after   a house  |||  ein Haus",
    f"de  {tmp_path}/de-en.tsv:2",
    "  texts   en, column 2  |||  de, column 1",
    "  before  'haus'  |||  'Haus'",
    "  after   rejected: equal",
    "6 rows read: 4 pairs kept; rejected: equal 2",
  ]


def test_rejected_pairs_can_be_read(commands, tmp_path):
  lines = [f"Haus {n} und\thouse {n} and\n" for n in "abcdefghijklmnopqrst" * 12]
  (tmp_path / "de-en.tsv").write_text("".join(lines))
  run = tmp_path / "run"
  flags = flags_of(
    commands, run, "--config.data.format=tsv", "--config.tokenizer.vocabulary_size=28"
  )
  flags += [f"--config.data.arguments={{'paths': '{tmp_path}/de-en.tsv'}}"]
  flags += ["--config.data.heldout.sentences=2", "--config.data.heldout.min_languages=1"]
  output = commands.run("prepare", *flags)
  assert "240 pairs read, 220 left out: duplicate 220; rejected/" in output  # 20 of 240 differ
  assert "18 pairs in 1 language, 2 sentences held out; rejected: duplicate 220" in output
  path = run / "data" / "rejected" / "duplicate.jsonl.gz"
  first = json.loads(gzip.decompress(path.read_bytes()).decode().splitlines()[0])
  assert first == {
    "where": f"{tmp_path}/de-en.tsv:21",
    "language": "de",
    "pivot": "house a and",
    "translation": "Haus a und",
  }


def test_mistakes(commands, tmp_path):
  assert "--config and --workdir" in commands.fail("prepare", status=2)
  flags = flags_of(commands, tmp_path / "run", "--config.data.guard=('nowhere',)")
  assert "data.guard: nowhere is not there" in commands.fail("prepare", *flags)
  flags = flags_of(commands, tmp_path / "run", "--config.data.rules=('dip',)", "--dry_run")
  assert "known are dap, empty" in commands.fail("prepare", *flags)
