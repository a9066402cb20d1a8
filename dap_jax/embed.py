"""Turns lines of text into vectors.

    python -m dap_jax.embed --model=runs/demo --input=sentences.txt --output=vectors.npy

`--input=-` reads standard input. An empty line is a text too, so row i is line i.
"""

from __future__ import annotations

import logging
import sys

from absl import flags

from dap_jax import command
from dap_jax.errors import UserError

MODEL = flags.DEFINE_string("model", None, "A workdir, a checkpoint's folder, or a hub id.")
INPUT = flags.DEFINE_string("input", None, "A UTF-8 text file, one text a line; - for stdin.")
OUTPUT = flags.DEFINE_string("output", None, "The .npy file to write: float32 [N, D].")
MAX_TOKENS = flags.DEFINE_integer(
  "max_tokens", None, "Where texts are cut; the model's own limit by default.", lower_bound=2
)

logger = logging.getLogger("dap_jax.embed")  # __name__ is __main__ here


def read_lines(source: str) -> list[str]:
  """The lines of a file or of standard input; only a newline character ends one."""
  try:
    if source == "-":
      data = sys.stdin.buffer.read()
    else:
      with open(source, "rb") as file:
        data = file.read()
    text = data.decode("utf-8-sig")
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f"cannot read --input={source} as UTF-8 text: {error}") from error
  lines = text.split("\n")
  if lines[-1] == "":
    lines.pop()
  return [line.removesuffix("\r") for line in lines]


def main() -> None:
  if None in (MODEL.value, INPUT.value, OUTPUT.value):
    command.fail("--model, --input and --output are all needed; --help lists them", status=2)
  texts = read_lines(INPUT.value)
  import numpy as np

  from dap_jax import embedder

  vectors = embedder.load(MODEL.value, max_tokens=MAX_TOKENS.value).encode(texts)
  try:
    with open(OUTPUT.value, "wb") as file:
      np.save(file, vectors)
  except OSError as error:
    raise UserError(f"--output={OUTPUT.value} cannot be written: {error}") from error
  logger.info("%d texts -> %s, float32 %s", len(texts), OUTPUT.value, list(vectors.shape))


if __name__ == "__main__":
  command.run(main)
