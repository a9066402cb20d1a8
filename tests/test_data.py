"""The split, the SeqIO tasks, the store and the loader, on small corpora made here."""

import collections
import itertools

import numpy as np
import pytest

from dap_jax.data import (
  elements,
  loader,
  manifest,
  preparation,
  store,
  tokenizer,
  tokenizer_training,
)
from dap_jax.data.cleaning.corpus import CorpusReader
from dap_jax.data.cleaning.pairs import Pair
from dap_jax.data.engines.processes import Processes
from dap_jax.data.texts import normal_forms
from dap_jax.utils.errors import UserError
from dap_jax.utils.prompts import Sides
from tests.one_example import one_example
from tests.staged import read_pairs, split_pairs


def corpus():
  """60 English sentences of three words, in three languages; two spellings of the first."""
  words = (
    ["red", "old", "new"],
    ["page", "user", "file", "word"],
    ["opens", "shuts", "waits", "moves", "is"],
  )
  english = [" ".join(choice) for choice in itertools.product(*words)]
  return [
    Pair(lang, text, f"{lang} {text[::-1]}") for lang in ("aa", "bb", "cc") for text in english
  ]


SPLIT = {"pivot": "en", "sentences": 10, "min_words": 3, "min_languages": 3}


def test_nothing_of_a_held_out_sentence_stays_in_training():
  pairs = corpus()
  _, rows = split_pairs(pairs, **SPLIT)
  # Another spelling of a held-out sentence, and its translation given to another sentence.
  pairs += [Pair("aa", rows[0]["en"].upper() + "!", "aa anything")]
  pairs += [Pair("aa", "quite another one", rows[0]["aa"])]
  train, heldout = split_pairs(pairs, **SPLIT)
  assert len(heldout) == 10
  assert len(train) == 3 * 50
  keys = {normal_forms.key_of(row["en"]) for row in heldout}
  seen = {(lang, normal_forms.key_of(text)) for row in heldout for lang, text in row.items()}
  assert not any(normal_forms.key_of(pair.pivot) in keys for pair in train)
  assert not any((pair.language, normal_forms.key_of(pair.translation)) in seen for pair in train)


@pytest.mark.parametrize(
  ("first", "second", "equal"),
  [
    ("Hello, WORLD!", "hello world", True),
    ("कि", "की", False),  # Hindi: that, of; the vowel sign is all that differs
    ("ปู", "ปี", False),  # Thai: crab, year
    ("மல்", "மலை", False),  # Tamil
    ("cafe\u0301", "cafe", False),
    ("\u2764\ufe0f ok", "ok", True),  # a mark on a symbol belongs to no word
    ("5 m²", "5 m", False),
  ],
)
def test_texts_that_count_as_one_sentence(first, second, equal):
  assert (normal_forms.key_of(first) == normal_forms.key_of(second)) is equal


def test_padding_share_by_hand():
  """Pairs of 3 + 5 and 2 + 2 ids: in one bucket of 8, 12 of 32 ids are real; in 4 and 8, of 24."""
  pivot = elements.Ragged.of([np.ones(3, np.int32), np.ones(2, np.int32)])
  other = elements.Ragged.of([np.ones(5, np.int32), np.ones(2, np.int32)])
  sources = {"aa": loader.PairSource(elements.Pairs(1, pivot, other), elements.Layout(8, 0))}
  for buckets, share in (((8,), 1 - 12 / 32), ((4, 8), 1 - 12 / 24)):
    padding = loader.padding_share(sources, rates={"aa": 0.3}, bucket_tokens=buckets)
    assert padding == pytest.approx(share)


def test_the_split_is_by_hash_not_by_order():
  pairs = corpus()
  _, first = split_pairs(pairs, **SPLIT)
  _, second = split_pairs(pairs[::-1], **SPLIT)
  assert [row["en"] for row in first] == [row["en"] for row in second]


def test_too_few_sentences_say_how_many():
  with pytest.raises(UserError, match="only 60 sentences in en have 3 words"):
    split_pairs(corpus(), **SPLIT | {"sentences": 61})
  with pytest.raises(UserError, match="only 0 sentences in en"):
    split_pairs(corpus(), **SPLIT | {"min_languages": 4})
  with pytest.raises(UserError, match="no pair to train on"):
    split_pairs(corpus(), **SPLIT | {"sentences": 60})


def source_of(count, seed):
  rng = np.random.default_rng(seed)
  sequences = [rng.integers(5, 99, rng.integers(3, 8)).astype(np.int32) for _ in range(count)]
  ragged = elements.Ragged.of(sequences)
  pairs = elements.Pairs(1, ragged, ragged)
  return loader.PairSource(pairs, elements.Layout(8, 0)), sequences


def stream(*, rows=slice(0, 12), first_step=0, rates=None, steps=5, batch_size=12, buckets=(8,)):
  sources = {"aa": source_of(7, 0)[0], "bb": source_of(30, 1)[0]}
  batches = loader.batches(
    sources,
    rates=rates or {"aa": 1.0, "bb": 3.0},
    bucket_tokens=buckets,
    seed=4,
    batch_size=batch_size,
    rows=rows,
    first_step=first_step,
  )
  return [next(batches) for _ in range(steps)]


def test_a_pair_as_arrays():
  source, sequences = source_of(7, 0)
  pair = one_example(source, 3)
  assert pair["ids"].shape == (2, 8)
  assert pair["ids"][1].tolist() == [*sequences[3], *[0] * (8 - len(sequences[3]))]
  assert pair["mask"][0].sum() == len(sequences[3])
  assert pair["text_hash"][0] == pair["text_hash"][1]  # the same ids
  assert len({int(one_example(source, i)["text_hash"][0]) for i in range(7)}) == 7


@pytest.mark.parametrize("buckets", [(8,), (5, 8)])
def test_the_step_is_the_only_state(buckets):
  whole = stream(steps=9, buckets=buckets)
  for first in (1, 4, 8):
    later = stream(first_step=first, steps=9 - first, buckets=buckets)
    for batch, expected in zip(later, whole[first:], strict=True):
      for name in batch:
        np.testing.assert_array_equal(batch[name], expected[name])


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_every_number_of_processes_sees_the_same_batches(processes):
  size = 12 // processes
  shares = [stream(rows=slice(p * size, (p + 1) * size), buckets=(5, 8)) for p in range(processes)]
  for step, whole in enumerate(stream(buckets=(5, 8))):
    joined = np.concatenate([share[step]["ids"] for share in shares])
    np.testing.assert_array_equal(joined, whole["ids"])


def test_languages_come_at_their_rates_and_every_pair_once_an_epoch():
  batches = stream(steps=10)
  ids = np.concatenate([batch["ids"][:, 0] for batch in batches])
  known = {tuple(one_example(source_of(7, 0)[0], i)["ids"][0]) for i in range(7)}
  from_aa = [tuple(row) for row in ids if tuple(row) in known]
  assert len(from_aa) == 30  # a quarter of 120
  counts = collections.Counter(from_aa[:28])  # four epochs of 7
  assert set(counts.values()) == {4}


def test_a_bucket_holds_the_pairs_of_its_lengths_and_none_is_lost():
  """Over whole epochs at rates that follow the sizes, every pair comes equally often."""
  rates = {"aa": 7.0, "bb": 30.0}
  batches = stream(steps=37, batch_size=4, rows=slice(0, 4), rates=rates, buckets=(5, 8))
  lengths = {5: range(1, 6), 8: range(6, 9)}
  counts = collections.Counter()
  for batch in batches:
    longest = batch["ids"].shape[-1]
    assert set(batch["mask"][:, 0].sum(1).tolist()) <= set(lengths[longest])
    counts.update(
      tuple(ids[mask]) for ids, mask in zip(batch["ids"][:, 0], batch["mask"][:, 0], strict=True)
    )
  assert len(counts) == 37
  assert sum(counts.values()) == 4 * 37
  assert set(counts.values()) <= {3, 4, 5}


READER = {
  "format": "tsv",
  "pivot": "en",
  "languages": (),
  "rules": ("empty",),
  "rules_for": {},
  "markup": False,
  "drop_characters": "",
  "near_duplicates": 0.0,
  "max_line_bytes": 1 << 20,
}
PREPARE = {
  "vocabulary_size": 36,
  "sample_texts": 1000,
  "prune": 0,
  "fixed_ids": 0,
  "max_tokens": 8,
  "prompts": Sides(),
  "temperature": 2.0,
  "min_pairs": 1,
  "guard": (),
  "heldout": {"sentences": 10, "min_words": 3, "min_languages": 2},
  "extras": (),
}


def prepare(folder, *, arguments, near_duplicates=0.0, **changes):
  """`preparation.prepare` into folder/data and folder/tokenizer, with the settings above."""
  reader = CorpusReader(arguments=arguments, **READER | {"near_duplicates": near_duplicates})
  settings = PREPARE | {"workers": Processes()} | changes
  preparation.prepare(folder / "data", reader, tokenizer_directory=folder / "tokenizer", **settings)


def prepare_corpus(folder, **changes):
  """Prepares 60, 60 and 26 pairs of the corpus."""
  counts = {"aa": 60, "bb": 60, "cc": 26}
  for lang, count in counts.items():
    pairs = [pair for pair in corpus() if pair.language == lang][:count]
    text = "".join(f"{pair.translation}\t{pair.pivot}\n" for pair in pairs)
    (folder / f"{lang}-en.tsv").write_text(text)
  prepare(folder, arguments={"paths": str(folder / "*-en.tsv")}, **changes)
  return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  return prepare_corpus(tmp_path_factory.mktemp("prepared"))


def test_what_is_prepared_is_what_the_tokenizer_says(prepared):
  """The path through SeqIO gives the ids of the tokenizer alone, cut to 8 with [SEP] at the end."""
  tokens = tokenizer.Tokenizer.load(prepared / "tokenizer", max_tokens=8)
  loaded = store.load(prepared / "data", pad_id=0)
  train, _ = split_pairs(
    [pair for pair in corpus() if pair.language == "aa"],
    **SPLIT | {"sentences": 0, "min_languages": 1},
  )
  heldout = {row["en"] for row in loaded.heldout}
  pairs = [pair for pair in train if pair.pivot not in heldout]
  source = loaded.sources["aa"]
  assert len(source) == len(pairs) == 50
  for i in (0, 17, 49):
    example = one_example(source, i)
    for k, text in enumerate((pairs[i].pivot, pairs[i].translation)):
      ids = tokens.encode_ragged([text])[0]
      assert example["ids"][k][example["mask"][k]].tolist() == ids
      assert len(ids) <= 8 and ids[0] == 2 and ids[-1] == 3


def test_texts_that_are_cut_are_counted(prepared, tmp_path):
  """Those that have more than 14 ids where nothing is cut; a pair has two texts."""
  arguments = {"paths": str(prepared / "*-en.tsv")}
  none = PREPARE["heldout"] | {"sentences": 0}
  prepare(tmp_path, arguments=arguments, max_tokens=14, heldout=none)
  whole = tokenizer.Tokenizer.load(tmp_path / "tokenizer", max_tokens=1000)
  pairs = read_pairs(arguments=arguments, **READER)
  ids = whole.encode_ragged([text for pair in pairs for text in (pair.pivot, pair.translation)])
  cut = sum(len(each) > 14 for each in ids)
  assert 0 < cut < len(ids) and manifest.read_info(tmp_path / "data")["cut_texts"] == cut


def test_rates_are_tempered_and_the_english_ids_are_those_of_the_english_side(prepared):
  loaded = store.load(prepared / "data", pad_id=0)
  sizes = {lang: len(source) for lang, source in loaded.sources.items()}
  roots = {lang: size**0.5 for lang, size in sizes.items()}
  for lang, rate in loaded.rates.items():
    assert rate == pytest.approx(roots[lang] / sum(roots.values()))
  english = {
    int(i)
    for source in loaded.sources.values()
    for i in np.unique(source.gather(range(len(source)))["ids"][:, 0])
  }
  assert set(loaded.english_ids.tolist()) == english - {0}


def test_held_out_texts_are_not_in_the_vocabulary_training(prepared, monkeypatch):
  seen = []
  monkeypatch.setattr(tokenizer_training, "train", lambda texts, **_: seen.extend(texts))
  with pytest.raises(UserError, match="no tokenizer.json"):  # since nothing was trained
    prepare(prepared / "again", arguments={"paths": str(prepared / "*-en.tsv")})
  heldout = {text for row in store.heldout(prepared / "data") for text in row.values()}
  assert seen and not heldout & set(seen)


def test_an_unfinished_preparation_is_not_complete(prepared):
  assert manifest.complete(prepared / "data")
  assert not manifest.complete(prepared / "again" / "data")
