"""What the benchmarks share: the machine's name, clocks, processes, tables, imported encoders."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
# As `plan` assumes them of the DAP paper's data, see its flags.
ENGLISH_IDS, LANGUAGES = 37_000, 37


def machine(*packages: str) -> str:
  """The date, the accelerator or processor, and the versions of packages, for a table's caption."""
  import jax

  device = jax.devices()[0]
  name = processor() if device.platform == "cpu" else device.device_kind
  versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
  return ", ".join([str(date.today()), name, *versions])


def processor() -> str:
  """How many cores of which processor, without a look at accelerators."""
  info = Path("/proc/cpuinfo")
  lines = info.read_text().split("\n") if info.exists() else []
  names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
  return f"{len(names)} x {names[0]}" if names else f"{os.cpu_count()} x {platform.machine()}"


def print_header(*titles: str) -> None:
  """The first two lines of a Markdown table."""
  print_row(*titles)
  print("|" + "---|" * len(titles), flush=True)


def print_row(*cells: object) -> None:
  """A line of a Markdown table, at once: the next one may take minutes."""
  print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def numbers(text: str) -> list[int]:
  """Numbers with commas between, of a flag."""
  return [int(part) for part in text.split(",")]


def seconds_of(function: Callable[[], Any]) -> float:
  """How long one call takes."""
  started = time.perf_counter()
  function()
  return time.perf_counter() - started


class Finished(NamedTuple):
  """A process that has ended.

  Attributes:
    output: what it printed.
    seconds: from its start to its end.
    cpu_seconds: of all cores.
    peak_bytes: of its resident set, pages of mapped files included.
  """

  output: str
  seconds: float
  cpu_seconds: float
  peak_bytes: int


def run_python(*arguments: str) -> Finished:
  """Runs `python ARGUMENTS` in the repository's root. Ends this program where that one fails.

  A process inherits the peak of the one that starts it, so call it from a small one.
  """
  started = time.perf_counter()
  process = subprocess.Popen(
    [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
  )
  assert process.stdout is not None
  output = process.stdout.read()
  _, status, usage = os.wait4(process.pid, 0)
  if status:
    sys.exit(f"python {' '.join(arguments)} failed")
  seconds = time.perf_counter() - started
  return Finished(output, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def plan_sizes(config: dict[str, Any]) -> dict[str, Any]:
  """The vocabulary and the languages of a step that is planned for the DAP paper's data."""
  from dap_jax.planning import step

  vocabulary = step.guess_vocabulary(config, english_ids=ENGLISH_IDS)
  return {"vocabulary": vocabulary, "languages": LANGUAGES}


def import_encoder(folder: str, *, max_tokens: int) -> tuple[Any, dict[str, Any]]:
  """The network and the parameters of an encoder in a folder that transformers saved."""
  from dap_jax.distributed import parameters, sharding
  from dap_jax.hub import from_hf
  from dap_jax.inference import embedder, encoder_network
  from dap_jax.model.from_config import ENCODER_ALONE, make_model
  from dap_jax.model.vocabulary import Vocabulary

  checkpoint = from_hf.read_folder(folder)
  rows = checkpoint.model_config["encoder"]["vocabulary_size"]
  network = make_model(
    vocabulary=Vocabulary(rows, 0, 2, 3, 4, None),
    max_tokens=max_tokens,
    **ENCODER_ALONE,
    **{**embedder.MODEL_DEFAULTS, **checkpoint.model_config},
  )
  abstract = encoder_network.abstract_params(network, sharding.make_mesh(data=-1, model=1))
  return network, parameters.place(from_hf.encoder_leaves(checkpoint), abstract)
