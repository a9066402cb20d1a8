"""Sentences per second of encoding, beside sentence-transformers on the same folder and texts.

    python -m benchmarks.embed_speed runs/demo/final [--texts=4000] [--rounds=3]

Needs requirements-dev.txt. The texts: interface sentences of 97 languages, one to thirty of a
language joined, so that lengths are mixed. Each system encodes them all once to warm up, then they
take turns; the best round counts. sentence-transformers runs with its default batch size and with
ours, and the faster one is its figure. Both read text and give float32 vectors on the host. In
seconds: --texts=20 --rounds=1.
"""

from __future__ import annotations

import argparse

import numpy as np
import sentence_transformers
import torch

from benchmarks import measuring
from dap_jax.data.readers import formats
from dap_jax.inference import embedder

OURS = "dap_jax"


def mixed_texts(number: int) -> list[str]:
  """So many texts of one to thirty sentences each, the same ones every time."""
  rng = np.random.default_rng(0)
  by_language: dict[str, list[str]] = {}
  for row in formats.read_rows("gettext", pivot="en", packages=("django", "wagtail")):
    for language, text in row.items():
      by_language.setdefault(language, []).append(text)
  languages = sorted(code for code, texts in by_language.items() if len(texts) > 100)
  texts = []
  for _ in range(number):
    sentences = by_language[languages[rng.integers(len(languages))]]
    joined = min(30, rng.geometric(0.2))
    texts.append(" ".join(sentences[i] for i in rng.integers(len(sentences), size=joined)))
  return texts


def main() -> None:
  parser = argparse.ArgumentParser(description="Encoding beside sentence-transformers.")
  parser.add_argument("model", help="an exported folder")
  parser.add_argument("--texts", type=int, default=4000)
  parser.add_argument("--rounds", type=int, default=3)
  flags = parser.parse_args()
  texts = mixed_texts(flags.texts)
  our_model = embedder.load(flags.model)
  peer = sentence_transformers.SentenceTransformer(flags.model, device="cpu")
  lengths = [len(ids) for ids in our_model.tokenizer.encode_ragged(texts)]
  percentiles = ", ".join(f"{np.percentile(lengths, share):.0f}" for share in (10, 50, 90, 100))
  versions = measuring.machine("jax", "torch", "sentence-transformers")
  print(f"{versions}, {torch.get_num_threads()} threads")
  print(f"{len(texts)} texts; tokens at the 10th, 50th, 90th, 100th percentile: {percentiles}")
  systems = {
    OURS: lambda: our_model.encode(texts),
    "sentence-transformers, batch 32": lambda: peer.encode(texts, batch_size=32),
    "sentence-transformers, batch 128": lambda: peer.encode(texts, batch_size=128),
  }
  largest = np.abs(our_model.encode(texts) - peer.encode(texts)).max()
  print(f"largest difference of a coordinate: {largest:.1e}\n")
  best = dict.fromkeys(systems, np.inf)
  for _ in range(flags.rounds):
    for name, encode in systems.items():
      best[name] = min(best[name], measuring.seconds_of(encode))
  measuring.print_header("system", "sentences/s")
  for name, seconds in best.items():
    measuring.print_row(name, f"{len(texts) / seconds:.0f}")
  fastest_peer = min(seconds for name, seconds in best.items() if name != OURS)
  print(f"\nratio {fastest_peer / best[OURS]:.2f}")


if __name__ == "__main__":
  main()
