"""Peak memory and time of importing a folder of XLM-R large's size (2.2 GB, random weights).

    python -m benchmarks.import_memory [--layers=24] [--width=1024] [--vocabulary=250002]

The import runs in a process of its own; its peak is the kernel's figure of the resident set, pages
of the mapped file included. Needs jax, transformers and torch, and 6 GB of disk. In seconds:
--layers=1 --width=64 --vocabulary=1000.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from pathlib import Path

from benchmarks import measuring

MAX_TOKENS = 32
HEAD_WIDTH, MLP_FACTOR = 64, 4


def write_folder(flags: argparse.Namespace) -> None:
  """Saves a random XLM-R model of the sizes, as transformers does."""
  import torch
  import transformers

  config = transformers.XLMRobertaConfig(
    vocab_size=flags.vocabulary,
    hidden_size=flags.width,
    num_hidden_layers=flags.layers,
    num_attention_heads=flags.width // HEAD_WIDTH,
    intermediate_size=flags.width * MLP_FACTOR,
    max_position_embeddings=514,
    type_vocab_size=1,
    layer_norm_eps=1e-5,
  )
  torch.manual_seed(0)
  transformers.XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(flags.folder)


def import_folder(flags: argparse.Namespace) -> None:
  """Imports it; prints the seconds that it took and the peak bytes before it began."""
  import jax

  import dap_jax.hub.from_hf
  import dap_jax.inference.embedder  # noqa: F401 - what importing modules takes is not measured

  jax.devices()
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  seconds = measuring.seconds_of(
    lambda: measuring.import_encoder(flags.folder, max_tokens=MAX_TOKENS)
  )
  print(json.dumps([seconds, before]))


def main() -> None:
  parser = argparse.ArgumentParser(description="Memory and time of importing a checkpoint.")
  parser.add_argument("--layers", type=int, default=24)
  parser.add_argument("--width", type=int, default=1024, help=f"a multiple of {HEAD_WIDTH}")
  parser.add_argument("--vocabulary", type=int, default=250_002)
  parser.add_argument("--role", choices=("write", "import"), help=argparse.SUPPRESS)
  parser.add_argument("--folder", help=argparse.SUPPRESS)
  flags = parser.parse_args()
  if flags.role:
    {"write": write_folder, "import": import_folder}[flags.role](flags)
    return
  sizes = [f"--{name}={getattr(flags, name)}" for name in ("layers", "width", "vocabulary")]
  with tempfile.TemporaryDirectory() as folder:
    command = ["-m", "benchmarks.import_memory", *sizes, f"--folder={folder}"]
    measuring.run_python(*command, "--role=write")
    size = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
    imported = measuring.run_python(*command, "--role=import")
  seconds, before = json.loads(imported.output.splitlines()[-1])
  print(f"{measuring.processor()}\n")
  measuring.print_header("weights", "seconds", "peak memory", "of the file", "before the import")
  measuring.print_row(
    f"{size / 1e9:.2f} GB",
    f"{seconds:.1f}",
    f"{imported.peak_bytes / 1e9:.2f} GB",
    f"{imported.peak_bytes / size:.2f} x",
    f"{before / 1e9:.2f} GB",
  )


if __name__ == "__main__":
  main()
