"""Prepared data as SeqIO's own cache, read by plain SeqIO.

Expected values: the pairs that the loader reads; shares by pairs ** (1 / temperature).
"""

import itertools
import json
import pathlib
import shutil

import numpy as np
import pytest
import seqio
from etils import epath

from dap_jax.data import manifest, seqio_cache, train_file
from dap_jax.utils.errors import UserError
from tests.test_data import prepared  # noqa: F401, a fixture

LENGTHS = {"pivot": 8, "translation": 8}


@pytest.fixture(scope="module")
def cache(prepared, tmp_path_factory):  # noqa: F811
  folder = epath.Path(tmp_path_factory.mktemp("seqio"))
  seqio_cache.SHARD_PAIRS, whole = 20, seqio_cache.SHARD_PAIRS
  seqio_cache.write(folder, workdir=epath.Path(prepared), name="cached", temperature=2.0)
  seqio_cache.SHARD_PAIRS = whole
  return folder


def pairs_of(prepared, language):  # noqa: F811
  """The (pivot, translation) of a language, as they were prepared."""
  info = manifest.read_info(prepared / "data")
  path = epath.Path(prepared / "data" / "train.npz")
  pairs = train_file.load_pairs(path, languages=info["rates"], features=())[language]
  return list(zip(pairs.pivot, pairs.translation, strict=True))


def as_key(pivot, translation):
  return pivot.tobytes(), translation.tobytes()


def test_seqio_reads_the_pairs(prepared, cache):  # noqa: F811
  seqio_cache.register(cache)
  info = manifest.read_info(prepared / "data")
  tasks = json.loads((cache / "mixture.json").read_text())["tasks"]
  assert {each["language"] for each in tasks.values()} == info["pairs"].keys()
  for task, of_task in tasks.items():
    pairs = pairs_of(prepared, of_task["language"])
    dataset = seqio.get_mixture_or_task(task).get_dataset(
      LENGTHS, split="train", shuffle=False, use_cached=True
    )
    examples = list(dataset.as_numpy_iterator())
    assert len(examples) == len(pairs) == of_task["pairs"]
    assert len(list((cache / task).glob("train.tfrecord-*"))) == -(-len(examples) // 20)
    assert {ids.dtype for example in examples for ids in example.values()} == {np.dtype(np.int32)}
    read = sorted(as_key(example["pivot"], example["translation"]) for example in examples)
    assert read == sorted(as_key(*pair) for pair in pairs)


def test_the_mixture_has_the_rates_of_the_loader(prepared, cache):  # noqa: F811
  mixture = seqio_cache.register(cache)
  rates = manifest.read_info(prepared / "data")["rates"]
  tasks = json.loads((cache / "mixture.json").read_text())["tasks"]
  total = sum(mixture.get_rate(task) for task in mixture.tasks)
  for task in mixture.tasks:
    language = tasks[task.name]["language"]
    assert mixture.get_rate(task) / total == pytest.approx(rates[language])
  dataset = seqio.get_mixture_or_task("cached").get_dataset(
    LENGTHS, split="train", shuffle=True, seed=1, use_cached=True
  )
  examples = itertools.islice(dataset.as_numpy_iterator(), 60)
  drawn = [as_key(example["pivot"], example["translation"]) for example in examples]
  for language in tasks.values():
    of_language = {as_key(*pair) for pair in pairs_of(prepared, language["language"])}
    assert of_language & set(drawn), language
    drawn = [key for key in drawn if key not in of_language]
  assert drawn == []


def test_what_is_there_is_not_written_again_and_other_data_is_refused(prepared, cache):  # noqa: F811
  before = {path: path.stat().st_mtime_ns for path in pathlib.Path(cache).rglob("*")}
  seqio_cache.write(cache, workdir=epath.Path(prepared), name="cached", temperature=2.0)
  assert {path: path.stat().st_mtime_ns for path in pathlib.Path(cache).rglob("*")} == before
  with pytest.raises(UserError, match="is the cache of other data"):
    seqio_cache.write(cache, workdir=epath.Path(prepared), name="cached", temperature=1.0)


def test_tasks_that_a_killed_run_left(prepared, cache, tmp_path):  # noqa: F811
  folder = epath.Path(shutil.copytree(cache, tmp_path / "left"))
  (task, *_) = sorted(folder.glob("cached_*"))
  (task / "COMPLETED").unlink()
  with pytest.raises(UserError, match=f"has no complete {task.name}: .* was killed; repeat it"):
    seqio_cache.register(folder)
  other = shutil.copytree(prepared, tmp_path / "other")  # the same numbers of pairs, other texts
  info = json.loads((other / "data" / "info.json").read_text())
  info["files"]["train.npz"] = "of other pairs"
  (other / "data" / "info.json").write_text(json.dumps(info))
  with pytest.raises(UserError, match="is the cache of other data"):
    seqio_cache.write(folder, workdir=epath.Path(other), name="cached", temperature=2.0)
  seqio_cache.write(folder, workdir=epath.Path(prepared), name="cached", temperature=2.0)
  seqio_cache.register(folder)


def test_a_folder_that_is_none(tmp_path):
  with pytest.raises(UserError, match="has no mixture.json"):
    seqio_cache.register(tmp_path)
