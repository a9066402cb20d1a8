"""The token contrast against loops written from METHODS' equation, and against a case by hand."""

import functools
import string

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from configs import veco2
from dap_jax.core import train_step
from dap_jax.core.objective import Context
from dap_jax.distributed import sharding
from dap_jax.objectives import token_alignment
from dap_jax.training import build
from dap_jax.utils import trees
from dap_jax.utils.errors import UserError
from tests.commands import CIPHERS, lines_of
from tests.models import drawn
from tests.test_build import settings_of
from tests.test_objectives import VOCABULARY, batch_of, tiny

SETTINGS = {"temperature": 0.3, "similarity": "cosine"}
LENGTHS = [[6, 9], [7, 5], [3, 6], [8, 8]]  # ids of both sides, [CLS] and [SEP] in
# Of K = 3 views: words of one and of several pieces, one that is torn apart, none at all.
WORDS = [
  [[-1, 0, 0, 1, 2, -1, -1], [-1, 0, 1, 1, 1, 2, -1], [-1, 0, 1, 2, 3, 4, -1]],
  [[-1, 0, 1, 0, -1, -1, -1], [-1, 0, -1, -1, -1, -1, -1], [-1, 0, 1, -1, -1, -1, -1]],
  [[-1, 0, 1, 2, -1, -1, -1], [-1, 0, 0, 1, -1, -1, -1], [-1, -1, -1, -1, -1, -1, -1]],
]
NO = [-1, -1]
# A word in two pairs; an instance without unpaired words; instances without synonyms.
SYNONYMS = [
  [[[0, 1], [2, 0], NO], [[1, 0], [1, 3], [2, 4]]],
  [[[1, 0], [0, 0], NO], [[1, 1], NO, NO]],
  [[NO, NO, NO], [NO, NO, NO]],
]


def context_of(h, words, synonyms):
  batch = {"words": jnp.asarray(words), "synonyms": jnp.asarray(synonyms)}
  return Context(batch, h, None, VOCABULARY, jax.random.key(0))


def values_of(h, words=WORDS, synonyms=SYNONYMS, **changes):
  """The loss and the extras, as compiled."""

  def run(h):
    context = context_of(h, words, synonyms)
    loss, extras = token_alignment.objective(context, **SETTINGS | changes)
    return {"loss": loss, **extras}

  return {name: mean.compute() for name, mean in jax.jit(run)(h).items()}


def reference(h, *, temperature, similarity):
  """All four means, word by word."""

  def sim(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b) if similarity == "cosine" else 1)

  def vectors(b, k):
    numbers = set(WORDS[b][k]) - {-1}
    return [np.mean([h[b, k, t] for t, n in enumerate(WORDS[b][k]) if n == i], 0) for i in numbers]

  losses, alike, unlike = [], [], []
  paired_tokens = tokens = 0
  for b, k in np.ndindex(3, 2):
    x, y = vectors(b, 0), vectors(b, k + 1)
    pairs = [tuple(pair) for pair in SYNONYMS[b][k] if pair != NO]
    left, right = ({pair[side] for pair in pairs} for side in (0, 1))
    unpaired = [w for i, w in enumerate(x) if i not in left]
    unpaired += [w for j, w in enumerate(y) if j not in right]
    for i, j in pairs:
      alike.append(sim(x[i], y[j]))
      own = np.exp(sim(x[i], y[j]) / temperature)
      for anchor in (x[i], y[j]):
        others = [sim(anchor, w) for w in unpaired]
        losses.append(-np.log(own / (own + sum(np.exp(s / temperature) for s in others))))
        unlike += others
    for numbers, side in ((WORDS[b][0], left), (WORDS[b][k + 1], right)):
      tokens += sum(n >= 0 for n in numbers)
      paired_tokens += sum(n in side for n in numbers)
  return {
    "loss": np.mean(losses),
    "synonym_share": paired_tokens / tokens,
    "synonym_similarity": np.mean(alike),
    "unpaired_similarity": np.mean(unlike),
  }


@pytest.mark.parametrize("similarity", token_alignment.SIMILARITIES)
def test_it_is_the_equation(similarity):
  h = np.random.default_rng(0).normal(size=(3, 3, 7, 5))
  settings = {"temperature": 0.7, "similarity": similarity}
  expected = reference(h, **settings)
  assert len(set(expected.values())) == 4
  with jax.enable_x64(True):
    h = jnp.asarray(h)
    found = values_of(h, **settings)
    assert set(found) == set(expected)
    for name, value in expected.items():
      np.testing.assert_allclose(found[name], value, rtol=1e-9, err_msg=name)

    def loss(h):
      return values_of(h, **settings)["loss"]

    check_grads(loss, (h,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)
    gradient = np.asarray(jax.grad(loss)(h))
    outside = np.array(WORDS) < 0
    assert np.isfinite(gradient).all() and not gradient[outside].any()
    assert not gradient[2].any()  # an instance without synonyms teaches nothing
    assert gradient[0][~outside[0]].any(-1).all()


def test_two_sentences_by_hand():
  # The first: x has word 0 of pieces (2, 0) and (0, 2), so (1, 1), and word 1 (3, 0); y has words
  # (0, 5) and (4, 0). Synonyms: (0, 0). Unpaired are (3, 0) and (4, 0). Cosines: positive
  # 1 / sqrt 2; x's word with the unpaired ones the same, twice; y's word with them 0, twice.
  # The second has a word on each side, synonyms of cosine 0, and no unpaired word: its loss is 0.
  h = jnp.array(
    [
      [[[9.0, 9], [2, 0], [0, 2], [3, 0]], [[9, 9], [0, 5], [4, 0], [9, 9]]],
      [[[9.0, 9], [1, 0], [9, 9], [9, 9]], [[9, 9], [0, 1], [9, 9], [9, 9]]],
    ]
  )
  words = [[[-1, 0, 0, 1], [-1, 0, 1, -1]], [[-1, 0, -1, -1], [-1, 0, -1, -1]]]
  found = values_of(h, words, [[[[0, 0], NO]], [[[0, 0], NO]]], temperature=0.5)
  both = np.log(3), np.log(1 + 2 * np.exp(-2 / np.sqrt(2)))
  np.testing.assert_allclose(found["loss"], sum(both) / 2 / 2, rtol=1e-6)
  np.testing.assert_allclose(found["synonym_share"], (3 + 2) / (5 + 2), rtol=1e-6)
  np.testing.assert_allclose(found["synonym_similarity"], 1 / np.sqrt(2) / 2, rtol=1e-6)
  np.testing.assert_allclose(found["unpaired_similarity"], 1 / np.sqrt(2) / 2, rtol=1e-6)
  # By dot products: positive 5; with the unpaired ones 3, 4 and 0, 0; the second instance's is 0.
  found = values_of(h, words, [[[[0, 0], NO]], [[[0, 0], NO]]], temperature=1.0, similarity="dot")
  both = np.log(1 + np.exp(-2) + np.exp(-1)), np.log(1 + 2 * np.exp(-5))
  np.testing.assert_allclose(found["loss"], sum(both) / 2 / 2, rtol=1e-6)


def test_a_batch_without_synonyms_costs_nothing():
  h = jax.random.normal(jax.random.key(0), (3, 3, 7, 5), jnp.bfloat16)
  none = np.full_like(SYNONYMS, -1)
  found = values_of(h, synonyms=none)
  assert all(value == 0 and value.dtype == jnp.float32 for value in found.values())
  gradient = jax.grad(lambda h: values_of(h, synonyms=none)["loss"])(h)
  assert not gradient.any()


def with_words(lengths=LENGTHS, **given):
  """A batch of pairs whose words have one or two pieces, with up to three synonyms each."""
  batch = batch_of(lengths, **given)
  words = np.full(batch["ids"].shape, -1, np.int32)
  synonyms = np.full((len(lengths), 1, 3, 2), -1, np.int32)
  for b, pair in enumerate(lengths):
    for k, length in enumerate(pair):
      words[b, k, 1 : length - 1] = np.arange(length - 2) * 2 // 3
    count = min(words[b].max(-1).min() + 1, 1 + b % 3)
    synonyms[b, 0, :count] = np.arange(count)[:, None]
  return batch | {"words": jnp.asarray(words), "synonyms": jnp.asarray(synonyms)}


def loss_of(model, params, batch):
  objectives = build.make_objectives({"token_alignment": {"weight": 1.0, **SETTINGS}})
  given = {"model": model, "objectives": objectives, "vocabulary": VOCABULARY, "key": None}
  return jax.jit(functools.partial(train_step.loss_fn, **given))(params, batch)


def initialised(**settings):
  model = tiny(**settings)
  return model, drawn(model)


def test_padding_changes_nothing():
  model, params = initialised()
  short, long = (loss_of(model, params, with_words(padded=padded)) for padded in (9, 12))
  assert short[0] > 0.1
  np.testing.assert_allclose(short[0], long[0], rtol=2e-6)
  for name, mean in short[1].items():
    np.testing.assert_allclose(mean.compute(), long[1][name].compute(), rtol=2e-6, err_msg=name)


def test_a_mesh_changes_nothing():
  """8x1, 4x2 and 2x4 devices, dropout on: the same means and the same update."""
  settings = settings_of() | {"objectives": {"token_alignment": {"weight": 1.0, **SETTINGS}}}
  batch = jax.tree.map(np.asarray, with_words(LENGTHS * 2))
  found = []
  for data, model in ((8, 1), (4, 2), (2, 4)):
    mesh = {"data": data, "fsdp": 1, "model": model}
    train_program = build.build(vocabulary=VOCABULARY, **settings | {"mesh": mesh})
    placed = sharding.put_batch(batch, train_program.mesh, batch_size=8)
    state, means = train_program.step(train_program.init({}), placed, train_step.Frozen())
    found.append(({name: mean.compute() for name, mean in means.items()}, state.params))
  assert found[0][0]["token_alignment"] > 0.1
  for means, params in found[1:]:
    for name, value in found[0][0].items():
      np.testing.assert_allclose(means[name], value, rtol=2e-6, atol=2e-6, err_msg=name)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), params, found[0][1])


def test_the_encoder_learns_and_nothing_else():
  """Not the projection of sentence vectors, nor RTL's decoder."""
  model, params = initialised()
  slope = jax.jit(jax.grad(lambda p: loss_of(model, p, with_words())[0]))
  grads = trees.flatten(slope(params))
  assert {path.split("/")[0] for path in grads} == {"encoder", "projection", "decoder"}
  for path, gradient in grads.items():
    learns = path.startswith("encoder/")
    # A key's bias moves all logits of an attention row alike: only rounding is left.
    small = path.endswith("key/bias")
    assert small or (np.abs(gradient).max() > 1e-7) == learns, path


def test_mistakes():
  with pytest.raises(UserError, match="similarity 'euclid' is none of cosine, dot"):
    values_of(jnp.ones((3, 3, 7, 5)), similarity="euclid")


def test_what_it_needs():
  assert build.needs({"token_alignment": {"weight": 1.0, **SETTINGS}}) == {"synonyms"}


def test_a_run(commands, tmp_path):
  """From a dictionary to metrics.jsonl; the same command again needs no dictionary."""
  dictionary = tmp_path / "en-aa.txt"
  cipher = str.maketrans(string.ascii_lowercase, CIPHERS["aa"])
  english = ["page", "user", "opens", "keeps"]
  dictionary.write_text("".join(f"{word} {word.translate(cipher)}\n" for word in english))
  flags = commands.train_flags(
    tmp_path / "run",
    "--config.steps=10",
    "--config.objectives.representation_translation.weight=0.0",
    "--config.objectives.token_alignment.weight=1.0",
    f"--config.data.dictionaries.paths=('{tmp_path}',)",
  )
  commands.run(*flags)
  line = next(line for line in lines_of(tmp_path / "run") if "token_alignment" in line)
  assert line["synonym_share"] > 0.05 and line["token_alignment"] > 0
  dictionary.unlink()
  assert "finished at step 10" in commands.run(*flags)
  said = commands.fail(*commands.train_flags(tmp_path / "other", *flags[3:]))
  assert said.startswith(
    f"error: data.dictionaries.paths: {tmp_path} holds no dictionary with 'en'"
  )


def test_data_of_other_objectives_is_refused(commands):
  """Prepared before token_alignment was on."""
  run = commands.prepared("without_synonyms")
  weight = "--config.objectives.token_alignment.weight=1.0"
  said = commands.fail(*commands.train_flags(run, weight))
  assert "was prepared for other objectives, it has nothing of synonyms" in said


def test_the_config_has_both_granularities():
  objectives = veco2.get_config().objectives
  chosen = {name for name, settings in objectives.items() if settings.weight}
  assert chosen == {"translation_ranking", "masked_lm", "token_alignment"}
  assert objectives.translation_ranking.direction == "both"
  assert objectives.masked_lm.sequence == "both"
  build.make_objectives(objectives.to_dict())
