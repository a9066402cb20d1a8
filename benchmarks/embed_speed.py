"""Sentences per second of encoding, beside sentence-transformers on the same folder and texts.

    python benchmarks/embed_speed.py runs/demo/final [--texts=4000] [--rounds=3]

Needs requirements-dev.txt. The texts: interface sentences of 97 languages, one to thirty of a
language joined, so that lengths are mixed. Each system encodes them all once to warm up, then they
take turns; the best round counts. sentence-transformers runs with its default batch size and with
ours, and the faster one is its figure. Both read text and give float32 vectors on the host.
"""

import argparse
import time

import jax
import numpy as np
import sentence_transformers
import torch

from dap_jax.data.readers import formats
from dap_jax.inference import embedder


def mixed_texts(number: int) -> list[str]:
  """So many texts of one to thirty sentences each, the same ones every time."""
  rng = np.random.default_rng(0)
  by_language: dict[str, list[str]] = {}
  for row in formats.read("gettext", pivot="en", packages=("django", "wagtail")):
    for language, text in row.items():
      by_language.setdefault(language, []).append(text)
  languages = sorted(code for code, texts in by_language.items() if len(texts) > 100)
  texts = []
  for _ in range(number):
    own = by_language[languages[rng.integers(len(languages))]]
    joined = min(30, rng.geometric(0.2))
    texts.append(" ".join(own[i] for i in rng.integers(len(own), size=joined)))
  return texts


def seconds(function) -> float:
  clock = time.perf_counter()
  function()
  return time.perf_counter() - clock


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("model")
  parser.add_argument("--texts", type=int, default=4000)
  parser.add_argument("--rounds", type=int, default=3)
  arguments = parser.parse_args()
  texts = mixed_texts(arguments.texts)
  ours = embedder.load(arguments.model)
  theirs = sentence_transformers.SentenceTransformer(arguments.model, device="cpu")
  tokens = [len(ids) for ids in ours.tokenizer.encode_ragged(texts)]
  shares = ", ".join(f"{np.percentile(tokens, share):.0f}" for share in (10, 50, 90, 100))
  print(f"{len(texts)} texts; tokens at the 10th, 50th, 90th, 100th percentile: {shares}")
  print(f"jax {jax.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
  systems = {
    "dap_jax": lambda: ours.encode(texts),
    "sentence-transformers, batch 32": lambda: theirs.encode(texts, batch_size=32),
    "sentence-transformers, batch 128": lambda: theirs.encode(texts, batch_size=128),
  }
  largest = np.abs(ours.encode(texts) - theirs.encode(texts)).max()
  print(f"largest difference of a coordinate: {largest:.1e}")
  best = dict.fromkeys(systems, np.inf)
  for _ in range(arguments.rounds):
    for name, run in systems.items():
      best[name] = min(best[name], seconds(run))
  for name, time_taken in best.items():
    print(f"| {name} | {len(texts) / time_taken:.0f} sentences/s |")
  peer = min(value for name, value in best.items() if name != "dap_jax")
  print(f"ratio {peer / best['dap_jax']:.2f}")


if __name__ == "__main__":
  main()
