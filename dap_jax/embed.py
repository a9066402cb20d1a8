"""Turns lines of text into vectors, on all devices.

    python -m dap_jax.embed --model=runs/demo --input=sentences.txt --output=vectors.npy

`--input=-` reads standard input. An empty line is a text too, so row i is the vector of line i.
After a kill the same command continues where it stopped. On several hosts run the same command on
each, with the flags that train takes: all of them read the input and encode, process 0 writes.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from contextlib import nullcontext

from absl import flags

from dap_jax.cli import command, distributed_flags, model_flags, outputs
from dap_jax.utils.errors import UserError, cause

MODEL_FLAGS = model_flags.define()
PROMPT_FLAGS = model_flags.define_prompts()
MODEL = MODEL_FLAGS.model
INPUT = flags.DEFINE_string("input", None, "A UTF-8 text file, one text a line; - for stdin.")
OUTPUT = flags.DEFINE_string("output", None, "The .npy file to write: float32 [N, D].")

logger = logging.getLogger("dap_jax.embed")  # __name__ is __main__ here


def embed(model_path: str, path: str, output: str, *, writes: bool) -> None:
  """Writes the vectors of a file's lines; `writes` is true of the one process that writes."""
  from dap_jax.inference import embedder, vector_files

  if writes:
    outputs.check_file(output, path)
  source = vector_files.examine(path)
  model = embedder.load(model_path, **MODEL_FLAGS.load_options(), **PROMPT_FLAGS.options())
  vector_files.write_vectors(source, output, model)
  logger.info("%d texts -> %s, float32 [%d, %d]", source.lines, output, source.lines, model.width)


def main() -> None:
  model_path, input_path, output = MODEL.value, INPUT.value, OUTPUT.value
  if model_path is None or input_path is None or output is None:
    command.fail("--model, --input and --output are all needed; --help lists the flags", status=2)
  if not output.endswith(".npy"):
    raise UserError(f"--output={output}: expected a name that ends in .npy, as numpy's files do")
  writes = distributed_flags.take_part()
  if os.path.isfile(input_path) or "://" in input_path:
    embed(model_path, input_path, output, writes=writes)
    return
  import jax

  if jax.process_count() > 1:
    raise UserError(
      f"--input={input_path} is not a file: each of several processes reads the texts itself"
    )
  # Standard input and pipes can be read only once, and we read twice: the texts go into a file. Its
  # name appears in error messages.
  with tempfile.TemporaryDirectory() as folder:
    copied = os.path.join(folder, "standard_input" if input_path == "-" else "pipe")
    try:
      with (
        open(copied, "wb") as file,
        nullcontext(sys.stdin.buffer) if input_path == "-" else open(input_path, "rb") as stream,
      ):
        shutil.copyfileobj(stream, file)
    except OSError as error:
      raise UserError(f"cannot read --input={input_path}: {cause(error)}") from error
    embed(model_path, copied, output, writes=writes)


if __name__ == "__main__":
  command.run(main)
