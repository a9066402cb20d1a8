"""MTEB's figures for a model of ours, on small tasks made here, against those of our own suites."""

import subprocess
import sys

import datasets
import mteb
import numpy as np
import pytest
from mteb.abstasks import AbsTaskBitextMining, AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

from dap_jax.evals import sts, tatoeba
from dap_jax.inference import embedder, mteb_model
from dap_jax.utils.errors import UserError
from tests.commands import ROOT


def metadata(name, kind, *, main_score):
  return TaskMetadata(
    name=name,
    description="made by a test",
    type=kind,
    dataset={"path": "made/here", "revision": "1"},
    eval_splits=["test"],
    eval_langs=["eng-Latn"],
    main_score=main_score,
    modalities=["text"],
  )


class Local:
  """A task whose data is at hand: a subclass names its `columns`."""

  columns: dict

  def load_data(self, **_):
    self.dataset = datasets.DatasetDict({"test": datasets.Dataset.from_dict(self.columns)})
    self.data_loaded = True


class Bitext(Local, AbsTaskBitextMining):
  metadata = metadata("LocalBitext", "BitextMining", main_score="f1")


class Similarity(Local, AbsTaskSTS):
  metadata = metadata("LocalSTS", "STS", main_score="cosine_spearman")


def scores_of(model, task, *, cache=None):
  """What MTEB says of the only split."""
  results = mteb.evaluate(model, task, cache=cache, co2_tracker=False, show_progress_bar=False)
  return results.task_results[0].scores["test"][0]


@pytest.fixture(scope="module")
def model(commands):
  return mteb_model.load(str(commands.straight))


@pytest.fixture(scope="module")
def texts(commands):
  """60 English sentences and a cipher of them."""
  return {
    code: [
      line.split("\t")[1] for line in (commands.corpus / f"{code}.tsv").read_text().splitlines()
    ][::8]
    for code in ("en", "aa")
  }


def test_bitext_mining_is_tatoebas_accuracy(model, texts):
  task = Bitext()
  task.columns = {"sentence1": texts["aa"], "sentence2": texts["en"]}
  ours = tatoeba.tatoeba({"aa": (texts["aa"], texts["en"])}, model.loaded.encode)
  accuracy = ours["to_english_accuracy/aa"]
  assert 0.1 < accuracy < 1  # chance is 1/60
  assert scores_of(model, task)["accuracy"] == pytest.approx(accuracy, abs=1e-12)


def test_sts_is_our_correlation(model, texts):
  """Scores: of every second pair the cipher of another sentence."""
  gold = np.random.default_rng(0).uniform(0, 5, 60)
  other = [
    text if number % 2 else texts["aa"][number - 1] for number, text in enumerate(texts["aa"])
  ]
  task = Similarity()
  task.columns = {"sentence1": texts["en"], "sentence2": other, "score": gold.tolist()}
  ours = sts.sts({"t": sts.Track(gold, texts["en"], other)}, model.loaded.encode)
  scores = scores_of(model, task)
  assert 100 * scores["cosine_spearman"] == pytest.approx(ours["spearman/t"], abs=1e-4)
  assert 100 * scores["cosine_pearson"] == pytest.approx(ours["pearson/t"], abs=1e-4)
  assert scores["main_score"] == scores["cosine_spearman"]


def test_what_mteb_knows_of_the_model(commands, model):
  """Stored results belong to a revision: other weights or another length are another one."""
  meta = model.mteb_model_meta
  assert isinstance(model, mteb.EncoderProtocol)
  assert meta.name == "dap_jax/straight"
  assert meta.embed_dim == 32
  assert meta.framework == ["JAX"]
  again = mteb_model.load(str(commands.straight))
  assert again.mteb_model_meta.revision == meta.revision
  for other in ({"max_tokens": 6}, {"step": "50"}, {"compute_dtype": "bfloat16"}):
    changed = mteb_model.load(str(commands.straight), **other)
    assert changed.mteb_model_meta.revision != meta.revision


def test_results_are_stored_under_the_revision(commands, model, texts, tmp_path):
  """The same task with another model is computed again, not taken from the store."""
  task = Bitext()
  task.columns = {"sentence1": texts["aa"], "sentence2": texts["en"]}
  cache = mteb.ResultCache(tmp_path)
  cut = mteb_model.load(str(commands.straight), max_tokens=3)
  both = [scores_of(either, task, cache=cache)["accuracy"] for either in (model, cut)]
  assert both[0] > both[1]
  stored = scores_of(model, task, cache=cache)["accuracy"]  # with six digits
  assert stored == pytest.approx(both[0], abs=1e-6)
  assert len(list(tmp_path.rglob("LocalBitext.json"))) == 2


def test_vectors_that_are_no_numbers(commands, texts):
  loaded = embedder.load(str(commands.straight))
  loaded.params["encoder"]["embeddings"]["norm"]["bias"] *= np.nan
  task = Bitext()
  task.columns = {"sentence1": texts["aa"], "sentence2": texts["en"]}
  with pytest.raises(UserError, match="LocalBitext: 60 of 60 vectors are not finite"):
    scores_of(mteb_model.MtebModel(loaded, name="dap_jax/broken"), task)


def test_without_mteb():
  """One clear line; and nothing else of the project needs it."""
  program = """
import sys
sys.modules["mteb"] = None
from dap_jax.inference import embedder
from dap_jax.utils import errors
try:
  from dap_jax import mteb_model
except errors.UserError as error:
  print(error)
"""
  process = subprocess.run(
    [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
  )
  assert "needs mteb 2" in process.stdout
  assert "pip install mteb" in process.stdout
