"""Padding of batches by their lengths: tokens that are computed for each token that matters.

    python -m benchmarks.padding WORKDIR [WORKDIR ...] [--max_tokens=32,64] [--every=16,8,4,2]
        [--compile=tiny|small|base]

Each workdir has prepared data (`dap_jax.prepare`), of pairs; its texts are cut at each of
`max_tokens`. A row is a set of `data.bucket_tokens`: one length, or every so many tokens. A pair
goes to the bucket of its longer text, so even buckets of every length leave some padding: what the
shorter text lacks. That is the last column, as a share of all padding. With --compile, the seconds
that a DAP step of that size (benchmarks/training_step/sizes.py) takes to compile for each length.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks import measuring
from dap_jax.data import loader, store


class CutPairs:
  """A source of pairs with its texts cut at a length, as far as `padding_share` reads it."""

  sequences = 2

  def __init__(self, source: loader.ExampleSource, max_tokens: int):
    longer, both = source.longest(), source.real_tokens()
    self._longer, self._shorter = (np.minimum(x, max_tokens) for x in (longer, both - longer))

  def longest(self) -> np.ndarray:
    return self._longer

  def real_tokens(self) -> np.ndarray:
    return self._longer + self._shorter


def computed_per_real(
  sources: Mapping[str, CutPairs], rates: Mapping[str, float], bucket_tokens: Sequence[int]
) -> float:
  """Tokens computed / tokens that matter, 1 or more."""
  share = loader.padding_share(sources, rates=rates, bucket_tokens=bucket_tokens)
  return 1 / (1 - share)


def compile_seconds(size: str, tokens: int) -> dict[int, tuple[float, float]]:
  """Of a DAP step for batches of 64 pairs, by padded length: half of `tokens`, and `tokens`.

  Elapsed, and of all cores together.
  """
  from benchmarks.training_step import batches, ours, sizes

  settings = dataclasses.replace(sizes.SIZES[size], tokens=tokens)
  program = ours.Ours("DAP", settings)
  seconds = {}
  for length in (tokens // 2, tokens):
    lengths = np.full((settings.batch, 2), length)
    batch = batches.make_batch(lengths, settings, np.random.default_rng(0), padded=length)
    lowered = program.program.trace(program.put(batch)).lower()
    on_cores = time.process_time()
    elapsed = measuring.seconds_of(lowered.compile)
    seconds[length] = elapsed, time.process_time() - on_cores
  return seconds


def main() -> None:
  parser = argparse.ArgumentParser(description="Padding of batches by their lengths.")
  parser.add_argument("workdirs", nargs="+")
  parser.add_argument(
    "--max_tokens", type=measuring.numbers, default=[32], help="with commas between"
  )
  parser.add_argument(
    "--every", type=measuring.numbers, default=[16, 8, 4, 2], help="with commas between"
  )
  parser.add_argument("--compile", choices=("tiny", "small", "base"))
  flags = parser.parse_args()
  titles = ("data", "max tokens", "bucket every", "buckets", "computed / real", "the shorter's")
  measuring.print_header(*titles)
  for workdir in flags.workdirs:
    corpus = store.load(f"{workdir}/data", pad_id=0)
    for most in flags.max_tokens:
      sources = {name: CutPairs(source, most) for name, source in corpus.sources.items()}
      least = computed_per_real(sources, corpus.rates, range(1, most + 1))
      for every in (most, *flags.every):
        buckets = sorted({*range(every, most, every), most})
        ratio = computed_per_real(sources, corpus.rates, buckets)
        share = f"{(least - 1) / (ratio - 1):.0%}" if ratio > 1 else "-"
        measuring.print_row(workdir, most, every, len(buckets), f"{ratio:.3f}", share)
  for most in flags.max_tokens if flags.compile else ():
    for length, (elapsed, on_cores) in compile_seconds(flags.compile, most).items():
      seconds = f"{elapsed:.1f} s, {on_cores:.1f} CPU seconds"
      print(f"to compile DAP, {flags.compile}, length {length}: {seconds}")


if __name__ == "__main__":
  main()
