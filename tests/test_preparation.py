"""Preparing data from the disk: samples, shares, evaluation sets, processes; what SeqIO reads."""

import ctypes
import gzip
import hashlib
import json
import pathlib

import numpy as np
import pytest
import seqio
from etils import epath

from dap_jax.data import freed_memory, manifest, tasks, tokenizer, train_file, vocabulary_sample
from dap_jax.data.cleaning import corpus as corpus_module
from dap_jax.data.cleaning import kept, selection, stage
from dap_jax.data.cleaning.pairs import Pair
from dap_jax.data.engines import processes
from dap_jax.utils.errors import UserError
from tests.staged import split_pairs, staged
from tests.test_data import SPLIT, corpus, prepare, prepare_corpus

NO_GUARD = np.zeros(0, np.uint64)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  return prepare_corpus(tmp_path_factory.mktemp("prepared"))


def sampled(pairs, at_most):
  with staged(pairs) as on_disk:
    chosen = selection.select(
      on_disk, near_duplicates=0.0, **SPLIT | {"sentences": 0, "min_pairs": 1, "guard": NO_GUARD}
    )
    return vocabulary_sample.sampled_texts(on_disk, chosen, at_most=at_most)


def test_the_sample_of_a_vocabulary_is_the_texts_with_the_least_digests():
  """The same ones in every order of the pairs, hard negatives among them; blake2b by hand."""
  pairs = [pair._replace(negatives=(f"no {pair.pivot}",)) for pair in corpus()]
  texts = {text for pair in pairs for text in (pair.pivot, pair.translation, *pair.negatives)}
  assert len(texts) == 60 + 180 + 60
  by_digest = sorted(texts, key=lambda text: hashlib.blake2b(text.encode(), digest_size=8).digest())
  for at_most in (1, 41, 299):
    assert sampled(pairs, at_most) == (sorted(by_digest[:at_most]), 300)
    assert sampled(pairs[::-1], at_most) == (sorted(by_digest[:at_most]), 300)
  assert sampled(pairs, 300) == (sorted(texts), 300)


def test_a_corpus_in_many_shares_is_selected_alike(monkeypatch):
  """Hashes are compared by shares of their range; how many there are changes nothing."""
  pairs = corpus()
  pairs += [pairs[3], pairs[90], Pair("aa", "not held out", "another")]
  whole = split_pairs(pairs, **SPLIT), sampled(pairs, 50)
  monkeypatch.setattr(kept, "AT_A_TIME", 10)
  monkeypatch.setattr(stage, "BLOCK", 16)
  assert (split_pairs(pairs, **SPLIT), sampled(pairs, 50)) == whole
  assert len(whole[0][0]) == 150 + 1


def test_sentences_of_evaluation_sets_are_left_out(prepared, tmp_path):
  """In any spelling, on either side, from folders of several layouts; each is kept to be read."""
  guard = tmp_path / "evaluation"
  (guard / "deep").mkdir(parents=True)
  pairs = corpus()
  (guard / "set.eng").write_text(f"{pairs[0].pivot.upper()}!\n\nnothing of it\n")
  (guard / "deep" / "set.tsv").write_text(f"4.5\t{pairs[1].translation}\tanother text\n")
  (guard / "deep" / "set.zip").write_bytes(b"PK\x03\x04")  # is passed over
  run = tmp_path / "run"
  prepare(run, arguments={"paths": str(prepared / "*-en.tsv")}, guard=[str(guard)])
  info = manifest.read_info(run / "data")
  assert info["rejected"] == {"in_evaluation": 3 + 1}  # a pivot in three languages, one translation
  lines = gzip.decompress((run / "data" / "rejected" / "in_evaluation.jsonl.gz").read_bytes())
  rejected = [json.loads(line) for line in lines.decode().splitlines()]
  assert {row["pivot"] for row in rejected} == {pairs[0].pivot, pairs[1].pivot}
  assert rejected[0]["where"] == f"{prepared}/aa-en.tsv:1"
  stats = json.loads((run / "data" / "stats.json").read_text())["rejected"]["in_evaluation"]
  assert stats["pairs"] == 4 and sum(stats["languages"].values()) == 4
  assert stats["samples"] == rejected
  with pytest.raises(UserError, match="data.guard: .*absent is not there"):
    prepare(run, arguments={"paths": str(prepared)}, guard=[str(guard / "absent")])


def test_prepared_by_other_processes_it_is_the_same(prepared, tmp_path, monkeypatch):
  """A pool of processes cleans and tokenises where there is much; all files have the same bytes."""
  monkeypatch.setattr(corpus_module, "CHUNK_ROWS", 10)
  monkeypatch.setattr(processes, "ALONE", 1)
  prepare(tmp_path, arguments={"paths": str(prepared / "*-en.tsv")})
  for file in (prepared / "data").rglob("*"):
    if file.is_file():
      same = tmp_path / "data" / file.relative_to(prepared / "data")
      assert same.read_bytes() == file.read_bytes(), file.name
  assert sorted(p.name for p in (tmp_path / "data").iterdir()) == [
    "heldout.jsonl",
    "info.json",
    "stats.json",
    "train.npz",
  ]


def test_seqio_reads_prepared_data(prepared):
  """A mixture of plain SeqIO over the stored pairs: the ids of the loader, in their order."""
  tokens = tokenizer.Tokenizer.load(prepared / "tokenizer", max_tokens=8)
  info = manifest.read_info(prepared / "data")
  stored = train_file.load_pairs(
    prepared / "data" / "train.npz", languages=info["rates"], features=()
  )
  tasks.register(stored, name="stored", tokenizer=tokens, temperature=2.0)
  (task,) = [n for n, code in tasks.task_names("stored", stored).items() if code == "bb"]
  dataset = seqio.get_mixture_or_task(task).get_dataset(split="train", shuffle=False)
  examples = list(dataset.as_numpy_iterator())
  assert len(examples) == info["pairs"]["bb"]
  for example, pivot, other in zip(
    examples, stored["bb"].pivot, stored["bb"].translation, strict=True
  ):
    np.testing.assert_array_equal(example["pivot"], pivot)
    np.testing.assert_array_equal(example["translation"], other)


class Remote:
  """A file as etils shows one in a bucket: it can be opened, and its name is no local path."""

  def __init__(self, local):
    self.open = local.open

  def __str__(self):
    return "gs://bucket/train.npz"


def test_data_in_a_bucket_is_read_from_the_disk(prepared):
  """The arrays of the local file; they are mapped, and the copy's name is gone."""
  local = prepared / "data" / "train.npz"
  remote = train_file.mapped_arrays(Remote(local))
  expected = train_file.mapped_arrays(epath.Path(local))
  assert remote.keys() == expected.keys()
  for name, array in remote.items():
    np.testing.assert_array_equal(array, expected[name])
  assert any(isinstance(array.base, np.memmap) for array in remote.values())


def test_freed_memory_is_given_back():
  """300 MB of blocks that a later, small one keeps from being given back by themselves."""
  if not hasattr(ctypes.CDLL(None), "malloc_trim"):
    pytest.skip("needs glibc: other C libraries keep no freed memory, or have no such call")
  blocks, last = [], []
  for _ in range(3000):
    blocks.append(np.ones(12_500))  # 100 kB: of the heap, not of a map of its own
    last.append(np.ones(100))
  held = resident()
  del blocks
  freed_memory.give_back()
  assert held - resident() > 200e6


def resident():
  """Bytes of memory that this process holds, without mapped files."""
  lines = pathlib.Path("/proc/self/status").read_text().splitlines()
  (line,) = (line for line in lines if line.startswith("RssAnon"))
  return 1024 * int(line.split()[1])
