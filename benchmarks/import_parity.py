"""Imported checkpoints at their real sizes, beside transformers' torch models: largest differences.

    python benchmarks/import_parity.py [--types=bert,distilbert,xlm-roberta,modernbert]

Weights are random (the sizes are those of mBERT, DistilmBERT, XLM-R base and mmBERT base; norms and
biases random too), the batch is padded, float32 on both sides. Compared are the last hidden states
at real tokens and the mean- and cls-pooled unit vectors. Needs requirements-dev.txt and about 5 GB.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
from datetime import date

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from dap_jax.distributed import sharding
from dap_jax.hub import from_hf
from dap_jax.inference import embedder
from dap_jax.model.dual_alignment import pool
from dap_jax.model.from_config import ENCODER_ALONE, make_model
from dap_jax.model.vocabulary import Vocabulary

LENGTHS = {"bert": 512, "distilbert": 512, "xlm-roberta": 512, "modernbert": 2048}
SIZES = {
  "bert": {"vocab_size": 119_547},
  "distilbert": {"vocab_size": 119_547},
  "xlm-roberta": {
    "vocab_size": 250_002,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
  },
  "modernbert": {"vocab_size": 256_000, "local_rope_theta": 160_000.0, "pad_token_id": 0},
}


def torch_model(model_type: str) -> torch.nn.Module:
  """A random model of the real size."""
  torch.manual_seed(0)
  config = transformers.AutoConfig.for_model(model_type, **SIZES[model_type])
  module = transformers.AutoModel.from_config(config).eval()
  with torch.no_grad():
    for name, parameter in module.named_parameters():
      if "norm" in name.lower() or name.endswith("bias"):
        parameter.add_(0.1 * torch.randn_like(parameter))
  return module


def our_model(folder: str, length: int):
  """The imported network and its parameters."""
  found = from_hf.read_folder(folder)
  rows = found.model["encoder"]["vocabulary_size"]
  network = make_model(
    vocabulary=Vocabulary(rows, 0, 2, 3, 4, None),
    max_tokens=length,
    **ENCODER_ALONE,
    **{**embedder.PLAIN, **found.model},
  )
  abstract = embedder.abstract_params(network, sharding.make_mesh(data=-1, model=1))
  return network, sharding.place(from_hf.encoder_leaves(found), abstract)


def unit(vectors: np.ndarray) -> np.ndarray:
  return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def compare(model_type: str) -> dict[str, float]:
  """The largest absolute differences of one architecture."""
  length = LENGTHS[model_type]
  module = torch_model(model_type)
  lengths = np.array([length, length // 2 + 3, 17])
  mask = np.arange(length) < lengths[:, None]
  ids = np.random.default_rng(0).integers(5, SIZES[model_type]["vocab_size"], mask.shape)
  ids[~mask] = module.config.pad_token_id
  with torch.no_grad():
    given = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask).long()}
    theirs = module(**given).last_hidden_state.numpy()
  with tempfile.TemporaryDirectory() as folder:
    module.save_pretrained(folder)
    del module
    gc.collect()
    network, params = our_model(folder, length)
  apply = jax.jit(lambda p, i, m: network.encoder.apply({"params": p}, i, m, deterministic=True))
  hidden = apply(params["encoder"], jnp.asarray(ids, jnp.int32), jnp.asarray(mask))
  differences = {"states": np.abs(np.asarray(hidden[-1]) - theirs)[mask].max()}
  for pooling in ("cls", "mean"):
    ours = unit(np.asarray(pool(hidden, jnp.asarray(mask), pooling=pooling)))
    expected = pool([jnp.asarray(theirs)], jnp.asarray(mask), pooling=pooling)
    differences[pooling] = np.abs(ours - unit(np.asarray(expected))).max()
  return differences | {"largest state": np.abs(theirs[mask]).max()}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--types", default=",".join(SIZES))
  kinds = parser.parse_args().types.split(",")
  jax.config.update("jax_default_matmul_precision", "highest")
  transformers.utils.logging.disable_progress_bar()
  print(f"{date.today()}, transformers {transformers.__version__}, torch {torch.__version__},")
  print(f"jax {jax.__version__} on {jax.devices()[0].platform}, float32\n")
  print("| model type | length | states | cls vector | mean vector | largest state |")
  print("|---|---|---|---|---|---|")
  for kind in kinds:
    found = compare(kind)
    values = " | ".join(f"{found[key]:.1e}" for key in ("states", "cls", "mean"))
    print(f"| {kind} | {LENGTHS[kind]} | {values} | {found['largest state']:.1f} |", flush=True)


if __name__ == "__main__":
  main()
