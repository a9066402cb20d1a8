"""Peak memory and time of importing a folder of XLM-R large's size (2.2 GB, random weights).

    python benchmarks/import_memory.py

The import runs in a process of its own; its peak is the kernel's figure of the resident set, pages
of the mapped file included. Needs jax, transformers and torch, and 6 GB of disk.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

LENGTH = 32


def write(folder: str) -> None:
  """A random model of XLM-R large's sizes, as transformers saves it."""
  import torch
  import transformers

  config = transformers.XLMRobertaConfig(
    vocab_size=250_002,
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    intermediate_size=4096,
    max_position_embeddings=514,
    type_vocab_size=1,
    layer_norm_eps=1e-5,
  )
  torch.manual_seed(0)
  transformers.XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)


def read(folder: str) -> None:
  """Imports it, and prints seconds and peak bytes."""
  from dap_jax.distributed import sharding
  from dap_jax.hub import from_hf
  from dap_jax.inference import embedder
  from dap_jax.model.from_config import ENCODER_ALONE, make_model
  from dap_jax.model.vocabulary import Vocabulary

  before = peak()
  clock = time.perf_counter()
  found = from_hf.read_folder(folder)
  network = make_model(
    vocabulary=Vocabulary(250_002, 1, 0, 2, 250_001, None),
    max_tokens=LENGTH,
    **ENCODER_ALONE,
    **{**embedder.PLAIN, **found.model},
  )
  abstract = embedder.abstract_params(network, sharding.make_mesh(data=-1, model=1))
  params = sharding.place(from_hf.encoder_leaves(found), abstract)
  assert params
  print(time.perf_counter() - clock, before, peak())


def peak() -> int:
  """Bytes."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
  if len(sys.argv) > 1:
    {"write": write, "read": read}[sys.argv[1]](sys.argv[2])
    return
  with tempfile.TemporaryDirectory() as folder:
    subprocess.run([sys.executable, __file__, "write", folder], check=True)
    size = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
    ran = subprocess.run(
      [sys.executable, __file__, "read", folder], check=True, capture_output=True, text=True
    )
  seconds, before, after = map(float, ran.stdout.split())
  print(f"{date.today()}: {size / 1e9:.2f} GB of weights imported in {seconds:.1f} s;")
  print(f"peak memory {after / 1e9:.2f} GB = {after / size:.2f} x the file")
  print(f"({before / 1e9:.2f} GB of it Python and jax, before the import began)")


if __name__ == "__main__":
  main()
