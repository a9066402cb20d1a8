"""Pairs per second of a training step, beside the same model trained with torch, in one run.

    python benchmarks/train_step.py [--seconds=20] [--dtype=float32] [--rounds=3]

Model: BERT 6 x 384 x 12 heads, vocabulary 30,000 (English ids all 30,000), RTL decoder of 2 layers;
batch 64, every sentence 32 tokens, no dropout, AdamW, clipping to norm 1. The torch side is
transformers' BertModel and BertForMaskedLM with the losses written plainly, and logits at every
position, as the released program has them. Both sides start from the same weights, and the first
losses are compared before anything is timed. The two take turns, so that a busy machine slows both.
Needs jax, flax, optax, ml-collections, torch and transformers.
"""

from __future__ import annotations

import argparse
import platform
import time
from datetime import date
from pathlib import Path

import jax
import numpy as np
import torch
import transformers

from configs import base
from dap_jax.core.train_step import Frozen
from dap_jax.distributed import sharding
from dap_jax.hub import names
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.training import build

BATCH, LENGTH, VOCABULARY = 64, 32, 30_000
SIZES = {"layers": 6, "width": 384, "heads": 12, "mlp_width": 1536, "positions": 64}


def our_train_program(*, with_rtl: bool, dtype: str) -> build.TrainProgram:
  """The jitted step of this project."""
  config = base.get_config().to_dict()
  config["model"] |= {"dropout": 0.0, "pooling": "cls", "compute_dtype": dtype}
  config["model"]["encoder"] |= SIZES
  if not with_rtl:
    config["objectives"]["representation_translation"]["weight"] = 0.0
  vocabulary = Vocabulary(VOCABULARY, 0, 2, 3, 4, np.arange(VOCABULARY, dtype=np.int32))
  return build.build(
    vocabulary=vocabulary,
    seed=0,
    steps=1000,
    max_tokens=LENGTH,
    model=config["model"],
    decoder=config["decoder"],
    objectives=config["objectives"],
    optimizer=config["optimizer"],
    mesh={"data": 1, "model": 1},
  )


def random_batch() -> dict[str, np.ndarray]:
  """Full-length sentences; view 0 is y, 1 is x."""
  ids = np.random.default_rng(0).integers(5, VOCABULARY, (BATCH, 2, LENGTH)).astype(np.int32)
  ids[..., 0], ids[..., -1] = 2, 3
  text_hash = np.arange(2 * BATCH, dtype=np.int32).reshape(BATCH, 2)
  language = np.tile(np.arange(2, dtype=np.int32), (BATCH, 1))
  mask = np.ones(ids.shape, bool)
  return {"ids": ids, "mask": mask, "text_hash": text_hash, "language": language}


class TorchPeer:
  """The released program's computation, written plainly, on the same weights."""

  def __init__(self, params: dict, *, with_rtl: bool, device: str, dtype: str):
    config = transformers.BertConfig(
      vocab_size=VOCABULARY,
      hidden_size=SIZES["width"],
      num_hidden_layers=SIZES["layers"],
      num_attention_heads=SIZES["heads"],
      intermediate_size=SIZES["mlp_width"],
      max_position_embeddings=SIZES["positions"],
      hidden_dropout_prob=0.0,
      attention_probs_dropout_prob=0.0,
    )
    self.encoder = transformers.BertModel(config, add_pooling_layer=False)
    encoder = names.encoder_entries(names.BERT, SIZES["layers"])
    self.encoder.load_state_dict(to_torch(names.to_torch(params["encoder"], encoder)))
    self.projection = torch.nn.Linear(SIZES["width"], SIZES["width"])
    kernel, bias = params["projection"]["kernel"], params["projection"]["bias"]
    self.projection.load_state_dict(to_torch({"weight": kernel.T, "bias": bias}))
    modules = [self.encoder, self.projection]
    self.decoder = None
    if with_rtl:
      small = transformers.BertConfig(
        **{**config.to_dict(), "num_hidden_layers": 2, "tie_word_embeddings": False}
      )
      self.decoder = transformers.BertForMaskedLM(small)
      entries = names.decoder_entries(names.BERT, depth=2, layers=2, tied=False)
      tensors = names.to_torch(params["decoder"], entries)
      tensors = {name if "cls." in name else f"bert.{name}": x for name, x in tensors.items()}
      tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
      missing = self.decoder.load_state_dict(to_torch(tensors), strict=False)
      assert not missing.unexpected_keys, missing
      modules.append(self.decoder)
    self.modules = torch.nn.ModuleList(modules).to(device).train()
    self.optimizer = torch.optim.AdamW(self.modules.parameters(), lr=5e-5, weight_decay=0.0)
    self.device, self.dtype = device, getattr(torch, dtype)

  def loss(self, ids: torch.Tensor) -> torch.Tensor:
    h = self.encoder(ids.reshape(-1, LENGTH)).last_hidden_state.reshape(BATCH, 2, LENGTH, -1)
    z = torch.tanh(self.projection(h[:, :, 0])).float()
    z = torch.nn.functional.normalize(z, dim=-1)
    labels = torch.arange(BATCH, device=self.device)
    loss = torch.nn.functional.cross_entropy(z[:, 1] @ z[:, 0].T / 0.05, labels)
    if self.decoder is None:
      return loss
    embeddings = self.decoder.bert.embeddings
    slots = embeddings(torch.full((BATCH, LENGTH), 4, device=self.device))
    readable = torch.ones((BATCH, 2 * LENGTH), device=self.device)
    readable[:, [0, LENGTH]] = 0
    logits = self.decoder(
      inputs_embeds=torch.cat([h[:, 1], slots], dim=1), attention_mask=readable
    ).logits
    targets = torch.full((BATCH, 2 * LENGTH), -100, device=self.device)
    targets[:, LENGTH + 1 :] = ids[:, 0, 1:]
    return loss + torch.nn.functional.cross_entropy(
      logits.reshape(-1, VOCABULARY).float(), targets.reshape(-1)
    )

  def step(self, ids: torch.Tensor) -> float:
    self.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
      loss = self.loss(ids)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
    self.optimizer.step()
    return float(loss.detach())  # waits for the device


def to_torch(tensors: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
  return {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}


def timed(step, *, seconds: float) -> float:
  """Steps per second over about `seconds`."""
  started, count = time.perf_counter(), 0
  while (elapsed := time.perf_counter() - started) < seconds:
    step()
    count += 1
  return count / elapsed


def compare(*, with_rtl: bool, seconds: float, rounds: int, dtype: str) -> tuple[float, float]:
  """Median pairs per second of (ours, torch)."""
  train_program = our_train_program(with_rtl=with_rtl, dtype=dtype)
  batch = random_batch()
  state = train_program.init({})
  device = "cuda" if torch.cuda.is_available() else "cpu"
  params = jax.device_get(state.params)
  peer = TorchPeer(params, with_rtl=with_rtl, device=device, dtype=dtype)
  ids = torch.from_numpy(batch["ids"]).long().to(device)
  placed = sharding.put_batch(batch, train_program.mesh, batch_size=BATCH)
  held = {"state": state}

  def ours() -> float:
    held["state"], means = train_program.step(held["state"], placed, Frozen())
    return float(means["loss"].compute())

  first, theirs = ours(), peer.step(ids)
  tolerance = 1e-4 if dtype == "float32" else 2e-2
  assert abs(first - theirs) < tolerance * abs(theirs), (first, theirs)
  rates = [
    (timed(ours, seconds=seconds), timed(lambda: peer.step(ids), seconds=seconds))
    for _ in range(rounds)
  ]
  ours_rate, peer_rate = np.median(np.array(rates), axis=0) * BATCH
  return float(ours_rate), float(peer_rate)


def processor() -> str:
  """A name for the machine."""
  if jax.devices()[0].platform != "cpu":
    return jax.devices()[0].device_kind
  info = Path("/proc/cpuinfo")
  lines = info.read_text().split("\n") if info.exists() else []
  found = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
  return f"{len(found)} x {found[0]}" if found else platform.processor()


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--seconds", type=float, default=20, help="per side and round")
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
  flags = parser.parse_args()
  jax.config.update("jax_default_matmul_precision", "highest" if flags.dtype == "float32" else None)
  print(f"{date.today()}, {processor()}, {flags.dtype}")
  print(
    f"jax {jax.__version__}, torch {torch.__version__}, {torch.get_num_threads()} torch threads\n"
  )
  print("| step | dap_jax pairs/s | torch pairs/s | ratio |\n|---|---|---|---|")
  for name, with_rtl in (("TR", False), ("DAP", True)):
    ours, theirs = compare(
      with_rtl=with_rtl, seconds=flags.seconds, rounds=flags.rounds, dtype=flags.dtype
    )
    print(f"| {name} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} |", flush=True)


if __name__ == "__main__":
  main()
