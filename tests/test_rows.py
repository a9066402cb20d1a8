"""Rows of several views: grouping, the draw, lengths; on pairs made here and on catalogues.

Expected values: worked by hand; that a batch is a function of the step alone; and frequencies, with
a tolerance of four standard deviations of the draw.
"""

import collections
import importlib.util
import itertools
import logging

import numpy as np
import pytest

from dap_jax.data import elements, loader, rows
from dap_jax.utils.errors import UserError
from tests.one_example import one_example
from tests.staged import read_pairs


def ids(*numbers):
  """A sequence between [CLS] 2 and [SEP] 3."""
  return np.array([2, *numbers, 3], np.int32)


def pairs_of(texts):
  """Language -> list of (pivot, translation), tuples of ids -> language -> `Pairs`."""
  return {
    language: elements.Pairs(
      number,
      elements.Ragged.of([ids(*pivot) for pivot, _ in pairs]),
      elements.Ragged.of([ids(*translation) for _, translation in pairs]),
    )
    for number, (language, pairs) in enumerate(texts.items(), 1)
  }


# Sentence 10 in three languages, twice in aa; 20 in aa alone; 30 in bb and cc.
TEXTS = {
  "aa": [((10,), (11,)), ((20,), (21,)), ((10,), (12, 12))],
  "bb": [((30,), (33,)), ((10,), (13,))],
  "cc": [((10,), (14, 14, 14)), ((30,), (34,))],
}
PAIRS = pairs_of(TEXTS)
LAYOUT = elements.Layout(8, 0)


def source_of(pairs=PAIRS, *, views=3, rates=None):
  rates = rates or {language: len(of_language.pivot) for language, of_language in pairs.items()}
  return rows.source_of(pairs, LAYOUT, rates=rates, views=views)


def draw_of(source, seed=0):
  """What is drawn of its first row."""
  return one_example(source, source.draw(0, np.random.default_rng(seed)))


def test_pairs_of_one_pivot_are_a_row():
  groups = rows.group(list(PAIRS.values()))
  members = [
    set(zip(groups.language[a:b], groups.pair[a:b], strict=True))
    for a, b in itertools.pairwise(groups.offsets)
  ]
  assert members == [{(0, 0), (0, 2), (1, 1), (2, 0)}, {(0, 1)}, {(1, 0), (2, 1)}]
  assert groups.languages().tolist() == [3, 1, 2]


def translations_of(texts):
  """(pivot, language number) -> its translations, tuples of ids."""
  translations = collections.defaultdict(set)
  for number, pairs in enumerate(texts.values(), 1):
    for pivot, translation in pairs:
      translations[tuple(ids(*pivot)), number].add(tuple(ids(*translation)))
  return translations


def check_examples(batch, known):
  """Every element holds a pivot and its own translations into different languages."""
  for tokens, mask, language in zip(batch["ids"], batch["mask"], batch["language"], strict=True):
    texts = [tuple(row[real].tolist()) for row, real in zip(tokens, mask, strict=True)]
    assert language[0] == 0 and len(set(language)) == len(language)
    for text, number in zip(texts[1:], language[1:], strict=True):
      assert text in known[texts[0], int(number)]


def grammar(languages, sentences):
  """As many sentences in as many languages, one in seven missing; of 2 to 6 ids."""
  texts = {f"l{number}": [] for number in range(languages)}
  for number, sentence in itertools.product(range(languages), range(sentences)):
    if (number + sentence) % 7:
      pivot = (10 + sentence, *[9] * (sentence % 4))
      texts[f"l{number}"].append((pivot, (100 + number, 10 + sentence, *[9] * (number % 3))))
  return texts


def stream(*, part=slice(0, 12), first_step=0, steps=6, seed=4, views=4, buckets=(5, 8)):
  batches = loader.batches(
    {"rows": source_of(pairs_of(grammar(6, 31)), views=views)},
    rates={"rows": 1.0},
    bucket_tokens=buckets,
    seed=seed,
    batch_size=12,
    rows=part,
    first_step=first_step,
  )
  return [next(batches) for _ in range(steps)]


def test_elements_are_a_pivot_and_different_languages_of_its_row():
  known = translations_of(grammar(6, 31))
  for batch in stream():
    assert batch["ids"].shape[:2] == (12, 4) and batch["text_hash"].shape == (12, 4)
    check_examples(batch, known)


def test_the_batch_is_a_function_of_the_step():
  whole = stream(steps=9)
  for first in (1, 4, 8):
    for batch, expected in zip(
      stream(first_step=first, steps=9 - first), whole[first:], strict=True
    ):
      for name in batch:
        np.testing.assert_array_equal(batch[name], expected[name])
  other = stream(steps=9, seed=5)
  assert any((a["ids"] != b["ids"]).any() for a, b in zip(whole, other, strict=True))


@pytest.mark.parametrize("processes", [2, 4])
def test_every_number_of_processes_sees_the_same_batches(processes):
  size = 12 // processes
  parts = [stream(part=slice(p * size, (p + 1) * size)) for p in range(processes)]
  for step, whole in enumerate(stream()):
    for name in whole:
      joined = np.concatenate([part[step][name] for part in parts])
      np.testing.assert_array_equal(joined, whole[name])


def test_every_row_comes_once_an_epoch_with_other_languages():
  """31 rows and one length: batches of 12, so 31 of them hold 12 epochs."""
  drawn = collections.defaultdict(list)
  for batch in stream(steps=31, buckets=(8,)):
    for tokens, language in zip(batch["ids"][:, 0], batch["language"][:, 1:], strict=True):
      drawn[tuple(tokens)].append(frozenset(language.tolist()))
  assert [len(sets) for sets in drawn.values()] == [12] * 31
  # 12 draws of 3 languages out of 5 or 6 (10 or 20 sets): never all the same.
  assert all(len(set(sets)) > 1 for sets in drawn.values())


def frequencies(source, draws=4000):
  """Language -> how often it was drawn of row 0; and of aa, how often each translation."""
  languages, texts = collections.Counter(), collections.Counter()
  for i in range(draws):
    drawn = draw_of(source, i)
    languages.update(drawn["language"][1:].tolist())
    texts.update(drawn["ids"][drawn["language"] == 1, 1].tolist())
  return languages, texts


def test_a_language_is_drawn_before_its_pair():
  """Two of three languages: each in 2/3 of the draws, though aa has two translations."""
  languages, texts = frequencies(source_of())
  for number in (1, 2, 3):
    assert languages[number] / 4000 == pytest.approx(2 / 3, abs=0.03)  # 4 sd = 0.030
  assert texts[11] / languages[1] == pytest.approx(1 / 2, abs=0.04)


def test_rates_weigh_the_languages_of_a_row():
  """Weights rate / pairs of 6, 2 and 2: aa is in P(first) + P(second) = .6 + 2 (.2 x 6/8) = .9."""
  languages, _ = frequencies(source_of(rates={"aa": 18, "bb": 4, "cc": 4}))
  assert languages[1] / 4000 == pytest.approx(0.9, abs=0.02)
  assert languages[2] / 4000 == pytest.approx(0.55, abs=0.032)


def test_rows_of_too_few_languages_are_left_out(caplog):
  with caplog.at_level(logging.INFO):
    source = source_of(views=4)
  assert len(source) == 1
  assert "1 of 3 rows have 4 languages or more" in caplog.text
  assert [len(source_of(views=k)) for k in (2, 3)] == [3, 2]
  with pytest.raises(UserError, match=r"data\.views=5: none of 3 .* the most is 3: set 4"):
    source_of(views=5)
  with pytest.raises(UserError, match=r"data\.views=1"):
    source_of(views=1)


def test_a_row_goes_by_its_longest_view():
  """Lengths with [CLS] and [SEP]: row 10 has 3, 3, 4, 3, 5; row 30 has only 3."""
  source = source_of()
  assert source.longest().tolist() == [5, 3]
  short, long = source.between(0, 3), source.between(3, 5)
  assert (len(short), len(long)) == (1, 1)
  assert draw_of(short)["ids"].shape == (3, 3)
  assert draw_of(long)["ids"].shape == (3, 5)


def test_features_of_every_view_and_every_pair():
  """A number of each text and two of each pair, told by its ids, stand beside their texts."""
  features = (
    elements.Feature("first", "view", 1, 0, -1, "int32"),
    elements.Feature("ends", "pair", 1, 2, -1, "int32"),
  )

  def first_of(side):
    return elements.Ragged.of([np.array([side[i][1]]) for i in range(len(side))])

  pairs = {}
  for language, of_language in PAIRS.items():
    sides = first_of(of_language.pivot), first_of(of_language.translation)
    both = [np.array([sides[0][i][0], sides[1][i][0]]) for i in range(len(of_language.pivot))]
    extras = {("pivot", "first"): sides[0], ("translation", "first"): sides[1]}
    pairs[language] = of_language._replace(
      extras=extras | {("pair", "ends"): elements.Ragged.of(both)}
    )
  rates = dict.fromkeys(pairs, 1.0)
  layout = LAYOUT._replace(features=features)
  source = rows.source_of(pairs, layout, rates=rates, views=3)
  drawn = draw_of(source)
  firsts = drawn["ids"][:, 1]
  assert firsts[0] == 10 and len(set(firsts.tolist())) == 3
  assert drawn["first"].tolist() == [[int(i)] for i in firsts]
  assert drawn["ends"].tolist() == [[[10, int(i)]] for i in firsts[1:]]


def test_padding_and_shares_by_hand():
  """Row 10: pivot 3, translations (3.5 + 3 + 5) / 3 on average; row 30: 3 and 3.

  Real ids: 3 + 2 x 23/6 = 32/3 and 9, of 3 x 5 and 3 x 3. Languages: a third each of row 10, a half
  of bb and cc of row 30.
  """
  source = source_of()
  np.testing.assert_allclose(source.real_tokens(), [32 / 3, 9])
  for buckets, padded in (((3, 5), 15 + 9), ((8,), 24 + 24)):
    share = loader.padding_share({"rows": source}, rates={"rows": 1.0}, bucket_tokens=buckets)
    assert share == pytest.approx(1 - (32 / 3 + 9) / padded)
  np.testing.assert_allclose(source.language_shares(), [1 / 6, 5 / 12, 5 / 12])


def test_rows_of_real_catalogues():
  """Django's messages: what a batch calls German is what Django's German catalogue says."""
  if importlib.util.find_spec("django") is None:
    pytest.skip("needs django installed")
  pairs = read_pairs(
    format="gettext",
    arguments={"packages": ("django",)},
    pivot="en",
    languages=("de", "fr", "ja", "ru", "sw"),
    rules=("empty", "equal"),
    markup=True,
    drop_characters="",
    near_duplicates=0.0,
  )
  texts = sorted({text for pair in pairs for text in (pair.pivot, pair.translation)})
  number_of = {text: number for number, text in enumerate(texts, 10)}
  by_language = collections.defaultdict(list)
  for pair in pairs:
    both = (number_of[pair.pivot],), (number_of[pair.translation],)
    by_language[pair.language].append(both)
  texts = dict(sorted(by_language.items()))
  source = source_of(pairs_of(texts), views=4)
  assert len(source) > 100
  batches = loader.batches(
    {"rows": source},
    rates={"rows": 1.0},
    bucket_tokens=(8,),
    seed=0,
    batch_size=64,
    rows=slice(0, 64),
    first_step=0,
  )
  seen = collections.Counter()
  for _ in range(5):
    batch = next(batches)
    check_examples(batch, translations_of(texts))
    seen.update(batch["language"][:, 1:].ravel().tolist())
  assert set(seen) == {1, 2, 3, 4, 5}
