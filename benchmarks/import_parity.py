"""Imported checkpoints at their real sizes, beside transformers' torch models: largest differences.

    python -m benchmarks.import_parity [--types=bert,distilbert,xlm-roberta,modernbert,m2m_100]

Weights are random (the sizes are those of mBERT, DistilmBERT, XLM-R base, mmBERT base, SONAR's text
encoder, and 4 of the 36 layers of XLM-R XL; norms and biases random too), the batch is padded,
float32 on both sides. Compared are the last hidden states at real tokens and the mean- and
cls-pooled unit vectors. Needs requirements-dev.txt and about 5 GB, m2m_100 and xlm-roberta-xl 8.
In seconds a type: --layers=1 --vocabulary=1000 --tokens=40, instead of the real sizes.
"""

from __future__ import annotations

import argparse
import gc
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers
from transformers.models.m2m_100.modeling_m2m_100 import M2M100Encoder

from benchmarks import measuring
from dap_jax.model.dual_alignment import pool
from dap_jax.utils.unit_vectors import unit

TOKENS = {"modernbert": 2048}  # the others: 512
SIZES: dict[str, dict[str, int | float]] = {
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
  "xlm-roberta-xl": {"vocab_size": 250_880, "num_hidden_layers": 4},
  "m2m_100": {
    "vocab_size": 256_206,
    "encoder_layers": 24,
    "encoder_ffn_dim": 8192,
  },
}
LAYERS = {"distilbert": "n_layers", "m2m_100": "encoder_layers"}  # the others: num_hidden_layers
SPECIAL_IDS = {"bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}


def torch_model(model_type: str, flags: argparse.Namespace) -> torch.nn.Module:
  """A random model of the real size, or of a smaller one."""
  torch.manual_seed(0)
  sizes = dict(SIZES[model_type])
  if flags.vocabulary:
    sizes["vocab_size"] = flags.vocabulary
    sizes |= SPECIAL_IDS if model_type == "modernbert" else {}
  if flags.layers:
    sizes[LAYERS.get(model_type, "num_hidden_layers")] = flags.layers
  config = transformers.AutoConfig.for_model(model_type, **sizes)
  if model_type == "m2m_100":
    module = M2M100Encoder(config).eval()
  else:
    module = transformers.AutoModel.from_config(config).eval()
  with torch.no_grad():
    for name, parameter in module.named_parameters():
      if "norm" in name.lower() or name.endswith("bias"):
        parameter.add_(0.1 * torch.randn_like(parameter))
  return module


def compare(model_type: str, flags: argparse.Namespace) -> dict[str, float]:
  """The largest absolute differences of one architecture."""
  tokens = flags.tokens or TOKENS.get(model_type, 512)
  module = torch_model(model_type, flags)
  lengths = np.array([tokens, tokens // 2 + 3, 17])
  mask = np.arange(tokens) < lengths[:, None]
  ids = np.random.default_rng(0).integers(5, module.config.vocab_size, mask.shape)
  ids[~mask] = module.config.pad_token_id
  with torch.no_grad():
    inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask).long()}
    expected = module(**inputs).last_hidden_state.numpy()
  with tempfile.TemporaryDirectory() as folder:
    module.save_pretrained(folder)
    del module
    gc.collect()
    network, params = measuring.import_encoder(folder, max_tokens=tokens)
  apply = jax.jit(lambda p, i, m: network.encoder.apply({"params": p}, i, m, deterministic=True))
  hidden = apply(params["encoder"], jnp.asarray(ids, jnp.int32), jnp.asarray(mask))
  differences = {"states": np.abs(np.asarray(hidden[-1]) - expected)[mask].max()}
  for pooling in ("cls", "mean"):
    vectors, expected_vectors = (
      unit(np.asarray(pool(states, jnp.asarray(mask), pooling=pooling)))
      for states in (hidden, [jnp.asarray(expected)])
    )
    differences[pooling] = np.abs(vectors - expected_vectors).max()
  return differences | {"tokens": tokens, "largest state": np.abs(expected[mask]).max()}


def parser() -> argparse.ArgumentParser:
  """The flags."""
  flags = argparse.ArgumentParser(description="Imported checkpoints beside transformers.")
  flags.add_argument("--types", default=",".join(SIZES))
  flags.add_argument("--layers", type=int, default=0, help="0 = the real model's")
  flags.add_argument("--vocabulary", type=int, default=0, help="0 = the real model's")
  flags.add_argument("--tokens", type=int, default=0, help="0 = as many as the type is used with")
  return flags


def main() -> None:
  flags = parser().parse_args()
  jax.config.update("jax_default_matmul_precision", "highest")
  transformers.utils.logging.disable_progress_bar()
  print(f"{measuring.machine('jax', 'torch', 'transformers')}, float32\n")
  measuring.print_header(
    "model type", "length", "states", "cls vector", "mean vector", "largest state"
  )
  for model_type in flags.types.split(","):
    figures = compare(model_type, flags)
    differences = [f"{figures[key]:.1e}" for key in ("states", "cls", "mean")]
    largest = f"{figures['largest state']:.1f}"
    measuring.print_row(model_type, figures["tokens"], *differences, largest)


if __name__ == "__main__":
  main()
