"""Fine-tuning: the loss against numpy, the order of batches, what it learns, meshes, resuming."""

import json
import signal
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers

from dap_jax.core import inference_step, train_step
from dap_jax.core.objective import Context
from dap_jax.core.train_step import Frozen
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.inference import embedder
from dap_jax.model.from_config import ENCODER_ALONE, make_model
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.objectives import classification
from dap_jax.training import build
from dap_jax.training.finetuning import run as finetuning
from dap_jax.training.finetuning.batches import LENGTHS, Batches, Sequences, padded_length
from dap_jax.training.finetuning.settings import FinetuneSettings
from dap_jax.utils.errors import UserError
from dap_jax.workdir import checkpointing
from tests.commands import lines_of
from tests.models import drawn, encoder_section, model_section
from tests.topics import write, write_topics

VOCABULARY = Vocabulary(50, 0, 2, 3, 4, None)
OPTIMIZER = {**finetuning.OPTIMIZER, "learning_rate": 1e-2}
SIZES = {"layers": 2, "width": 16, "heads": 2, "mlp_width": 32, "positions": 16}


def parts_of(mesh=None):
  """A tiny model with a head of 3 classes, and dropout."""
  section = model_section(encoder=encoder_section(**SIZES), projection=False, dropout=0.1)
  return build.build(
    vocabulary=VOCABULARY,
    seed=0,
    steps=10,
    max_tokens=8,
    model=section,
    decoder={},
    objectives={"classification": {"weight": 1.0, "answers": False}},
    optimizer=OPTIMIZER,
    mesh=mesh or {"data": -1, "fsdp": 1, "model": 1},
    task_head=("sentence_vector", 3),
  )


def batches_of(examples=21, batch_size=8, pool=1):
  """Random sequences of 3 to 8 ids, with random labels of 3 classes."""
  rng = np.random.default_rng(0)
  sequences = [[2, *rng.integers(5, 50, rng.integers(1, 7)), 3] for _ in range(examples)]
  labels = rng.integers(0, 3, examples).tolist()
  return Batches(
    Sequences(sequences, labels), batch_size, max_tokens=8, pad_id=0, seed=7, pool=pool
  )


def test_the_loss_is_numpys_cross_entropy():
  """Rows with the label -1 only fill the batch: they count nowhere."""
  logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
  label = np.array([2, 0, -1, 1, -1], np.int32)
  probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  expected = -np.mean([np.log(probabilities[i, label[i]]) for i in (0, 1, 3)])
  hits = np.mean([logits[i].argmax() == label[i] for i in (0, 1, 3)])
  z = jnp.zeros((5, 1, 4))
  context = Context({"label": jnp.array(label)}, z[:, :, None], z, VOCABULARY, jax.random.key(0))
  context = context._replace(
    model=types.SimpleNamespace(classify=lambda h, vectors: jnp.array(logits))
  )
  loss, extras = classification.objective(context, answers=False)
  np.testing.assert_allclose(loss.compute(), expected, rtol=1e-6)
  np.testing.assert_allclose(extras["accuracy"].compute(), hits, rtol=1e-6)


def test_the_head_is_dense_tanh_dense_of_the_sentence_vector():
  """Its logits written out in numpy; and every parameter of encoder and head has a gradient."""
  train_program, batch = parts_of(), batches_of().batch(0)
  params = train_program.init({}).params
  ids, mask = batch["ids"], batch["mask"]
  encoded = train_program.model.apply(
    {"params": params}, ids, mask, deterministic=True, method="encode"
  )
  head, pooled = jax.device_get((params["classifier"], encoded.pooled[:, 0]))
  hidden = np.tanh(pooled @ head["dense"]["kernel"] + head["dense"]["bias"])
  expected = hidden @ head["logits"]["kernel"] + head["logits"]["bias"]
  logits = inference_step.classify_step(params, ids[:, 0], mask[:, 0], model=train_program.model)
  np.testing.assert_allclose(logits, expected, atol=1e-6)

  def loss(params):
    arguments = {
      "model": train_program.model,
      "objectives": train_program.objectives,
      "vocabulary": VOCABULARY,
    }
    return train_step.loss_fn(params, batch, key=None, **arguments)[0]

  norms = jax.tree_util.tree_map_with_path(
    lambda path, grad: (jax.tree_util.keystr(path), float(jnp.abs(grad).max())),
    jax.jit(jax.grad(loss))(params),
  )
  norms = dict(jax.tree.leaves(norms, is_leaf=lambda leaf: isinstance(leaf, tuple)))
  assert {path.split("'")[1] for path in norms} == {"encoder", "classifier"}
  still = [path for path, norm in norms.items() if norm < 1e-8 and "['key']['bias']" not in path]
  assert not still  # a bias of keys shifts all scores of a query alike: softmax has no gradient


def test_no_head_unless_asked():
  section = model_section(encoder=encoder_section(**SIZES))
  model = make_model(vocabulary=VOCABULARY, max_tokens=8, **ENCODER_ALONE, **section)
  params = drawn(model)
  assert set(params) == {"encoder", "projection"}


def test_an_epoch_has_every_example_once():
  batches = batches_of(examples=21, batch_size=8)
  assert batches.steps_of_epoch == 3
  epochs = [
    np.concatenate([batches.rows(step) for step in range(first, first + 3)]) for first in (0, 3)
  ]
  for rows in epochs:
    assert sorted(rows) == list(range(21))
  assert not np.array_equal(*epochs)
  assert not np.array_equal(batches._replace(seed=8).rows(0), batches.rows(0))


def test_a_pool_sorts_by_length():
  """Every example once an epoch, a batch's lengths next to each other; other batches each epoch."""
  batches = batches_of(examples=37, batch_size=8, pool=2)  # pools of 16, 16 and 5
  epochs = [[batches.rows(step) for step in range(first, first + 5)] for first in (0, 5)]
  lengths = np.array([len(ids) for ids in batches.sequences.ids])
  for rows in epochs:
    assert sorted(np.concatenate(rows)) == list(range(37))
    assert sorted(map(len, rows)) == [5, 8, 8, 8, 8]
  spread = [np.ptp(lengths[rows]) for rows in epochs[0]]
  drawn = [np.ptp(lengths[batches._replace(pool=1).rows(step)]) for step in range(5)]
  assert sum(spread) < sum(drawn)
  assert {tuple(sorted(rows)) for rows in epochs[0]} != {tuple(sorted(rows)) for rows in epochs[1]}


def test_batches_have_few_lengths():
  """Of sequences of 1 to 512 ids: each the next of ten lengths, cut at the limit."""
  lengths = {padded_length(longest, 512) for longest in range(1, 513)}
  assert lengths == set(LENGTHS)
  assert padded_length(65, 90) == 90
  assert padded_length(700, 1024) == 700


def test_a_batch_is_padded_and_filled():
  batch = batches_of(examples=21, batch_size=8).batch(2)  # 5 examples are left
  rows = batches_of(examples=21, batch_size=8).rows(2)
  assert batch["ids"].shape == batch["mask"].shape == (8, 1, 8)
  assert batch["label"].tolist() == [*np.array(batches_of().sequences.labels)[rows], -1, -1, -1]
  for place, row in enumerate(rows):
    sequence = batches_of().sequences.ids[row]
    assert batch["ids"][place, 0][batch["mask"][place, 0]].tolist() == sequence
  assert batch["mask"][5:].sum() == 3


@pytest.mark.parametrize(
  ("processor", "between"),
  [
    (tokenizers.processors.BertProcessing, ["</s>"]),
    (tokenizers.processors.RobertaProcessing, ["</s>", "</s>"]),
  ],
)
def test_a_pair_is_one_sequence(processor, between):
  """BERT's and XLM-R's templates; what is too long is cut from the longer text."""
  words = ["<pad>", "<unk>", "<s>", "</s>", "<mask>", "a", "b"]
  backend = tokenizers.Tokenizer(
    tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
  )
  backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  backend.post_processor = processor(("</s>", 3), ("<s>", 2))
  roles = {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
  files = {"tokenizer.json": backend.to_str(), "tokenizer_config.json": json.dumps(roles)}
  tokens = Tokenizer.from_files(files, where="here", max_tokens=10)
  ids = tokens.encode_ragged([("a a", "b"), ("a a a a a a a a a a", "b b")])
  spelt = [[words[i] for i in sequence] for sequence in ids]
  assert spelt[0] == ["<s>", "a", "a", *between, "b", "</s>"]
  room = 10 - 2 - len(between) - 2
  assert spelt[1] == ["<s>", *["a"] * room, *between, "b", "b", "</s>"]


def test_meshes_give_the_same_parameters():
  """Four steps, dropout and the smaller last batch among them, on 8 x 1 and 2 x 4 devices."""
  batches, results = batches_of(), []
  for shape in ({"data": 8, "fsdp": 1, "model": 1}, {"data": 2, "fsdp": 1, "model": 4}):
    train_program = parts_of(shape)
    with jax.set_mesh(train_program.mesh):
      state = train_program.init({})
      for step in range(4):
        state, means = train_program.step(state, batches.batch(step), Frozen())
    results.append((jax.device_get(state.params), float(means["loss"].compute())))
  (params, loss), (other_params, other_loss) = results
  assert loss == pytest.approx(other_loss, rel=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), params, other_params)


def finetune(*, workdir, save_steps, **settings):
  settings = FinetuneSettings(**settings)
  return finetuning.finetune(settings, workdir=workdir, save_steps=save_steps)


def settings_of(commands, data, run, **changes):
  """A run that learns the commands' corpus; 15 steps an epoch."""
  settings = {"step": "newest", "train_language": "en", "epochs": 6, "batch_size": 16}
  settings |= {"learning_rate": 5e-3, "max_tokens": 20, "dropout": 0.1, "seed": 0}
  settings |= {"save_steps": 500, "compute_dtype": ""}
  paths = {"model": str(commands.straight), "data": str(data), "workdir": str(run)}
  return settings | paths | changes


def test_a_word_decides(commands, tmp_path):
  """The noun of a sentence is its class; sentences of the test split were never seen."""
  for code in ("en", "aa"):
    write_topics(commands.corpus, tmp_path, code)
  result = finetune(**settings_of(commands, tmp_path, tmp_path / "run"))
  assert result.scores["accuracy/en"] > 0.95  # chance is 0.2
  assert result.scores["dev_accuracy"] > 0.95
  assert result.rows == ["zero_shot_mean", "en", "aa"]
  written = json.loads((tmp_path / "run" / "scores.json").read_text())
  (suite,) = written["protocol"]
  assert suite.startswith("finetune[batch_size=16,compute_dtype=,dropout=0.1,epochs=6,")
  assert written[f"eval/{suite}/accuracy/en"] == result.scores["accuracy/en"]
  protocol = written["protocol"][suite]
  assert protocol["epochs"] == 6
  assert protocol["max_tokens"] == 20
  assert protocol["head"].endswith("on the mean vector")
  assert lines_of(tmp_path / "run")[-1]["step"] == 6 * 15
  with pytest.raises(UserError, match="a fine-tuning with epochs=6, this one has 7"):
    finetune(**settings_of(commands, tmp_path, tmp_path / "run", epochs=7))


def test_the_default_length_is_one_that_the_model_has(commands, tmp_path):
  """128, or the model's positions: the docstring's example runs on any model."""
  write_topics(commands.corpus, tmp_path, "en")
  changes = {"max_tokens": None, "epochs": 1}
  finetune(**settings_of(commands, tmp_path, tmp_path / "run", **changes))
  written = json.loads((tmp_path / "run" / "scores.json").read_text())
  assert [protocol["max_tokens"] for protocol in written["protocol"].values()] == [24]
  assert embedder.most_tokens(commands.straight) == 24


def test_a_pair_needs_both_sides(commands, tmp_path):
  """Whether two sentences have the same noun, of two: neither of them alone tells it."""
  rng, nouns = np.random.default_rng(0), ["page", "user"]
  rows = []
  for number in range(900):
    first, second = rng.integers(2, size=2)
    texts = [f"the {rng.choice(['red', 'old', 'new', 'big'])} {nouns[i]}" for i in (first, second)]
    split = "train" if number < 800 else "test"
    rows.append((split, "same" if first == second else "other", *texts))
  write(tmp_path, "en", rows, header="split\tlabel\tpremise\thypothesis\n")
  settings = settings_of(commands, tmp_path, tmp_path / "run", epochs=12, dropout=0.0)
  result = finetune(**settings)
  assert result.scores["accuracy/en"] > 0.95  # chance is 0.5
  assert result.protocol["task"] == "pairs of texts"
  assert result.rows == ["en"]


def test_mistakes(commands, tmp_path):
  write_topics(commands.corpus, tmp_path, "en")
  run = tmp_path / "run"
  for changes, message in (
    ({"batch_size": 12}, "batch_size=12 is not divisible by the 8"),
    ({"max_tokens": 128}, "positions=24 is too few for max_tokens=128"),
    ({"workdir": str(commands.straight)}, "is a run of train"),
    ({"learning_rate": 1e30}, "lower --learning_rate"),
  ):
    with pytest.raises(UserError, match=message):
      finetune(**settings_of(commands, tmp_path, run, **changes))
    assert run.exists() == ("learning_rate" in changes)  # nothing is left of the others
  commands.fail("finetune", f"--model={commands.straight}", status=2)


def test_a_stopped_run_goes_on(commands, tmp_path):
  """SIGTERM in the middle, then the same command: the scores of a run that was left alone."""
  for code in ("en", "aa"):
    write_topics(commands.corpus, tmp_path, code)

  def flags(run):
    settings = settings_of(commands, tmp_path, tmp_path / run, epochs=20)
    return [f"--{name}={value}" for name, value in settings.items() if value != ""]

  commands.run("finetune", *flags("alone"))
  process = commands.start("finetune", *flags("stopped"))
  lines = tmp_path / "stopped" / "metrics.jsonl"
  while process.poll() is None and not (lines.exists() and lines.read_text()):
    time.sleep(0.02)
  process.send_signal(signal.SIGTERM)
  message = process.communicate(timeout=300)[1]
  assert process.returncode == 0
  assert "the same command resumes" in message
  assert not (tmp_path / "stopped" / "scores.json").exists()
  table = commands.run("finetune", *flags("stopped"))
  assert "zero_shot_mean" in table
  assert "from step 0" not in table

  alone, stopped = (
    json.loads((tmp_path / run / "scores.json").read_text()) for run in ("alone", "stopped")
  )
  assert {k: v for k, v in alone.items() if k != "protocol"} == {
    k: v for k, v in stopped.items() if k != "protocol"
  }
  loaded = embedder.load(str(commands.straight), max_tokens=20)
  train_program = finetuning.make_train_program(
    loaded,
    steps=300,
    task_head=("sentence_vector", 5),
    seed=0,
    learning_rate=5e-3,
    dropout=0.1,
  )
  both = []
  for run in ("alone", "stopped"):
    with checkpointing.Checkpoints(tmp_path / run, keep_last=1, best_metric="") as checkpoints:
      both.append(checkpoints.restore(train_program.abstract_state).state)
  jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, both))


def test_a_run_is_bound_to_its_texts_and_weights(commands, tmp_path):
  """The labels are changed under a finished run: its scores are not overwritten."""
  write_topics(commands.corpus, tmp_path, "en")
  settings = settings_of(commands, tmp_path, tmp_path / "run", epochs=1)
  finetune(**settings)
  before = (tmp_path / "run" / "scores.json").read_text()
  path = tmp_path / "en.tsv"
  path.write_text(path.read_text().replace("\tpage\t", "\tuser\t"))
  with pytest.raises(UserError, match="holds a fine-tuning with texts="):
    finetune(**settings)
  assert (tmp_path / "run" / "scores.json").read_text() == before


def test_stopped_where_it_saves_it_saves_once(commands, tmp_path):
  """A checkpoint every step, and SIGTERM at any: the newest is whole, the same command goes on."""
  write_topics(commands.corpus, tmp_path, "en")
  run = tmp_path / "run"
  flags = ["finetune", f"--model={commands.straight}", f"--data={tmp_path}", f"--workdir={run}"]
  flags += ["--train_language=en", "--batch_size=16", "--max_tokens=20", "--save_steps=1"]
  process = commands.start(*flags)
  deadline = time.monotonic() + 120
  while not any((run / "checkpoints").glob("[1-9]*")):
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.02)
  process.send_signal(signal.SIGTERM)
  out, message = process.communicate(timeout=120)
  assert process.returncode == 0 and "Traceback" not in message, message
  assert "accuracy" in commands.run(*flags)


def test_nothing_to_test_on(commands, tmp_path):
  write_topics(commands.corpus, tmp_path, "en")
  path = tmp_path / "en.tsv"
  remaining = [
    line for line in path.read_text().splitlines(keepends=True) if not line.startswith("test")
  ]
  path.write_text("".join(remaining))
  with pytest.raises(UserError, match="no test split in any language"):
    finetune(**settings_of(commands, tmp_path, tmp_path / "run"))


def test_a_workdir_of_its_own(commands, tmp_path):
  write_topics(commands.corpus, tmp_path, "en")
  with pytest.raises(UserError, match="is --data: fine-tuning needs its own folder"):
    finetune(**settings_of(commands, tmp_path, tmp_path))
  with pytest.raises(UserError, match="is a run of train"):
    finetune(**settings_of(commands, tmp_path, commands.straight))
