"""Pairs per second of a training step, beside the same step in torch, in one run on the same cores.

    python -m benchmarks.train_step [--size=tiny|small|base] [--lengths=real|full] [--rounds=12]
        [--steps=TR,DAP,TR+TLM,VECO2] [--peers=released,lean,lean_buckets,ranking] [--compile]
        [--dtype=float32|bfloat16] [--output=FILE.json] [sizes]

`dap_jax` is the program that `train` runs, batches of one padded length as `data.bucket_tokens`
makes them (multiples of --bucket), each bucket's time by how often it occurs. Its peers start from
the same weights, and their first losses are compared with ours before anything is timed:

    released      transformers' BertModel, the losses written plainly, logits of all ids at every
                  position, as the DAP paper's program has them; random batches, each padded to its
                  longest text
    lean          the same with our savings: logits at target positions alone, RTL's of English ids
    lean_buckets  lean, on the very batches of dap_jax: what is left is the program, not padding
    ranking       TR alone: sentence-transformers' MultipleNegativesRankingLoss, batches as released

VECO 2.0 has no peer here. AdamW, clipping to norm 1, no dropout. All sides take turns, a step (of
ours, one of each bucket) in every round; figures are medians over the rounds and quartiles. A large
matrix product takes its turn too: `of peak` is the share of the faster library's speed at it that a
step's necessary FLOPs have, those of real tokens alone (dap_jax/training/flops.py).
Needs jax, flax, optax, ml-collections, torch and transformers; `ranking` sentence-transformers. In
seconds: --size=tiny --layers=1 --width=32 --vocabulary=500 --batch=4 --tokens=8 --rounds=1
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import measuring
from benchmarks.training_step import batches, rounds
from benchmarks.training_step.ours import Ours
from benchmarks.training_step.sizes import STEPS, Sizes, add_flags, sizes_of

OURS = "dap_jax"
PEERS = ("released", "lean", "lean_buckets", "ranking")
SAME_IN_TR = ("lean",)  # there are no logits to save
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}  # of the first loss
MATMULS = {"matmul, jax": rounds.jax_matmul, "matmul, torch": rounds.torch_matmul}


def flags_of() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description="A training step beside the same step in torch.")
  add_flags(parser)
  parser.add_argument("--steps", default=",".join(STEPS), help="which of them")
  parser.add_argument("--peers", default=",".join(PEERS), help="which of them")
  parser.add_argument("--rounds", type=int, default=12)
  parser.add_argument("--compile", action="store_true", help="torch.compile for the peers")
  parser.add_argument("--output", help="a file for the figures, JSON")
  flags = parser.parse_args()
  for name, known in (("steps", STEPS), ("peers", PEERS)):
    chosen = list(filter(None, getattr(flags, name).split(",")))
    if unknown := set(chosen) - set(known):
      parser.error(f"--{name}: {', '.join(sorted(unknown))}: expected some of {', '.join(known)}")
    setattr(flags, name, chosen)
  return flags


def make_peers(ours: Ours, step: str, sizes: Sizes, flags: argparse.Namespace) -> dict[str, Any]:
  """Those of the chosen peers that take this step."""
  if step == "VECO2":
    return {}
  from benchmarks.training_step import peers

  made: dict[str, Any] = {}
  for name in flags.peers:
    if name == "ranking":
      if step == "TR":
        made[name] = peers.RankingPeer(ours, sizes, compiled=flags.compile)
    elif step != "TR" or name not in SAME_IN_TR:
      lean = name != "released"
      made[name] = peers.TorchPeer(ours, step, sizes, lean=lean, compiled=flags.compile)
  return made


def compare_losses(ours: Ours, peers: dict[str, Any], batch: Any, sizes: Sizes) -> dict[str, float]:
  """The first loss of each side on the same batch; ends the program where they differ."""
  losses = {OURS: ours.step(ours.put(batch))}
  for name, peer in peers.items():
    losses[name] = peer.step(peer.put(batch))
    difference = abs(losses[name] / losses[OURS] - 1)
    assert difference < TOLERANCE[sizes.dtype], losses
  return losses


def measure(step: str, sizes: Sizes, flags: argparse.Namespace) -> dict[str, Any]:
  """The figures of one step."""
  rng = np.random.default_rng(0)
  lengths = batches.draw_lengths(batches.POOL, sizes, rng)
  plan = batches.of_buckets(lengths, sizes, rng)
  ours = Ours(step, sizes)
  peers = make_peers(ours, step, sizes, flags)
  losses = compare_losses(ours, peers, max(plan, key=lambda each: each.weight).batch, sizes)
  sides = {OURS: rounds.Side(ours, itertools.repeat(plan))}
  for name, peer in peers.items():
    same = name == "lean_buckets"
    own = itertools.repeat(plan) if same else batches.at_random(lengths, sizes, rng)
    sides[name] = rounds.Side(peer, own)
  timed = {name: side.seconds for name, side in sides.items()}
  for name, make in MATMULS.items():
    timed[name] = functools.partial(measuring.seconds_of, make(sizes.dtype))
  samples = rounds.take_turns(timed, rounds=flags.rounds)
  width = rounds.matmul_width()
  peaks = {name: 2 * width**3 / np.median(samples[name]) for name in MATMULS}
  flops = ours.necessary_flops(lengths)
  return {
    "step": step,
    "first_losses": losses,
    "necessary_gflop": flops / 1e9,
    "matmul_gflop_per_second": {name: peak / 1e9 for name, peak in peaks.items()},
    "padded_lengths": {str(b.batch["ids"].shape[-1]): b.weight for b in plan},
    "sides": {
      name: side_figures(samples[name], sizes, flops=flops, peak=max(peaks.values()))
      for name in sides
    },
  }


def side_figures(seconds: np.ndarray, sizes: Sizes, *, flops: float, peak: float) -> dict[str, Any]:
  median, upper, lower = np.percentile(seconds, (50, 25, 75))
  return {
    "pairs_per_second": sizes.batch / median,
    "quartiles": [sizes.batch / lower, sizes.batch / upper],
    "share_of_peak": flops / median / peak,
    "seconds": seconds.round(5).tolist(),
  }


def print_rows(figures: dict[str, Any]) -> None:
  rates = {name: side["pairs_per_second"] for name, side in figures["sides"].items()}
  for name, side in figures["sides"].items():
    quartiles = " to ".join(f"{rate:.1f}" for rate in side["quartiles"])
    ratio = "" if name == OURS else f"{rates[OURS] / rates[name]:.2f}"
    share = f"{side['share_of_peak']:.2f}"
    measuring.print_row(figures["step"], name, f"{rates[name]:.1f}", quartiles, ratio, share)


def main() -> None:
  flags = flags_of()
  sizes = sizes_of(flags)
  jax.config.update("jax_default_matmul_precision", "highest" if sizes.dtype == "float32" else None)
  import torch

  machine = measuring.machine("jax", "torch", "transformers")
  load = ", ".join(f"{minutes:.1f}" for minutes in os.getloadavg())
  print(f"{machine}, {torch.get_num_threads()} torch threads, load {load}\n{sizes}\n")
  measuring.print_header("step", "side", "pairs/s", "quartiles", "dap_jax is faster by", "of peak")
  results = []
  for step in flags.steps:
    results.append(measure(step, sizes, flags))
    print_rows(results[-1])
  if flags.output:
    about = {"machine": machine, "load_at_start": load, "flags": vars(flags), "sizes": vars(sizes)}
    Path(flags.output).write_text(json.dumps(about | {"steps": results}, indent=1) + "\n")


if __name__ == "__main__":
  main()
