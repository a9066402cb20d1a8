"""Pairs per second of preparing data, its memory, and pairs per second of the loader.

    python -m benchmarks.prepare_speed 'corpus/*-en.tsv' [--vocabulary_size=32000] [--batches=100]
        [--guard ../shared/data/tatoeba_v1 ...]

Everything counts: reading, cleaning, duplicates, the held-out split, the guard, training a
vocabulary, tokenising, writing. In a second: a small file and --vocabulary_size=100 --batches=2.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measuring
from configs import base
from dap_jax.data import loader, manifest, preparation, store
from dap_jax.data.cleaning.corpus import CorpusReader
from dap_jax.data.engines.processes import Processes
from dap_jax.utils.prompts import Sides

BATCH = 1024


def prepare(
  folder: Path,
  pattern: str,
  *,
  vocabulary_size: int,
  guard: Sequence[str],
  near_duplicates: float,
) -> None:
  """Prepares files of tab-separated pairs by the rules of the demo."""
  reader = CorpusReader(
    format="tsv",
    arguments={"paths": (pattern,)},
    pivot="en",
    languages=(),
    rules=("empty", "no_letters", "equal", "length_ratio"),
    rules_for={},
    markup=False,
    drop_characters="",
    near_duplicates=near_duplicates,
    max_line_bytes=1 << 20,
  )
  preparation.prepare(
    folder / "data",
    reader,
    tokenizer_directory=folder / "tokenizer",
    vocabulary_size=vocabulary_size,
    sample_texts=base.get_config().tokenizer.sample_texts,
    prune=0,
    fixed_ids=0,
    max_tokens=32,
    prompts=Sides(),
    temperature=2.0,
    min_pairs=1,
    guard=guard,
    heldout={"sentences": 1, "min_words": 1, "min_languages": 1},
    extras=(),
    workers=Processes(),
  )


def loader_speed(folder: Path, *, batches: int, first_step: int) -> float:
  """Pairs per second of this many batches, all languages mixed, from a step on."""
  corpus = store.load(folder / "data", pad_id=0)
  stream = loader.batches(
    corpus.sources,
    rates=corpus.rates,
    bucket_tokens=(32,),
    seed=0,
    batch_size=BATCH,
    rows=slice(0, BATCH),
    first_step=first_step,
  )
  next(stream)
  start = time.perf_counter()
  for _ in range(batches):
    next(stream)
  return batches * BATCH / (time.perf_counter() - start)


def main() -> None:
  parser = argparse.ArgumentParser(description="Preparing data, and reading it.")
  parser.add_argument("files", help="a glob pattern of tab-separated files, xx-en.tsv")
  parser.add_argument("--vocabulary_size", type=int, default=32_000)
  parser.add_argument("--batches", type=int, default=100)
  parser.add_argument("--guard", nargs="*", default=(), help="folders of evaluation sets")
  parser.add_argument("--near_duplicates", type=float, default=0.0, help="as in the config")
  flags = parser.parse_args()
  print(measuring.machine("numpy", "pyarrow", "tokenizers", "sentencepiece"))
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    start = time.perf_counter()
    prepare(
      folder,
      flags.files,
      vocabulary_size=flags.vocabulary_size,
      guard=flags.guard,
      near_duplicates=flags.near_duplicates,
    )
    seconds = time.perf_counter() - start
    info = manifest.read_info(folder / "data")
    pairs = sum(info["pairs"].values()) + sum(info["rejected"].values())
    own, children = (
      resource.getrusage(who).ru_maxrss / 1024
      for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(
      f"{pairs:,} pairs in {len(info['pairs'])} languages, {seconds:.0f} s; memory at its peak:"
    )
    print(f"{own:.0f} MB, of the largest child process {children:.0f} MB")
    measuring.print_header("", "pairs/s")
    measuring.print_row("prepared", f"{pairs / seconds:,.0f}")
    for step in (1, 10_000_000):
      speed = loader_speed(folder, batches=flags.batches, first_step=step)
      measuring.print_row(f"loaded, from step {step:,}", f"{speed:,.0f}")


if __name__ == "__main__":
  main()
