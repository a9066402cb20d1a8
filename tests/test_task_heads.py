"""Heads of fine-tuning against transformers' own classes: logits, one step's gradients, names."""

import jax
import numpy as np
import pytest
import torch
import transformers

from dap_jax.core import inference_step
from dap_jax.core.train_step import Frozen, TrainState
from dap_jax.data import tokenizer_training
from dap_jax.hub import from_hf, names, task_heads, weights
from dap_jax.hub.model_types.tensor_names import TABLES
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.training import build
from dap_jax.training.finetuning import run
from dap_jax.utils import trees
from dap_jax.utils.errors import UserError
from tests.models import ENCODERS, encoder_section, model_section, transformers_model

AUTO = {
  "sequence": transformers.AutoModelForSequenceClassification,
  "tokens": transformers.AutoModelForTokenClassification,
  "answer": transformers.AutoModelForQuestionAnswering,
}
TYPES = [name for name in ENCODERS if name != "m2m_100"]
VOCABULARY = Vocabulary(23, 0, 2, 3, 4, None)
CLASSES = {"sequence": ["no", "yes", "so"], "tokens": ["B-x", "I-x", "O", "y"], "answer": ["", ""]}


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tokenizer")
  tokenizer_training.train(
    ["red page", "old user opens the page", "new file"] * 9, vocabulary_size=23, directory=folder
  )
  return folder


def program_of(kind, model_type, *, pooling="mean"):
  """A training program with random parameters, LayerNorms and biases included; no dropout."""
  encoder = encoder_section(model_type)
  section = model_section(encoder=encoder, projection=False, pooling=pooling)
  program = build.build(
    vocabulary=VOCABULARY,
    seed=0,
    steps=10,
    max_tokens=12,
    model=section,
    decoder={},
    objectives={"classification": {"weight": 1.0, "answers": kind == "answer"}},
    optimizer={**run.OPTIMIZER, "learning_rate": 1e-3},
    mesh={"data": -1, "fsdp": 1, "model": 1},
    task_head=(kind, len(CLASSES.get(kind, CLASSES["sequence"]))),
  )
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32),
    jax.device_get(program.init({}).params),
  )
  return program, params, section


def batch_of(kind, *, has_types):
  """Eight rows of 12 tokens, one of them full; of the labels some count nowhere."""
  rng = np.random.default_rng(1)
  ids = rng.integers(5, 23, (8, 1, 12)).astype(np.int32)
  lengths = np.array([12, 7, 4, 9, 10, 5, 11, 6])
  mask = (np.arange(12) < lengths[:, None])[:, None]
  ids[~mask] = 0
  batch = {"ids": ids, "mask": mask}
  classes = len(CLASSES[kind])
  if kind == "tokens":
    labels = rng.integers(-1, classes, (8, 12))
    batch["label"] = np.where(mask[:, 0], labels, -1).astype(np.int32)
  elif kind == "answer":
    batch["label"] = np.stack([rng.integers(0, 4, 8), np.full(8, 3)], 1).astype(np.int32)
  else:
    batch["label"] = rng.integers(0, classes, 8).astype(np.int32)
  if has_types:
    batch["types"] = (mask & (np.arange(12) > 2)[None, None]).astype(np.int32)
  return batch


def exported(folder, params, section, kind, tokenizer_folder, *, has_types=False):
  task_heads.write_task_folder(
    folder,
    params=params,
    model_config={**section, "encoder": {**section["encoder"], "vocabulary_size": 23}},
    kind=kind,
    classes=CLASSES.get(kind, CLASSES["sequence"]),
    has_types=has_types,
    tokenizer_directory=tokenizer_folder,
    special_ids={"pad": 0, "cls": 2, "sep": 3},
    max_tokens=12,
    readme="",
    dtype="float32",
  )
  return folder


def torch_logits(module, batch):
  """[N, C], or [N, L, C] of a module that reads tokens."""
  inputs = {"input_ids": batch["ids"][:, 0], "attention_mask": batch["mask"][:, 0].astype(int)}
  if "types" in batch:
    inputs["token_type_ids"] = batch["types"][:, 0]
  outputs = module(**{name: torch.from_numpy(np.int64(array)) for name, array in inputs.items()})
  if hasattr(outputs, "start_logits"):
    return torch.stack([outputs.start_logits, outputs.end_logits], -1)
  return outputs.logits


def torch_loss(logits, batch, kind):
  """Torch's own cross-entropy; of an answer over real tokens."""
  labels = torch.from_numpy(batch["label"].astype(np.int64))
  if kind == "answer":
    real = torch.from_numpy(batch["mask"][:, 0])
    logits = logits.masked_fill(~real[..., None], -1e30).transpose(1, 2)
  loss = torch.nn.functional.cross_entropy
  return loss(logits.flatten(0, -2), labels.flatten(), ignore_index=-1)


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("kind", AUTO)
def test_logits_and_gradients_are_transformers(tmp_path, tokenizer_folder, kind, model_type):
  """Exported weights in transformers' class: its logits, and torch's gradient of every tensor."""
  program, params, section = program_of(kind, model_type)
  has_types = model_type == "bert" and kind != "tokens"
  batch = batch_of(kind, has_types=has_types)
  folder = exported(tmp_path / "out", params, section, kind, tokenizer_folder, has_types=has_types)
  module, report = AUTO[kind].from_pretrained(folder, output_loading_info=True)
  assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
  module.eval()
  if kind != "answer":
    assert module.config.id2label == dict(enumerate(CLASSES[kind]))
  expected = torch_logits(module, batch)
  types = batch["types"][:, 0] if has_types else None
  logits = inference_step.classify_step(
    params, batch["ids"][:, 0], batch["mask"][:, 0], types, model=program.model
  )
  real = batch["mask"][:, 0] if kind != "sequence" else slice(None)
  np.testing.assert_allclose(logits[real], expected.detach().numpy()[real], atol=1e-5)
  loss = torch_loss(expected, batch, kind)
  loss.backward()
  state = TrainState(np.int32(0), params, ())
  means, gradient = program.gradients(state, batch, Frozen())
  np.testing.assert_allclose(means["loss"].compute(), loss.item(), atol=1e-5)
  tensors = task_heads.tensors_of(jax.device_get(gradient), section["encoder"], kind)
  theirs = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
  assert set(theirs) == set(tensors)
  for name, ours in tensors.items():
    np.testing.assert_allclose(ours, theirs[name].numpy(), atol=1e-5, err_msg=name)


def test_unpadded_answers_have_transformers_own_loss(tmp_path, tokenizer_folder):
  """Where nothing is padded, the loss is that of the class itself."""
  program, params, section = program_of("answer", "xlm-roberta")
  batch = batch_of("answer", has_types=False)
  batch["mask"][:], batch["ids"] = True, np.maximum(batch["ids"], 5)
  folder = exported(tmp_path / "out", params, section, "answer", tokenizer_folder)
  module = AUTO["answer"].from_pretrained(folder).eval()
  start, end = torch.from_numpy(batch["label"].astype(np.int64)).T
  ids = torch.from_numpy(np.int64(batch["ids"][:, 0]))
  expected = module(ids, start_positions=start, end_positions=end).loss
  means, _ = program.gradients(TrainState(np.int32(0), params, ()), batch, Frozen())
  np.testing.assert_allclose(means["loss"].compute(), expected.item(), atol=1e-5)


def test_types_change_states_and_zeros_do_not():
  """Token types of 0 are the model without types; others are not."""
  program, params, _ = program_of("sequence", "bert")
  batch = batch_of("sequence", has_types=True)
  ids, mask, types = batch["ids"][:, 0], batch["mask"][:, 0], batch["types"][:, 0]

  def logits(types):
    return inference_step.classify_step(params, ids, mask, types, model=program.model)

  np.testing.assert_allclose(logits(types * 0), logits(None), atol=1e-6)
  assert np.abs(logits(types) - logits(None)).max() > 1e-3


@pytest.mark.parametrize("model_type", ["bert", "xlm-roberta"])
def test_our_head_on_cls_is_transformers(tmp_path, tokenizer_folder, model_type):
  """Dense, tanh, dense on [CLS] is what these classes compute; on another vector none does."""
  program, params, section = program_of("sentence_vector", model_type, pooling="cls")
  batch = batch_of("sequence", has_types=False)
  folder = exported(tmp_path / "out", params, section, "sentence_vector", tokenizer_folder)
  module = AUTO["sequence"].from_pretrained(folder).eval()
  logits = inference_step.classify_step(
    params, batch["ids"][:, 0], batch["mask"][:, 0], model=program.model
  )
  np.testing.assert_allclose(logits, torch_logits(module, batch).detach().numpy(), atol=1e-5)
  with pytest.raises(UserError, match="a head on the mean vector .* cannot be exported"):
    exported(
      tmp_path / "no", params, {**section, "pooling": "mean"}, "sentence_vector", tokenizer_folder
    )
  assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
  ("model_type", "kind", "expected"),
  [
    ("bert", "sequence", {"dense/kernel", "dense/bias"}),
    ("bert", "tokens", set()),
    ("modernbert", "tokens", {"dense/kernel", "norm/scale"}),
    ("xlm-roberta", "sequence", set()),
  ],
)
def test_a_head_starts_as_transformers_starts_it(
  tmp_path, tokenizer_folder, model_type, kind, expected
):
  """transformers' own class, loaded from the same checkpoint, has the same tensors there."""
  module = transformers_model(model_type, vocabulary_size=23)
  if model_type == "bert":
    module = transformers.BertForPreTraining(module.config)
  module.save_pretrained(tmp_path)
  transformers.AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(tmp_path)
  leaves = task_heads.start_leaves(from_hf.read_folder(tmp_path), kind)
  flat = trees.flatten(leaves) if leaves else {}
  assert set(flat) == expected
  peer = AUTO[kind].from_pretrained(tmp_path).state_dict()
  for entry in names.expand(task_heads.modules_of(kind, model_type)):
    if entry.path in flat:
      stored = flat[entry.path].stored.map()
      np.testing.assert_array_equal(stored, peer[entry.torch_name].numpy())


def test_a_pooler_of_zeros_is_none(tmp_path, tokenizer_folder):
  """As `export` writes it; a head that began with it would be another than a fresh one."""
  module = transformers.BertModel(transformers_model("bert", vocabulary_size=23).config)
  torch.nn.init.zeros_(module.pooler.dense.weight)
  torch.nn.init.zeros_(module.pooler.dense.bias)
  module.save_pretrained(tmp_path)
  transformers.AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(tmp_path)
  assert task_heads.start_leaves(from_hf.read_folder(tmp_path), "sequence") == {}


def test_a_type_without_heads():
  with pytest.raises(UserError, match="no head for this task on model_type m2m_100"):
    program_of("tokens", "m2m_100")


def test_every_name_is_of_one_table():
  """No head's tensor has the name of an encoder's: both lie in one file."""
  for model_type in TYPES:
    table = TABLES[model_type]
    encoder = {f"{table.prefixes[0]}{e.torch_name}" for e in names.encoder_entries(table, 2)}
    for kind in AUTO:
      head = {e.torch_name for e in names.expand(task_heads.modules_of(kind, model_type))}
      assert not head & encoder
  assert weights.FILE == "model.safetensors"
