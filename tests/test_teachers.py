"""A frozen teacher: in the step, beforehand, from files; runs that follow it; mistakes."""

import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dap_jax.core import frozen_vectors
from dap_jax.data import preparation, store
from dap_jax.data.cleaning.corpus import CorpusReader
from dap_jax.data.engines.processes import Processes
from dap_jax.inference import embedder
from dap_jax.training import run as training
from dap_jax.training.config import RunConfig
from dap_jax.training.teacher import teacher_vectors, teachers
from dap_jax.utils import binding
from dap_jax.utils.errors import UserError
from dap_jax.utils.prompts import Sides
from tests import taught, tiny
from tests.commands import Commands, final_state, lines_of, write_corpus

SETTINGS = {
  "model": "",
  "when": "prepare",
  "max_tokens": taught.L_T,
  "compute_dtype": "",
  "vectors": "",
  "texts": "",
  "languages": (),
}
WIDTH = 32  # of the teacher, and of the student in tests/tiny.py


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
  folder = tmp_path_factory.mktemp("corpus") / "texts"
  write_corpus(folder)
  return folder


@pytest.fixture(scope="module")
def english(corpus):
  return [line.split("\t")[1] for line in (corpus / "en.tsv").read_text().splitlines()]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, english):
  return str(taught.write_teacher(tmp_path_factory.mktemp("teacher"), english, width=WIDTH))


def load(**changes):
  return teachers.load(pivot="en", **SETTINGS | changes)


def prepared(folder, corpus, guide):
  """The data of tests/tiny.py with the teacher's features."""
  config = tiny.get_config(str(corpus)).to_dict()
  settings = {**config["data"], **config["tokenizer"], "max_tokens": config["max_tokens"]}
  settings["guard"] = ()
  prepare = functools.partial(
    preparation.prepare,
    tokenizer_directory=folder / "tokenizer",
    extras=[guide.extra],
    workers=Processes(),
    fixed_ids=0,
    prompts=Sides(),
  )
  known = binding.keys_of(CorpusReader) | binding.keys_of(prepare)
  settings = {key: value for key, value in settings.items() if key in known}
  make_reader, prepare = binding.bind_each([CorpusReader, prepare], settings, where="data")
  prepare(folder / "data", make_reader())
  return store.load(folder / "data", pad_id=0)


def elements(data, language, number=40):
  """The first elements of a language as one batch."""
  return data.sources[language].gather(range(number))


def texts_of(data, corpus, language, number=40):
  """Their texts: the corpus in its order, without what is held out."""
  heldout = {row["en"] for row in data.heldout}
  columns = [(corpus / f"{code}.tsv").read_text().splitlines() for code in ("en", language)]
  columns = [[line.split("\t")[1] for line in lines] for lines in columns]
  return [pair for pair in zip(*columns, strict=True) if pair[0] not in heldout][:number]


def vectors_of(guide, batch, view, *, microbatches=1):
  """What an objective gets."""
  network, params = guide.network or (None, None)
  rows = jnp.full(len(batch["ids"]), view)
  batch = jax.tree.map(jnp.asarray, batch)
  settings = {"model": network, "microbatches": microbatches}
  return np.asarray(frozen_vectors.teacher_vectors(params, batch, rows, **settings))


def test_in_the_step_and_beforehand_it_says_the_same(corpus, teacher, tmp_path):
  """Its languages are aa, trusted most, and English; of bb and cc it is told nothing."""
  expected = embedder.load(teacher)
  for when in teachers.WHEN:
    guide = load(model=teacher, when=when, languages=("aa", "en"))
    data = prepared(tmp_path / when, corpus, guide)
    for language, side in (("aa", 1), ("bb", 0)):
      batch = elements(data, language)
      assert (batch["teacher_side"] == side).all()
      for k, texts in enumerate(zip(*texts_of(data, corpus, language), strict=True)):
        vectors = expected.encode(texts) if (language, k) != ("bb", 1) else np.zeros((40, WIDTH))
        for chunks in (1, 4):
          got = vectors_of(guide, batch, k, microbatches=chunks)
          np.testing.assert_allclose(got, vectors, atol=2e-6)


def test_a_vector_is_kept_once(corpus, teacher, tmp_path):
  """English alone: 460 texts of three languages, and the row of no text."""
  guide = load(model=teacher)
  data = prepared(tmp_path, corpus, guide)
  assert data.info["extras"]["teacher"] == {"texts": 460, "texts_without_vector": 0}
  stored = np.load(tmp_path / "data" / "train.npz")
  assert stored["teacher_vectors/values"].shape == (461, WIDTH)
  batch = elements(data, "cc")
  assert vectors_of(guide, batch, 0).any(1).all() and not vectors_of(guide, batch, 1).any()
  assert "teacher_side" not in batch


def files_of(tmp_path):
  return {"vectors": str(tmp_path / "own.npy"), "texts": str(tmp_path / "own.txt")}


def test_vectors_from_files(corpus, english, teacher, tmp_path, caplog):
  """The texts are written, encoded elsewhere, and found again in any order and spacing."""
  files = files_of(tmp_path)
  with pytest.raises(UserError, match=r"own.txt was not there: it is written now, 460 texts"):
    prepared(tmp_path, corpus, load(**files))
  assert not (tmp_path / "data").exists()
  texts = (tmp_path / "own.txt").read_text().splitlines()
  assert len(texts) == 460 and set(texts) < set(english)

  vectors = embedder.load(teacher).encode(texts)
  order = np.random.default_rng(0).permutation(460)
  (tmp_path / "own.txt").write_text("".join(f" {texts[i]}\t\r\n".replace(" ", "  ") for i in order))
  np.save(tmp_path / "own.npy", vectors[order].astype(np.float64))
  guide = load(**files)
  batch = elements(prepared(tmp_path / "all", corpus, guide), "aa")
  other = load(model=teacher)
  expected = elements(prepared(tmp_path / "model", corpus, other), "aa")
  np.testing.assert_array_equal(batch["ids"], expected["ids"])
  np.testing.assert_allclose(vectors_of(guide, batch, 0), vectors_of(other, expected, 0), atol=2e-6)

  (tmp_path / "own.txt").write_text("".join(f"{text}\n" for text in texts[:450]))
  np.save(tmp_path / "own.npy", vectors[:450])
  data = prepared(tmp_path / "some", corpus, load(**files))
  assert data.info["extras"]["teacher"] == {"texts": 460, "texts_without_vector": 10}
  assert "10 of the 460 texts have no teacher's vector" in caplog.text

  (tmp_path / "own.txt").write_text("".join(f"{text}\n" for text in texts[:200]))
  np.save(tmp_path / "own.npy", vectors[:200])
  with pytest.raises(UserError, match="260 of the 460 texts have no teacher's vector"):
    prepared(tmp_path / "few", corpus, load(**files))
  assert not (tmp_path / "few" / "data").exists()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({}, "give just one of them"),
    ({"model": "m", "vectors": "v.npy", "texts": "t.txt"}, "give just one of them"),
    ({"vectors": "v.npy"}, r"teacher.texts='': expected two files"),
    ({"model": "m", "when": "later"}, "teacher.when='later' is none of prepare, step"),
    ({"model": "m", "languages": ("de",)}, "the pivot, 'en', must be in it"),
    ({"model": "no/such/model", "when": "step"}, "teacher.model=no/such/model"),
    ({"model": "m", "when": "step", "max_tokens": 1}, "teacher.max_tokens=1"),
  ],
)
def test_mistakes_in_the_config(changes, message):
  with pytest.raises(UserError, match=message):
    load(**changes)


def test_a_teacher_too_short_for_its_texts(teacher):
  with pytest.raises(UserError, match=r"teacher.model=.*, max_tokens=999: .*too few"):
    load(model=teacher, when="step", max_tokens=999)


CLAIMS_12_TB = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 3)}"


def npy_header(text):
  """The beginning of a .npy file whose header is this text."""
  return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
  ("array", "message"),
  [
    (np.zeros((3, 4)), "has 3 rows, teacher.texts=.* has 2 lines"),
    (np.array([[0.0, 1.0], [np.nan, 0.0]]), "row 1 and 0 more hold numbers that are not finite"),
    (np.zeros(2), r"holds \(2,\) of float64: expected an array of floats"),
    (np.zeros((2, 2), int), r"holds \(2, 2\) of int64: expected an array of floats"),
    (None, "own.npy is not there, though the file that goes with it is"),
    (b"no array", r"is no .npy file that can be read"),
    (b"PK\x03\x04junk", r"is no .npy file that can be read"),
    (npy_header("(" * 200), r"is no .npy file that can be read"),
    (npy_header(CLAIMS_12_TB), r"is no .npy file that can be read"),
  ],
)
def test_mistakes_in_the_files(array, message, tmp_path):
  files = files_of(tmp_path)
  (tmp_path / "own.txt").write_text("one\ntwo\n")
  if isinstance(array, bytes):
    (tmp_path / "own.npy").write_bytes(array)
  elif array is not None:
    np.save(tmp_path / "own.npy", array)
  with pytest.raises(UserError, match=message):
    teacher_vectors.open_files(**files)


def train(workdir, corpus, *, objective, teacher, **changes):
  """A run of tests/tiny.py that follows a teacher."""
  config = tiny.get_config(str(corpus))
  config.model.dropout = 0.0
  config.objectives.translation_ranking.weight = 0.0
  config.objectives.representation_translation.weight = 0.0
  config.objectives[objective].weight = 1.0
  config.teacher.update(SETTINGS | teacher)
  config.update(changes)
  settings = RunConfig(**config.to_dict())
  training.train(settings, workdir=str(workdir), replay_step=None, hang_seconds=0)


@pytest.fixture(scope="module")
def soft_run(tmp_path_factory, corpus, teacher):
  """Sixty steps of soft alignment, the teacher in the step; saved every ten."""
  run = tmp_path_factory.mktemp("soft") / "run"
  train_soft(run, corpus, teacher)
  return run


def train_soft(run, corpus, teacher):
  sharp = {"soft_alignment": {"temperature": 0.01}}  # a random teacher's cosines are all high
  settings = {"model": teacher, "when": "step"}
  changes = {"objectives": sharp, "log_steps": 5}  # the first line is of steps that know little
  train(run, corpus, objective="soft_alignment", teacher=settings, **changes)


def test_soft_alignment_learns(soft_run):
  lines = [line for line in lines_of(soft_run) if "loss" in line]
  first, last = lines[0], lines[-1]
  # A student to which all 16 candidates are alike pays log 16 in each direction.
  assert first["soft_alignment"] > 2 * np.log(16) - 0.3 > last["soft_alignment"]
  assert last["teacher_correlation"] > 0.3 + first["teacher_correlation"]


def test_it_resumes_bit_for_bit(soft_run, corpus, teacher, tmp_path):
  """The last checkpoint is lost: from the one before, the same teacher leads to the same end."""
  run = tmp_path / "run"
  shutil.copytree(soft_run, run)
  shutil.rmtree(run / "checkpoints" / "60")
  train_soft(run, corpus, teacher)
  (ours, step), (expected, _) = final_state(run), final_state(soft_run)
  assert step == 60
  jax.tree.map(np.testing.assert_array_equal, ours, expected)


def test_another_teacher_is_noticed(soft_run, english, teacher, tmp_path):
  info = json.loads((soft_run / "data" / "info.json").read_text())
  teachers.refuse_other(load(model=teacher, when="step"), info)
  other = taught.write_teacher(tmp_path, english, width=WIDTH, seed=1)
  with pytest.raises(UserError, match="teacher.model is not the one that this run began with"):
    teachers.refuse_other(load(model=str(other), when="step"), info)


def test_distillation_learns(corpus, teacher, tmp_path):
  """With vectors made beforehand; once the data is there, the teacher may be gone."""
  gone = tmp_path / "gone"
  shutil.copytree(teacher, gone)
  settings = {"objective": "distillation", "teacher": {"model": str(gone)}}
  with pytest.raises(UserError, match="width 16, the teacher's 32: set model.dense.width=32"):
    train(tmp_path / "run", corpus, **settings, model={"dense": {"width": 16}})
  assert not lines_of(tmp_path / "run")
  shutil.rmtree(gone)
  train(tmp_path / "run", corpus, **settings, model={"dense": {"width": WIDTH}})
  lines = [line for line in lines_of(tmp_path / "run") if "loss" in line]
  assert lines[-1]["distillation"] < 0.5 * lines[0]["distillation"]
  assert lines[-1]["teacher_cosine"] > 0.9


@pytest.mark.slow
def test_two_processes_prepare_and_train(teacher, tmp_path, common):
  """Only the first prepares data, so the teacher's vectors are computed on its devices alone."""
  commands = Commands(tmp_path, shared=common)
  flags = [f"--config.teacher.model={teacher}", f"--config.teacher.max_tokens={taught.L_T}"]
  flags += ["--config.objectives.translation_ranking.weight=0.0", "--config.steps=2"]
  flags += ["--config.objectives.representation_translation.weight=0.0"]
  flags += ["--config.objectives.soft_alignment.weight=1.0", "--config.log_steps=1"]
  commands.run_processes(*commands.train_flags(tmp_path / "run", *flags))
  losses = [line["soft_alignment"] for line in lines_of(tmp_path / "run") if "loss" in line]
  assert len(losses) == 1 and np.isfinite(losses).all()
