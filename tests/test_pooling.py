"""Poolings against sentence-transformers' own module, and through folders in both directions."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import sentence_transformers
import torch
from sentence_transformers.sentence_transformer.modules import Pooling

from dap_jax.hub import modules
from dap_jax.inference import embedder
from dap_jax.model.pooling import MODES, pool
from dap_jax.utils.errors import UserError
from tests.hub_folders import LINES, sentence_folder

POOLING = "1_Pooling/config.json"
JOINED = ["cls+mean", "max+mean+lasttoken", "mean_sqrt_len_tokens+weightedmean"]


@pytest.mark.parametrize("pooling", [*MODES, *JOINED, "mean+cls"])
def test_states_are_pooled_as_by_sentence_transformers(pooling):
  rng = np.random.default_rng(0)
  states = rng.normal(size=(5, 7, 6)).astype(np.float32)
  mask = np.arange(7) < np.array([[1], [2], [5], [6], [7]])
  peer = Pooling(6, pooling_mode=tuple(pooling.split("+")))
  features = {"token_embeddings": torch.tensor(states), "attention_mask": torch.tensor(mask).long()}
  theirs = peer(features)["sentence_embedding"].numpy()
  ours = pool([jnp.array(states)], jnp.array(mask), pooling=pooling)
  np.testing.assert_allclose(ours, theirs, atol=1e-6)


def changes_of(pooling, *, flags):
  chosen = pooling.split("+")
  if not flags:
    return {"pooling_mode": chosen if len(chosen) > 1 else chosen[0]}
  return {flag: name in chosen for name, flag in modules.POOLING_FLAGS.items()}


@pytest.mark.parametrize("flags", [False, True])
@pytest.mark.parametrize("pooling", [*MODES[1:], *JOINED])
def test_folders_go_in_and_out(commands, tmp_path, pooling, flags):
  """A folder, a run that starts from it, and the run's export; the last with a step behind it."""
  changes = {POOLING: changes_of(pooling, flags=flags)}
  folder = sentence_folder(tmp_path / "in", "bert", changes)
  model = embedder.load(folder)
  theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
  vectors = theirs.encode(LINES[:20])
  np.testing.assert_allclose(model.encode(LINES[:20]), vectors, atol=1e-5)
  assert model.width == vectors.shape[1] == 32 * len(pooling.split("+"))
  if flags:
    return
  flags = [f"--config.init_from={folder}", "--config.steps=1", "--config.eval_steps=1"]
  commands.run(*commands.train_flags(tmp_path / "run", *flags, "--config.max_tokens=24"))
  commands.run("export", f"--workdir={tmp_path}/run", f"--output={tmp_path}/out")
  theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "out"), device="cpu")
  ours = embedder.load(tmp_path / "run").encode(LINES[:20])
  np.testing.assert_allclose(ours, theirs.encode(LINES[:20]), atol=1e-5)


def test_a_dense_layer_behind_joined_poolings(tmp_path):
  """It reads all of their vectors; one that reads less is refused."""
  for width in (64, 32):
    folder = sentence_folder(
      tmp_path / str(width), "bert", {POOLING: {"pooling_mode": ["cls", "mean"]}}
    )
    listed = json.loads((folder / "modules.json").read_text())
    dense = {"idx": 2, "name": "2", "path": "2_Dense"}
    listed[2:] = [dense | {"type": "sentence_transformers.models.Dense"}]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "2_Dense").mkdir()
    config = {"in_features": width, "out_features": 20, "bias": True}
    config |= {"activation_function": "torch.nn.modules.linear.Identity"}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    # A weight that keeps lengths near 1, of which the tolerance is 1e-5.
    tensors = {"linear.weight": rng.normal(0, 1 / width, (20, width)), "linear.bias": np.ones(20)}
    tensors = {name: array.astype(np.float32) for name, array in tensors.items()}
    safetensors.numpy.save_file(tensors, folder / "2_Dense" / "model.safetensors")
    if width == 64:
      theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
      ours = embedder.load(folder).encode(LINES[:9])
      np.testing.assert_allclose(ours, theirs.encode(LINES[:9]), atol=1e-5)
    else:
      with pytest.raises(UserError, match="linear.weight"):
        embedder.load(folder)


def test_no_flag_at_all_is_the_mean(tmp_path):
  """As sentence-transformers reads it."""
  folder = sentence_folder(tmp_path, "bert", {POOLING: {"pooling_mode_mean_tokens": False}})
  theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
  np.testing.assert_allclose(
    embedder.load(folder).encode(LINES[:9]), theirs.encode(LINES[:9]), atol=1e-5
  )


def test_an_order_that_flags_cannot_say():
  assert modules.pooling_config(["cls", "mean"], width=8)["pooling_mode_cls_token"]
  with pytest.raises(UserError, match=r"model\.pooling='mean\+cls' cannot be exported"):
    modules.pooling_config(["mean", "cls"], width=8)
  assert json.dumps(modules.pooling_config(["mean"], width=8)) == json.dumps(
    {
      "word_embedding_dimension": 8,
      "pooling_mode_cls_token": False,
      "pooling_mode_max_tokens": False,
      "pooling_mode_mean_tokens": True,
      "pooling_mode_mean_sqrt_len_tokens": False,
    }
  )
