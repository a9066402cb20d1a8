"""Hard negatives from the file to the loss: texts in the pivot's language that are no translation.

Expected values: the files' own texts, cases worked by hand, and what must not change a loss.
"""

import gzip
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dap_jax.core import train_step
from dap_jax.core.objective import Context
from dap_jax.data import elements, loader, rows, store, tokenizer
from dap_jax.data.cleaning.pairs import Pair, pairs_of
from dap_jax.data.readers import formats
from dap_jax.data.readers.row import NEGATIVE
from dap_jax.data.texts.normal_forms import key_of
from dap_jax.objectives import translation_ranking
from dap_jax.utils.errors import UserError
from tests.commands import lines_of
from tests.models import drawn
from tests.one_example import one_example
from tests.staged import clean_rows, split_pairs
from tests.test_data import prepare
from tests.test_objectives import RANKING, VOCABULARY, objectives_of, tiny


def test_tsv_reads_further_columns_as_negatives(tmp_path):
  lines = ["anchor\tpositive\tnegative_1\tnegative_2", "ein Hund\ta dog\ta cat\ta cow"]
  lines += ["eine Katze\ta cat\t \ta mouse", "Brot\tbread", "zwei\ttwo\tten\t"]
  (tmp_path / "de-en.tsv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
  arguments = {"paths": str(tmp_path), "negatives": 2}
  triplets = list(formats.read_rows("tsv", pivot="en", **arguments))
  assert triplets == [
    {"de": "ein Hund", "en": "a dog", "negative 1": "a cat", "negative 2": "a cow"},
    {"de": "eine Katze", "en": "a cat", "negative 2": "a mouse"},  # a blank one is missing
    {"de": "Brot", "en": "bread"},
    {"de": "zwei", "en": "two", "negative 1": "ten"},
  ]
  pairs = [pair for row in triplets for pair in pairs_of(row, pivot="en")]
  assert pairs[0] == Pair("de", "a dog", "ein Hund", ("a cat", "a cow"))
  assert [pair.negatives for pair in pairs[1:]] == [("a mouse",), (), ("ten",)]
  with pytest.raises(UserError, match=r"data\.arguments\.negatives=-1"):
    list(formats.read_rows("tsv", pivot="en", **arguments | {"negatives": -1}))


def test_a_row_of_pivot_and_negative_alone_is_no_pair(tmp_path):
  (tmp_path / "de-en.tsv").write_text(" \ta dog\ta cat\n")
  with pytest.raises(UserError, match="gave no pair"):
    list(formats.read_rows("tsv", pivot="en", paths=str(tmp_path), negatives=1))


def test_cleaning_drops_a_negative_that_says_what_the_pivot_says():
  row = {"de": "ein Hund", "en": "A dog."}
  spoilt = ["a dog", "\u200b", "...", "a <b>cat</b>"]
  row |= {f"{NEGATIVE}{i}": text for i, text in enumerate(spoilt)}
  pairs, _ = clean_rows([row], rules=("equal",), markup=True)
  assert pairs == [Pair("de", "A dog.", "ein Hund", ("a cat",))]


def test_a_held_out_sentence_is_no_negative():
  english = [f"number {number} here" for number in range(20)]
  pairs = [
    Pair("de", text, f"de {text}", (english[(i + 1) % 20], "quite another text"))
    for i, text in enumerate(english)
  ]
  train, heldout = split_pairs(pairs, pivot="en", sentences=6, min_words=3, min_languages=1)
  keys = {key_of(row["en"]) for row in heldout}
  lacking = [pair for pair in train if len(pair.negatives) == 1]
  assert len(train) == 14 and 0 < len(lacking) < 14
  for pair in train:
    assert not {key_of(text) for text in pair.negatives} & keys
    assert pair.negatives[-1] == "quite another text"


def ids(*numbers):
  return np.array([2, *numbers, 3], np.int32)


def pairs_with(negatives):
  """One language; pair i says 10 + i, has the given negatives, tuples of ids."""
  count = len(negatives)
  return elements.Pairs(
    1,
    elements.Ragged.of([ids(10 + i) for i in range(count)]),
    elements.Ragged.of([ids(20 + i, 20) for i in range(count)]),
    {},
    elements.Ragged.of([ids(*text) for of_pair in negatives for text in of_pair]),
    np.cumsum([0, *map(len, negatives)]),
  )


PAIRS = pairs_with([[(31,), (32, 32, 32, 32)], [], [(33,)]])


def test_elements_with_negatives():
  source = loader.PairSource(PAIRS, elements.Layout(8, 0, (), 2))
  first, second, third = (one_example(source, i) for i in range(3))
  assert first["ids"].shape == (4, 8) and first["text_hash"].shape == (4,)
  assert first["language"].tolist() == [0, 1]
  assert first["ids"][2:, :4].tolist() == [[2, 31, 3, 0], [2, 32, 32, 32]]
  assert [x["has_negative"].tolist() for x in (first, second, third)] == [
    [True, True],
    [False, False],
    [True, False],
  ]
  assert second["ids"][3].tolist() == [2, 3, *[0] * 6]  # [CLS] [SEP] where there is none
  assert second["mask"].sum(1).tolist() == [3, 4, 2, 2]
  assert len(set(first["text_hash"].tolist())) == 4
  assert source.sequences == 4


def test_a_pair_goes_by_its_longest_negative_too():
  """Ids: 3, 4, 3, 6; 3, 4, 2, 2; 3, 4, 3, 2. With one negative the first pair is short too."""
  for negatives, longest, total in ((2, [6, 4, 4], [16, 11, 12]), (1, [4, 4, 4], [10, 9, 10])):
    source = loader.PairSource(PAIRS, elements.Layout(8, 0, (), negatives))
    assert source.longest().tolist() == longest
    assert source.real_tokens().tolist() == total
  short = loader.PairSource(PAIRS, elements.Layout(8, 0, (), 2)).between(0, 4)
  assert len(short) == 2 and one_example(short, 1)["ids"].shape == (4, 4)


def test_a_negative_that_stands_twice_is_taken_once():
  """The third, longer one is none of the first two, so the lengths do not count it either."""
  pairs = pairs_with([[(31,), (31,), (32, 32, 32, 32)]])
  source = loader.PairSource(pairs, elements.Layout(8, 0, (), 2)).between(0, 4)
  assert len(source) == 1
  assert one_example(source, 0)["has_negative"].tolist() == [True, False]
  assert one_example(source, 0)["ids"][2:].tolist() == [[2, 31, 3, 0], [2, 3, 0, 0]]


def test_rows_take_the_different_negatives_of_their_pairs():
  again = PAIRS._replace(language=2)
  other = pairs_with([[(41,)], [], []])._replace(language=3)
  source = rows.source_of(
    {"aa": PAIRS, "bb": again, "cc": other},
    elements.Layout(8, 0, (), 3),
    rates=dict.fromkeys(("aa", "bb", "cc"), 1.0),
    views=4,
  )
  drawn = one_example(source, source.draw(0, np.random.default_rng(0)))
  assert drawn["ids"].shape == (7, 8) and drawn["has_negative"].tolist() == [True] * 3
  assert {tuple(row[:3].tolist()) for row in drawn["ids"][4:]} == {
    (2, 31, 3),
    (2, 32, 32),
    (2, 41, 3),
  }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  """60 pairs; of every third pair the negative is blank, of one it is its own pivot."""
  folder = tmp_path_factory.mktemp("negatives")
  words = (
    ["red", "old", "new"],
    ["page", "user", "file", "word"],
    ["opens", "shuts", "is", "may", "was"],
  )
  english = [" ".join(choice) for choice in itertools.product(*words)]
  lines = [
    f"{text[::-1]}\t{text}\t{'' if i % 3 == 0 else english[i - 1 + (i == 1)]}\n"
    for i, text in enumerate(english)
  ]
  (folder / "aa-en.tsv").write_text("".join(lines))
  prepare(
    folder,
    arguments={"paths": str(folder / "aa-en.tsv"), "negatives": 1},
    heldout={"sentences": 10, "min_words": 3, "min_languages": 1},
    max_tokens=30,
    vocabulary_size=30,
    sample_texts=1000,
  )
  return folder, dict(zip(english, lines, strict=True))


def test_negatives_are_prepared_and_loaded(prepared):
  folder, lines = prepared
  loaded = store.load(folder / "data", pad_id=0, hard_negatives=1)
  tokens = tokenizer.Tokenizer.load(folder / "tokenizer", max_tokens=30)
  text_of = {tuple(tokens.encode_ragged([text])[0]): text for text in lines}
  heldout = {row["en"] for row in loaded.heldout}
  source, there = loaded.sources["aa"], 0
  for i in range(len(source)):
    element = one_example(source, i)
    pivot, _, negative = (
      text_of.get(tuple(row[mask]))
      for row, mask in zip(element["ids"], element["mask"], strict=True)
    )
    written = lines[pivot].rstrip("\n").split("\t")[2]
    assert element["has_negative"][0] == (written not in ("", pivot) and written not in heldout)
    if element["has_negative"][0]:
      assert negative == written
      there += 1
  assert 20 < there < 40  # of 50; a third are blank, some held out
  plain = store.load(folder / "data", pad_id=0).sources["aa"]
  assert one_example(plain, 0)["ids"].shape == (2, 30)
  with pytest.raises(UserError, match=r"data\.hard_negatives=2: expected 0 to 1"):
    store.load(folder / "data", pad_id=0, hard_negatives=2)


CONFIG = """
from ml_collections import ConfigDict
from tests import tiny


def get_config():
  config = tiny.get_config()
  config.steps, config.eval_steps = 20, 20
  config.tokenizer.vocabulary_size = 30
  config.data.format = "tsv"
  config.data.arguments = ConfigDict({{"paths": ("{path}",), "negatives": 1}})
  config.data.hard_negatives = 1
  config.data.heldout.sentences, config.data.heldout.min_languages = 10, 1
  return config
"""


def test_train_takes_them_as_candidates(commands, prepared, tmp_path):
  folder, _ = prepared
  (tmp_path / "config.py").write_text(CONFIG.format(path=folder / "aa-en.tsv"))
  flags = [f"--config={tmp_path}/config.py", f"--workdir={tmp_path}/run"]
  output = commands.run("train", *flags)
  assert "15 negatives per anchor, 1 hard of each pair" in output
  assert "of 50 pairs have 1" in output
  assert np.isfinite([line["loss"] for line in lines_of(tmp_path / "run") if "loss" in line]).all()
  output = commands.fail(
    "train", flags[0], f"--workdir={tmp_path}/two", "--config.data.hard_negatives=2"
  )
  assert "data.hard_negatives=2: expected 0 to 1" in output


def context_of(z, negatives, *, text_hash, negative_hash, has_negative):
  batch = {"text_hash": text_hash, "negative_hash": negative_hash, "has_negative": has_negative}
  batch = {name: jnp.asarray(value) for name, value in batch.items()}
  return Context(batch, None, z, VOCABULARY, jax.random.key(0), negatives)


def reference(z, negatives, *, text_hash, negative_hash, has_negative, settings):
  """TR over K views with hard negatives, from the formula: loops over anchors, float64."""

  def cosine(a, b):
    return float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))

  t, margin, losses = settings["temperature"], settings["margin"], []
  examples, views = text_hash.shape
  for k, i in itertools.product(range(1, views), range(examples)):

    def no_negative(j, i=i, k=k):
      same = text_hash[i, 0] == text_hash[j, 0] or text_hash[i, k] == text_hash[j, k]
      return j != i and same

    def loss_of(anchor, candidates, further=(), i=i):
      logits = [
        cosine(anchor, candidates[j]) / t - (margin if j == i else 0)
        for j in range(examples)
        if not no_negative(j)
      ]
      positive = cosine(anchor, candidates[i]) / t - margin
      return -positive + np.log(np.exp(logits + list(further)).sum())

    further = [
      cosine(z[i, k], negatives[j, n]) / t
      for j, n in np.ndindex(has_negative.shape)
      if has_negative[j, n] and negative_hash[j, n] != text_hash[i, 0]
    ]
    ways = {
      "to_pivot": loss_of(z[i, k], z[:, 0], further),
      "from_pivot": loss_of(z[i, 0], z[:, k]),
    }
    direction = settings["direction"]
    losses.append(np.mean(list(ways.values())) if direction == "both" else ways[direction])
  return np.mean(losses)


@pytest.mark.parametrize("direction", ["to_pivot", "from_pivot", "both"])
@pytest.mark.parametrize(("views", "count"), [(2, 2), (4, 0), (4, 3)])
def test_ranking_equals_loops(direction, views, count):
  rng = np.random.default_rng(7)
  z, negatives = rng.normal(size=(5, views, 6)), rng.normal(size=(5, count, 6))
  # Hashes from few numbers: duplicates among pivots and translations, negatives that are pivots.
  batch = {
    "text_hash": rng.integers(0, 9, (5, views)),
    "negative_hash": rng.integers(0, 9, (5, count)),
    "has_negative": rng.random((5, count)) < 0.7,
  }
  settings = RANKING | {"temperature": 0.3, "margin": 0.1, "direction": direction}
  expected = reference(z, negatives, **batch, settings=settings)
  with jax.enable_x64(True):
    context = context_of(jnp.asarray(z), jnp.asarray(negatives), **batch)
    loss = translation_ranking.objective(context, **settings)[0].compute()
    np.testing.assert_allclose(loss, expected, rtol=1e-9)


def test_a_hard_negative_by_hand():
  """English [1, 0], [0, 1]; translations the same; one negative [1, 0] of example 1 alone.

  With t = 1 anchor 0 sees 1, 0 and, where the negative's text is its own pivot's, no more, else
  another 1; anchor 1 sees 0, 1 and 0.
  """
  z = jnp.array([[[1.0, 0.0]] * 2, [[0.0, 1.0]] * 2])
  negatives = jnp.array([[[5.0, 5.0]], [[1.0, 0.0]]])
  batch = {"text_hash": [[7, 1], [8, 2]], "has_negative": [[False], [True]]}
  settings = RANKING | {"temperature": 1.0}
  first, second = np.log(1 + np.exp(-1)), np.log(1 + 2 * np.exp(-1))
  for negative, expected in ((7, (first + second) / 2), (9, (np.log(2 + np.exp(-1)) + second) / 2)):
    context = context_of(z, negatives, **batch, negative_hash=[[7], [negative]])
    loss, _ = translation_ranking.objective(context, **settings)
    np.testing.assert_allclose(loss.compute(), expected, rtol=1e-6)


def batch_with(count, *, missing=()):
  """Four pairs with `count` hard negatives, as the loader makes them."""
  rng = np.random.default_rng(3)
  listed = [[tuple(rng.integers(5, 30, 4)) for _ in range(count)] for _ in range(4)]
  for i in missing:
    listed[i] = []
  source = loader.PairSource(pairs_with(listed), elements.Layout(12, 0, (), count))
  return {name: jnp.asarray(values) for name, values in source.gather(range(4)).items()}


def loss_and_means(model, params, batch):
  def loss(params):
    return train_step.loss_fn(
      params, batch, model=model, objectives=objectives_of(), vocabulary=VOCABULARY, key=None
    )

  return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)


def test_missing_negatives_are_as_if_there_were_none():
  """No pair has one: the loss and the gradient of the same batch without the columns; no NaN."""
  model, batch = tiny(pooling="mean"), batch_with(2, missing=range(4))
  params = drawn(model)
  plain = {name: batch[name][:, :2] for name in ("ids", "mask", "text_hash", "language")}
  with jax.enable_x64(True):
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
    (loss, means), grads = loss_and_means(model, params, batch)
    (expected, plain_means), plain_grads = loss_and_means(model, params, plain)
  np.testing.assert_allclose(loss, expected, rtol=1e-6)  # a mean is float32
  assert set(means) == set(plain_means)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), grads, plain_grads)


def test_negatives_make_the_task_harder_and_their_order_is_nothing():
  model, batch = tiny(pooling="mean"), batch_with(2, missing=(1,))
  params = drawn(model)
  plain = {name: batch[name][:, :2] for name in ("ids", "mask", "text_hash", "language")}
  swapped = dict(batch)
  for name in ("ids", "mask", "text_hash"):
    swapped[name] = batch[name][:, jnp.array([0, 1, 3, 2])]
  swapped["has_negative"] = batch["has_negative"][:, ::-1]
  losses = [
    loss_and_means(model, params, b)[0][1]["translation_ranking"].compute()
    for b in (batch, swapped, plain)
  ]
  np.testing.assert_allclose(losses[0], losses[1], rtol=2e-6)
  assert losses[0] > losses[2]
