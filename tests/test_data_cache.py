"""The cache of prepared data: what it depends on, two writers at once, what a killed one leaves."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from dap_jax.data import cache, manifest
from dap_jax.data.elements import Feature
from dap_jax.training.teacher import teachers
from dap_jax.utils.errors import UserError
from dap_jax.workdir import layout
from tests.commands import ROOT, write_corpus
from tests.test_house import imports_of

DATA = {"format": "multiway", "pivot": "en", "max_tokens": 12}


class Lengths:
  """A further feature; an `extras.Extra` as far as the cache looks."""

  sources = ()

  def __init__(self, name):
    self.features = (Feature(name, of="pair", length=1, columns=0, fill=0, dtype="int32"),)


@pytest.fixture
def corpus(tmp_path):
  write_corpus(tmp_path / "corpus")
  return tmp_path / "corpus"


def make(corpus, folder, *, extras=(), settings=None, vocabulary=None, **changes):
  data = {**DATA, "arguments": {"folder": str(corpus)}, **changes}
  return cache.entry_of(
    str(folder), data=data, settings=settings or {}, vocabulary=vocabulary or {}, extras=extras
  )


def fill(folder, *, content=b"arrays"):
  """A workdir as far as `cache` looks: the files of prepared data."""
  names = [("data", "train.npz"), ("data", "info.json"), ("tokenizer", "tokenizer.json")]
  for part, name in [*names, ("data/rejected", "equal.jsonl.gz")]:
    (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / part / name).write_bytes(content)
  return epath.Path(folder)


def files(folder):
  paths = (path for path in Path(folder).rglob("*") if path.is_file())
  return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_what_an_entry_depends_on(corpus, tmp_path):
  """Equal settings and files have one entry, any other its own."""
  (tmp_path / "words.txt").write_text("a b\n")
  lists = {"paths": (str(tmp_path / "words.txt"),)}
  variants = {
    "as it is": {},
    "a setting": {"max_tokens": 13},
    "a vocabulary": {"vocabulary": {"tokenizer.json": "{}"}},
    "another": {"vocabulary": {"tokenizer.json": "[]"}},
    "a feature": {"extras": [Lengths("lengths")]},
    "its name": {"extras": [Lengths("others")]},
    "a guard": {"guard": [str(tmp_path / "words.txt")]},
    "its files": {"extras": [Lengths("lengths")], "settings": lists},
  }
  names = [make(corpus, tmp_path / "c", **each).folder.name for each in variants.values()]
  assert len(set(names)) == len(variants)
  again = [make(corpus, tmp_path / "c", **each).folder.name for each in variants.values()]
  assert again == names
  assert make(corpus, tmp_path / "c", settings=lists).folder.name == names[0]  # nobody reads them
  assert make(corpus, "") is None


@pytest.fixture
def package(tmp_path, monkeypatch):
  """A copy of dap_jax, of which the cache takes the hash."""
  copy = tmp_path / "dap_jax"
  shutil.copytree(cache.ROOT, copy, ignore=shutil.ignore_patterns("__pycache__"))
  monkeypatch.setattr(cache, "ROOT", copy)
  return copy


@pytest.fixture
def teacher(tmp_path):
  """The extra of a teacher."""
  settings = {"model": "", "when": "prepare", "max_tokens": 8, "compute_dtype": "", "languages": ()}
  files = {name: str(tmp_path / name) for name in ("vectors", "texts")}
  return teachers.load(pivot="en", **settings, **files).extra


@pytest.mark.parametrize(
  ("file", "for_whom"),
  [
    ("data/store.py", "all"),
    ("data/cleaning/clean.py", "all"),
    ("training/teacher/teachers.py", "teacher"),
    ("inference/embedder.py", "teacher"),
    ("core/inference_step.py", "teacher"),
    ("model/architectures/bert.py", "teacher"),
    ("hub/from_hf.py", "teacher"),
    ("training/loop.py", "nobody"),
  ],
)
def test_changed_code_makes_another_entry(corpus, tmp_path, package, teacher, file, for_whom):
  def names():
    return [make(corpus, tmp_path / "c", extras=x).folder.name for x in ((), (teacher,))]

  before = names()
  assert names() == before  # nothing has changed
  with (package / file).open("a") as changed:
    changed.write("\n")
  same = {"all": [False, False], "teacher": [True, False], "nobody": [True, True]}[for_whom]
  assert [x == y for x, y in zip(names(), before, strict=True)] == same


def test_a_teacher_names_all_code_that_it_uses(teacher):
  """Every module that training/teacher imports, directly or not, is in a folder that it names."""
  waiting, known = [*(cache.ROOT / "training" / "teacher").glob("*.py")], set()
  while waiting:
    path = waiting.pop()
    known.add(path)
    for name in imports_of(path):
      parts = name.split(".")
      if parts[0] == "dap_jax":
        for module in (parts[1:], parts[1:-1]):  # `from module import name` has either meaning
          places = (cache.ROOT.joinpath(*module).with_suffix(".py"), cache.ROOT.joinpath(*module))
          files = [places[0], places[1] / "__init__.py"]
          waiting += [file for file in files if file.is_file() and file not in known]
  folders = {str(path.relative_to(cache.ROOT).parent) for path in known}
  covered = {"data", *teacher.sources}
  # These give no value of a vector: errors and files, the types of what benchmarks ask for.
  assert "inference" in folders
  assert {f for f in folders if not any(f == c or f.startswith(f"{c}/") for c in covered)} <= {
    *(".", "utils", "evals", "mining", "training"),
  }


@pytest.mark.parametrize("change", ["content", "time", "another file", "one less"])
def test_a_changed_corpus_is_another(corpus, tmp_path, change):
  before = make(corpus, tmp_path / "c").folder
  path = corpus / "aa.tsv"
  status = path.stat()
  if change == "content":
    path.write_bytes(path.read_bytes() + b"x\tx\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
  elif change == "time":
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
  elif change == "another file":
    (corpus / "dd.tsv").write_text("1\tx\n")
  else:
    path.unlink()
  assert make(corpus, tmp_path / "c").folder != before


def test_files_that_settings_mean(tmp_path, monkeypatch):
  """A file, a folder, a pattern, a prefix; strings that stand for none."""
  monkeypatch.chdir(tmp_path)
  for name in ("a/x.tsv", "a/b/y.tsv", "europarl.de", "europarl.en.gz", "[1].txt"):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("12")
  settings = [["a"], {"p": ("europarl", "[1]")}, "de", "", 3, None]
  files_found = dict(cache.files_of(settings))
  assert sorted(files_found) == ["[1].txt", "a/b/y.tsv", "a/x.tsv", "europarl.de", "europarl.en.gz"]
  assert files_found["a/x.tsv"] == [2, Path("a/x.tsv").stat().st_mtime_ns]
  assert sorted(dict(cache.files_of("a/*.tsv"))) == ["a/x.tsv"]


def test_catalogues_count_by_content(tmp_path, monkeypatch):
  """Two installations of one package, at other times, have one entry; another catalogue its own."""
  monkeypatch.syspath_prepend(tmp_path)
  names = []
  for number, content in enumerate((b"one", b"one", b"two")):
    catalogue = tmp_path / f"shop{number}" / "locale" / "de" / "LC_MESSAGES" / "django.mo"
    catalogue.parent.mkdir(parents=True)
    (tmp_path / f"shop{number}" / "__init__.py").write_text("")
    catalogue.write_bytes(content)
    os.utime(catalogue, ns=(0, number))
    data = {"format": "gettext", "arguments": {"packages": (f"shop{number}",)}}
    names.append(list(dict(cache.corpus_files(data)).values()))
  assert names[0] == names[1] != names[2]


def test_a_workdir_gets_copies(corpus, tmp_path):
  entry = make(corpus, tmp_path / "c")
  first, second = fill(tmp_path / "first"), epath.Path(tmp_path / "second")
  assert not cache.fetch(entry, second) and not second.exists()
  cache.keep(first, entry)
  assert cache.fetch(entry, second)
  assert files(first) == files(second) and manifest.complete(second / "data")
  (second / "data" / "train.npz").write_bytes(b"other")  # a copy: the cache does not see it
  assert cache.fetch(entry, epath.Path(tmp_path / "third"))
  assert files(tmp_path / "third") == files(first)


def test_what_a_killed_writer_leaves_is_no_entry(corpus, tmp_path):
  entry = make(corpus, tmp_path / "c")
  fill(tmp_path / "c" / f".{entry.folder.name}.elsewhere.1")
  assert not cache.fetch(entry, epath.Path(tmp_path / "second"))
  cache.keep(fill(tmp_path / "first"), entry)
  assert cache.fetch(entry, epath.Path(tmp_path / "second"))


def test_the_second_of_two_writers_is_dropped(corpus, tmp_path):
  entry = make(corpus, tmp_path / "c")
  cache.keep(fill(tmp_path / "first"), entry)
  before = files(tmp_path / "c")
  cache.keep(fill(tmp_path / "second", content=b"later"), entry)
  assert files(tmp_path / "c") == before


def test_writers_at_the_same_time(tmp_path):
  """Three processes put and take one entry again and again: each always sees a whole one."""
  for number in range(3):
    fill(tmp_path / str(number), content=np.random.default_rng(0).bytes(200_000))
  program = """
import sys, pathlib
from etils import epath
from dap_jax.data import cache
root, number = pathlib.Path(sys.argv[1]), sys.argv[2]
for i in range(20):
  entry = cache.Entry(root / "c" / f"entry{i}", {})
  cache.keep(epath.Path(root / number), entry)
  target = epath.Path(root / f"got{number}_{i}")
  assert cache.fetch(entry, target)
  for path in target.glob("*/*.*"):
    assert path.read_bytes() == (root / number / path.parent.name / path.name).read_bytes(), path
"""
  (tmp_path / "c").mkdir()
  arguments = [sys.executable, "-c", program, str(tmp_path)]
  running = [
    subprocess.Popen([*arguments, str(n)], cwd=ROOT, stderr=subprocess.PIPE) for n in range(3)
  ]
  for process in running:
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
  assert sorted(path.name for path in (tmp_path / "c").iterdir()) == sorted(
    f"entry{i}" for i in range(20)
  )


@pytest.mark.parametrize("place", ["file/c", "gs://bucket/c"])
def test_a_cache_that_cannot_be_written(corpus, tmp_path, place):
  (tmp_path / "file").write_text("mine")
  folder = place if "://" in place else tmp_path / place
  with pytest.raises(UserError, match=r"data\.cache=.* cannot be written"):
    make(corpus, folder)


# A section as a run has it today: keys that came later have values of their own.
NO_PROMPTS = {"texts": {"query": "", "document": ""}, "pivot": "", "translation": "", "default": ""}
SECTION = {"guard": [], "max_line_bytes": 1 << 20, "rules_for": {}, "near_duplicates": 0.0}


def test_a_resumed_run_may_have_another_cache(tmp_path):
  """Also one that began before the key was there; what shapes the data may not change."""
  run = {"model": {}, "max_tokens": 16, "steps": 3, "prompts": NO_PROMPTS}
  layout.claim(tmp_path, run | {"data": SECTION | {"pivot": "en"}})
  fill(tmp_path)
  (tmp_path / "checkpoints" / "3").mkdir(parents=True)
  layout.claim(tmp_path, run | {"data": SECTION | {"pivot": "en", "cache": "x"}})
  layout.claim(tmp_path, run | {"data": SECTION | {"pivot": "en", "cache": ""}})
  with pytest.raises(UserError, match=r"data\.pivot='en', this config has 'de'"):
    layout.claim(tmp_path, run | {"data": SECTION | {"pivot": "de", "cache": ""}})


def test_what_shapes_batches_alone_may_be_mended_until_the_first_step(tmp_path):
  """`data.views` can only be found wrong once the data is there."""
  run = {"model": {}, "max_tokens": 16, "prompts": NO_PROMPTS}
  layout.claim(tmp_path, run | {"data": SECTION | {"pivot": "en", "views": 9}})
  (tmp_path / "data").mkdir()
  (tmp_path / "data" / "info.json").write_text("{}")
  layout.claim(tmp_path, run | {"data": SECTION | {"pivot": "en", "views": 3}})
  (tmp_path / "checkpoints" / "1").mkdir(parents=True)
  with pytest.raises(UserError, match=r"data.views=3, this config has 2"):
    layout.claim(tmp_path, run | {"data": SECTION | {"pivot": "en", "views": 2}})
