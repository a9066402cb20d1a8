"""Pairs per second of a training step, beside the same model trained with torch, in one run.

    python -m benchmarks.train_step [--seconds=20] [--rounds=3] [--dtype=float32] [sizes]

Model: BERT 6 x 384 x 12 heads, vocabulary 30,000 (English ids all 30,000), RTL decoder of 2 layers;
batch 64, every sentence 32 tokens, no dropout, AdamW, clipping to norm 1. The torch side is
transformers' BertModel and BertForMaskedLM with the losses written plainly, and logits at every
position, as the released program has them. Both sides start from the same weights, and the first
losses are compared before anything is timed. The two take turns, so that a busy machine slows both.
Needs jax, flax, optax, ml-collections, torch and transformers. In seconds:

    python -m benchmarks.train_step --seconds=0.1 --rounds=1 --layers=1 --width=32 \
      --vocabulary=500 --batch=4 --tokens=8
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch
import transformers

from benchmarks import measuring
from configs import base
from dap_jax.core.train_step import NOTHING_FROZEN
from dap_jax.distributed import sharding
from dap_jax.hub import names
from dap_jax.hub.model_types import tensor_names
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.training import build

DECODER_LAYERS = 2
HEAD_WIDTH, MLP_FACTOR, POSITIONS = 32, 4, 64


def flags_of() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description="A training step beside the same step in torch.")
  parser.add_argument("--seconds", type=float, default=20, help="per side and round")
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
  parser.add_argument("--layers", type=int, default=6)
  parser.add_argument("--width", type=int, default=384, help=f"a multiple of {HEAD_WIDTH}")
  parser.add_argument("--vocabulary", type=int, default=30_000)
  parser.add_argument("--batch", type=int, default=64, help="pairs")
  parser.add_argument("--tokens", type=int, default=32, help=f"at most {POSITIONS // 2}")
  return parser.parse_args()


def our_train_program(sizes: argparse.Namespace, *, with_rtl: bool) -> build.TrainProgram:
  """The train program of this project; all but the sizes is as in configs/base.py."""
  config = base.get_config().to_dict()
  config |= {"seed": 0, "steps": 1000, "max_tokens": sizes.tokens}
  config["model"] |= {"dropout": 0.0, "pooling": "cls", "compute_dtype": sizes.dtype}
  config["model"]["encoder"] |= {
    "layers": sizes.layers,
    "width": sizes.width,
    "heads": sizes.width // HEAD_WIDTH,
    "mlp_width": sizes.width * MLP_FACTOR,
    "positions": POSITIONS,
  }
  config["decoder"]["layers"] = DECODER_LAYERS
  config["mesh"] = dict.fromkeys(config["mesh"], 1)
  if not with_rtl:
    config["objectives"]["representation_translation"]["weight"] = 0.0
  english_ids = np.arange(sizes.vocabulary, dtype=np.int32)
  vocabulary = Vocabulary(sizes.vocabulary, 0, 2, 3, 4, english_ids)
  return build.build(
    vocabulary=vocabulary,
    devices=jax.devices()[:1],
    **{key: config[key] for key in build.KEYS},
  )


def random_batch(sizes: argparse.Namespace) -> dict[str, np.ndarray]:
  """Full-length sentences; view 0 is y, 1 is x."""
  shape = (sizes.batch, 2, sizes.tokens)
  ids = np.random.default_rng(0).integers(5, sizes.vocabulary, shape).astype(np.int32)
  ids[..., 0], ids[..., -1] = 2, 3
  text_hash = np.arange(2 * sizes.batch, dtype=np.int32).reshape(sizes.batch, 2)
  language = np.tile(np.arange(2, dtype=np.int32), (sizes.batch, 1))
  mask = np.ones(ids.shape, bool)
  return {"ids": ids, "mask": mask, "text_hash": text_hash, "language": language}


class TorchPeer:
  """The released program's computation, written plainly, on the same weights."""

  def __init__(
    self, params: dict[str, Any], sizes: argparse.Namespace, *, with_rtl: bool, device: str
  ):
    config = transformers.BertConfig(
      vocab_size=sizes.vocabulary,
      hidden_size=sizes.width,
      num_hidden_layers=sizes.layers,
      num_attention_heads=sizes.width // HEAD_WIDTH,
      intermediate_size=sizes.width * MLP_FACTOR,
      max_position_embeddings=POSITIONS,
      hidden_dropout_prob=0.0,
      attention_probs_dropout_prob=0.0,
    )
    self.encoder = transformers.BertModel(config, add_pooling_layer=False)
    entries = names.encoder_entries(tensor_names.BERT, sizes.layers)
    self.encoder.load_state_dict(to_torch(names.to_torch(params["encoder"], entries)))
    self.projection = torch.nn.Linear(sizes.width, sizes.width)
    kernel, bias = params["projection"]["kernel"], params["projection"]["bias"]
    self.projection.load_state_dict(to_torch({"weight": kernel.T, "bias": bias}))
    self.decoder = torch_decoder(config, params["decoder"]) if with_rtl else None
    modules = [self.encoder, self.projection, *([self.decoder] if with_rtl else [])]
    self.modules = torch.nn.ModuleList(modules).to(device).train()
    self.optimizer = torch.optim.AdamW(self.modules.parameters(), lr=5e-5, weight_decay=0.0)
    self.sizes, self.device, self.dtype = sizes, device, getattr(torch, sizes.dtype)

  def loss(self, ids: torch.Tensor) -> torch.Tensor:
    """Translation ranking, and RTL where there is a decoder; ids int64 [B, 2, L]."""
    batch, tokens, vocabulary = self.sizes.batch, self.sizes.tokens, self.sizes.vocabulary
    h = self.encoder(ids.reshape(-1, tokens)).last_hidden_state.reshape(batch, 2, tokens, -1)
    z = torch.tanh(self.projection(h[:, :, 0])).float()
    z = torch.nn.functional.normalize(z, dim=-1)
    labels = torch.arange(batch, device=self.device)
    loss = torch.nn.functional.cross_entropy(z[:, 1] @ z[:, 0].T / 0.05, labels)
    if self.decoder is None:
      return loss
    embeddings = self.decoder.bert.embeddings
    slots = embeddings(torch.full((batch, tokens), 4, device=self.device))
    readable = torch.ones((batch, 2 * tokens), device=self.device)
    readable[:, [0, tokens]] = 0
    logits = self.decoder(
      inputs_embeds=torch.cat([h[:, 1], slots], dim=1), attention_mask=readable
    ).logits
    targets = torch.full((batch, 2 * tokens), -100, device=self.device)
    targets[:, tokens + 1 :] = ids[:, 0, 1:]
    return loss + torch.nn.functional.cross_entropy(
      logits.reshape(-1, vocabulary).float(), targets.reshape(-1)
    )

  def step(self, ids: torch.Tensor) -> float:
    """One update; returns the loss."""
    self.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
      loss = self.loss(ids)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
    self.optimizer.step()
    return float(loss.detach())  # waits for the device


def torch_decoder(config: transformers.BertConfig, params: dict[str, Any]) -> torch.nn.Module:
  """RTL's decoder with our weights."""
  small = {**config.to_dict(), "num_hidden_layers": DECODER_LAYERS, "tie_word_embeddings": False}
  decoder = transformers.BertForMaskedLM(transformers.BertConfig(**small))
  entries = names.decoder_entries(
    tensor_names.BERT, depth=DECODER_LAYERS, layers=DECODER_LAYERS, tied=False
  )
  tensors = names.to_torch(params, entries)
  tensors = {name if "cls." in name else f"bert.{name}": x for name, x in tensors.items()}
  tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
  keys = decoder.load_state_dict(to_torch(tensors), strict=False)
  assert not keys.unexpected_keys, keys
  return decoder


def to_torch(tensors: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
  return {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}


def steps_per_second(step: Callable[[], float], *, seconds: float) -> float:
  """Measured over about so many seconds."""
  started, count = time.perf_counter(), 0
  while (elapsed := time.perf_counter() - started) < seconds:
    step()
    count += 1
  return count / elapsed


def compare(flags: argparse.Namespace, *, with_rtl: bool) -> tuple[float, float]:
  """Median pairs per second of this project and of torch."""
  train_program = our_train_program(flags, with_rtl=with_rtl)
  batch = random_batch(flags)
  state = train_program.init({})
  device = "cuda" if torch.cuda.is_available() else "cpu"
  peer = TorchPeer(jax.device_get(state.params), flags, with_rtl=with_rtl, device=device)
  ids = torch.from_numpy(batch["ids"]).long().to(device)
  placed = sharding.put_batch(batch, train_program.mesh, batch_size=flags.batch)

  def our_step() -> float:
    nonlocal state
    state, means = train_program.step(state, placed, NOTHING_FROZEN)
    return float(means["loss"].compute())

  def peer_step() -> float:
    return peer.step(ids)

  our_loss, peer_loss = our_step(), peer_step()
  tolerance = 1e-4 if flags.dtype == "float32" else 2e-2
  assert abs(our_loss - peer_loss) < tolerance * abs(peer_loss), (our_loss, peer_loss)
  rates = [
    [steps_per_second(step, seconds=flags.seconds) for step in (our_step, peer_step)]
    for _ in range(flags.rounds)
  ]
  our_rate, peer_rate = np.median(rates, axis=0) * flags.batch
  return float(our_rate), float(peer_rate)


def main() -> None:
  flags = flags_of()
  jax.config.update("jax_default_matmul_precision", "highest" if flags.dtype == "float32" else None)
  versions = measuring.machine("jax", "torch", "transformers")
  print(f"{versions}, {torch.get_num_threads()} torch threads, {flags.dtype}\n")
  measuring.print_header("step", "dap_jax pairs/s", "torch pairs/s", "ratio")
  for name, with_rtl in (("TR", False), ("DAP", True)):
    our_rate, peer_rate = compare(flags, with_rtl=with_rtl)
    ratio = our_rate / peer_rate
    measuring.print_row(name, f"{our_rate:.1f}", f"{peer_rate:.1f}", f"{ratio:.2f}")


if __name__ == "__main__":
  main()
