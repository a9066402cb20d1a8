"""Sentences per second of encoding, beside sentence-transformers on the same folder and texts.

    python -m benchmarks.embed_speed runs/demo/final [--texts=50000] [--piece=2000] [--seconds=1200]

Needs requirements-dev.txt. The texts: interface sentences of 97 languages, one to thirty of a
language joined, so that lengths are mixed. Each system is a process of its own, which encodes the
first piece to warm up; then they take turns, a piece each, so that a busy machine slows all of
them, until all texts are encoded or so many seconds have passed. sentence-transformers runs with
its default batch size and with ours, and the faster one is its figure. All read text and give
float32 vectors on the host. The peak is the kernel's figure of the resident set, after the first
piece and at the end. Last, dap_jax encodes all those texts in one call, to see whether memory
grows with them. In seconds: --texts=40 --piece=20.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measuring

OURS = "dap_jax"
PEERS = {"sentence-transformers, batch 32": 32, "sentence-transformers, batch 128": 128}
PACKAGES = ("jax", "torch", "sentence-transformers")
Encode = Callable[[Sequence[str]], np.ndarray]


def mixed_texts(number: int) -> list[str]:
  """So many texts of one to thirty sentences each, the same ones every time."""
  from dap_jax.data.readers import formats

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


def load(system: str, folder: str, texts: list[str]) -> tuple[Encode, str]:
  """A system's function that encodes, and what there is to say about it."""
  if system == OURS:
    from dap_jax.inference import embedder

    model = embedder.load(folder)
    lengths = [len(ids) for ids in model.tokenizer.encode_ragged(texts[:2000])]
    percentiles = ", ".join(f"{np.percentile(lengths, share):.0f}" for share in (10, 50, 90, 100))
    return model.encode, f"tokens at the 10th, 50th, 90th, 100th percentile: {percentiles}"
  import sentence_transformers
  import torch

  peer = sentence_transformers.SentenceTransformer(folder, device="cpu")
  threads = f"{torch.get_num_threads()} threads of torch"
  return lambda piece: peer.encode(piece, batch_size=PEERS[system]), threads


def serve(system: str, flags: argparse.Namespace) -> None:
  """Encodes the texts from one number to another for every line; answers with a line of JSON."""
  texts = mixed_texts(flags.texts)
  encode, remark = load(system, flags.model, texts)
  np.save(vectors_file(flags.folder, system), encode(texts[: flags.piece]))
  print(json.dumps(remark), flush=True)
  for line in sys.stdin:
    start, end = json.loads(line)
    before = cpu_seconds()
    seconds = measuring.seconds_of(functools.partial(encode, texts[start:end]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([seconds, cpu_seconds() - before, peak]), flush=True)


def cpu_seconds() -> float:
  """Of this process on all cores."""
  usage = resource.getrusage(resource.RUSAGE_SELF)
  return usage.ru_utime + usage.ru_stime


def vectors_file(folder: Path, system: str) -> Path:
  """Where a system leaves the vectors of the first piece."""
  return folder / f"{system}.npy"


class Worker:
  """A system in a process of its own, warm when this returns."""

  def __init__(self, system: str, flags: argparse.Namespace, folder: str):
    sizes = [f"--texts={flags.texts}", f"--piece={flags.piece}", f"--folder={folder}"]
    module = [sys.executable, "-m", "benchmarks.embed_speed", flags.model]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [*module, *sizes, f"--role={system}"]
    self.system, self._process = system, subprocess.Popen(command, cwd=measuring.ROOT, **pipes)
    self.remark = self._answer()
    self.seconds: list[float] = []  # of each piece
    self.cpu_seconds: list[float] = []
    self.peaks: list[int] = []  # bytes

  def encode(self, start: int, end: int) -> None:
    """The texts from one number to another."""
    print(json.dumps([start, end]), file=self._process.stdin, flush=True)
    seconds, cpu, peak = self._answer()
    self.seconds.append(seconds)
    self.cpu_seconds.append(cpu)
    self.peaks.append(peak)

  def _answer(self) -> Any:
    assert self._process.stdout is not None
    if line := self._process.stdout.readline():
      return json.loads(line)
    sys.exit(f"{self.system} failed")

  def close(self) -> None:
    assert self._process.stdin is not None
    self._process.stdin.close()
    self._process.wait()


def take_turns(workers: list[Worker], flags: argparse.Namespace) -> int:
  """Every system encodes piece by piece; returns how many texts they got through."""
  started, done = time.monotonic(), 0
  while done < flags.texts and (not done or time.monotonic() - started < flags.seconds):
    end = min(done + flags.piece, flags.texts)
    for worker in workers:
      worker.encode(done, end)
    done = end
  return done


def print_table(workers: list[Worker], done: int) -> None:
  measuring.print_header("system", "sentences/s", "CPU seconds", "peak after a piece", "at the end")
  for worker in workers:
    peaks = (f"{peak / 1e9:.2f} GB" for peak in (worker.peaks[0], worker.peaks[-1]))
    rate = f"{done / sum(worker.seconds):.0f}"
    measuring.print_row(worker.system, rate, f"{sum(worker.cpu_seconds):.0f}", *peaks)
  ours, *peers = workers
  peer = min(peers, key=lambda worker: sum(worker.seconds))
  ratios = np.array(peer.seconds) / ours.seconds
  print(f"\nratio {sum(peer.seconds) / sum(ours.seconds):.2f};", end=" ")
  print(f"of the pieces: median {np.median(ratios):.2f}, {ratios.min():.2f} to {ratios.max():.2f};")
  print(f"of CPU seconds {sum(peer.cpu_seconds) / sum(ours.cpu_seconds):.2f}")


def main() -> None:
  parser = argparse.ArgumentParser(description="Encoding beside sentence-transformers.")
  parser.add_argument("model", help="an exported folder")
  parser.add_argument("--texts", type=int, default=50_000)
  parser.add_argument("--piece", type=int, default=2000, help="texts of a turn")
  parser.add_argument("--seconds", type=float, default=1200, help="when no further turn begins")
  parser.add_argument("--role", choices=(OURS, *PEERS), help=argparse.SUPPRESS)
  parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
  flags = parser.parse_args()
  if flags.role:
    serve(flags.role, flags)
    return
  versions = (f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
  print(f"{measuring.processor()}, {', '.join(versions)}")
  with tempfile.TemporaryDirectory() as folder:
    workers = [Worker(system, flags, folder) for system in (OURS, *PEERS)]
    print("; ".join(dict.fromkeys(worker.remark for worker in workers)))
    ours, *others = (np.load(vectors_file(Path(folder), worker.system)) for worker in workers)
  largest = max(np.abs(ours - other).max() for other in others)
  print(f"largest difference of a coordinate: {largest:.1e}")
  done = take_turns(workers, flags)
  print(f"{done} of {flags.texts} texts, {flags.piece} a turn\n")
  print_table(workers, done)
  workers[0].encode(0, done)
  print(f"{OURS}, {done} texts in one call: peak {workers[0].peaks[-1] / 1e9:.2f} GB")
  for worker in workers:
    worker.close()


if __name__ == "__main__":
  main()
