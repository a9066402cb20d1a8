"""Turns lines of text into vectors, on all devices.

    python -m dap_jax.embed --model=runs/demo --input=sentences.txt --output=vectors.npy

`--input=-` reads standard input. An empty line is a text too, so row i is line i. The same command
again, after it was killed, goes on where it was. Several hosts: run it on each, with the flags that
train takes; all of them read the input, process 0 writes.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from contextlib import nullcontext

from absl import flags

from dap_jax.cli import command, distributed_flags
from dap_jax.utils.errors import UserError

MODEL = flags.DEFINE_string("model", None, "A workdir, a checkpoint's folder, or a hub id.")
INPUT = flags.DEFINE_string("input", None, "A UTF-8 text file, one text a line; - for stdin.")
OUTPUT = flags.DEFINE_string("output", None, "The .npy file to write: float32 [N, D].")
STEP = flags.DEFINE_string("step", "newest", "Which checkpoint: newest, best, or a number.")
MAX_TOKENS = flags.DEFINE_integer(
  "max_tokens", None, "Where texts are cut; the model's own limit by default.", lower_bound=2
)
COMPUTE_DTYPE = flags.DEFINE_enum(
  "compute_dtype", None, ["float32", "bfloat16"], "Of the network; the model's own by default."
)

logger = logging.getLogger("dap_jax.embed")  # __name__ is __main__ here


def embed(path: str, output: str, *, writes: bool) -> None:
  """The lines of a file -> a .npy file, which the one process that `writes` writes."""
  from dap_jax.inference import embedder, vector_files

  if writes:
    vector_files.check_output(output, source=path)
  source = vector_files.examine(path)
  model = embedder.load(
    MODEL.value,
    step=STEP.value,
    max_tokens=MAX_TOKENS.value,
    compute_dtype=COMPUTE_DTYPE.value or "",
  )
  vector_files.write(source, output, model)
  logger.info("%d texts -> %s, float32 [%d, %d]", source.lines, output, source.lines, model.width)


def main() -> None:
  if None in (MODEL.value, INPUT.value, OUTPUT.value):
    command.fail("--model, --input and --output are all needed; --help lists them", status=2)
  writes = distributed_flags.take_part()
  if os.path.isfile(INPUT.value) or "://" in INPUT.value:
    embed(INPUT.value, OUTPUT.value, writes=writes)
    return
  import jax

  if jax.process_count() > 1:
    raise UserError(f"--input={INPUT.value} is no file: of several processes each reads the texts")
  # Standard input or a pipe: it is read twice, so it becomes a file. Its name is in the messages.
  with tempfile.TemporaryDirectory() as folder:
    spooled = os.path.join(folder, "standard_input" if INPUT.value == "-" else "pipe")
    try:
      with (
        open(spooled, "wb") as file,
        nullcontext(sys.stdin.buffer) if INPUT.value == "-" else open(INPUT.value, "rb") as given,
      ):
        shutil.copyfileobj(given, file)
    except OSError as error:
      raise UserError(f"cannot read --input={INPUT.value}: {error}") from error
    embed(spooled, OUTPUT.value, writes=writes)


if __name__ == "__main__":
  command.run(main)
