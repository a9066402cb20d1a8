"""Word alignments of a bitext of any size, block by block; a killed run continues.

A line of the output has the links of a pair of lines, `i-j i-j ...` (Pharaoh's notation), or
`i-j:cosine`; where one of the two is blank it is empty.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from dap_jax.data.texts import text_files
from dap_jax.distributed import multihost
from dap_jax.evals import Pieces
from dap_jax.evals.word_alignment import split_at_spaces
from dap_jax.evals.word_links import Link, Settings, align
from dap_jax.inference import partial_files
from dap_jax.inference.embedder import Embedder
from dap_jax.inference.vector_files import TextFile
from dap_jax.utils.errors import UserError
from dap_jax.utils.locks import locked
from dap_jax.utils.progress import Progress

BLOCK_LINES = 512  # whose states are in memory at a time


class Form(NamedTuple):
  """How a link is written: the number of the first word, and whether its cosine stands there."""

  first_index: int
  scores: bool

  def write(self, links: Mapping[Link, float]) -> str:
    """A line, without its end."""
    first = self.first_index
    return " ".join(
      f"{i + first}-{j + first}" + (f":{cosine:.4f}" if self.scores else "")
      for (i, j), cosine in links.items()
    )


def write_links(
  sides: tuple[TextFile, TextFile],
  output: str,
  model: Embedder,
  *,
  layer: int,
  how: Settings,
  form: Form,
) -> None:
  """Aligns the words of two files, line by line.

  All processes call it and encode together; process 0 writes, and all return once the file is
  complete.

  Args:
    sides: source and target, of equally many lines; words are what is between spaces.
    output: the file. An existing one is replaced at the end.
    model: encodes.
    layer: whose states are compared, 0 the embeddings.
    how: see `word_links.Settings`.
    form: see there.

  Raises:
    UserError: the files have different numbers of lines, OUTPUT.partial belongs to another command,
      the file cannot be written, or a text has changed since it was examined.
  """
  source, target = sides
  check_lines(source, target)
  partial = partial_files.partial_of(output)
  texts = {"source": source.digest, "target": target.digest}
  identity = {"model": model.digest(), **texts, "layer": layer, **how, **form._asdict()}
  writes = multihost.is_first()
  try:
    done = multihost.from_first(lambda: begin(partial, identity))
    with (
      locked(partial, partial, mode="r+b") if writes else nullcontext() as file,
      Progress(f"aligning {source.path}", total=source.lines, done=done, unit="line") as progress,
    ):
      if file:
        file.seek(0, os.SEEK_END)
      for block in blocks(sides, first=done):
        lines = [form.write(links) for links in links_of(block, model, layer=layer, how=how)]
        if file:
          partial_files.append(file, "".join(f"{line}\n" for line in lines).encode())
        done += len(block)
        progress.advance(len(block))
    if done != source.lines:
      raise UserError(
        f"{source.path} had {source.lines} lines at first, now {done}: align it again"
      )
    if writes:
      partial_files.finish(partial, output)
  except OSError as error:
    raise UserError(f"{output} cannot be written: {error}; the same command continues") from error
  multihost.wait(f"{output} is written")


def check_lines(source: TextFile, target: TextFile) -> None:
  """Raises UserError where two files cannot be a bitext."""
  if source.lines != target.lines:
    raise UserError(
      f"{source.path} has {source.lines} lines, {target.path} {target.lines}: line i of one must"
      " be the translation of line i of the other"
    )


def blocks(sides: Sequence[TextFile], *, first: int) -> Iterator[list[tuple[list[str], ...]]]:
  """The words of both lines of a pair, `BLOCK_LINES` pairs at a time, from line `first` on."""
  pairs = zip(*(text_files.lines(side.path) for side in sides), strict=False)
  rest = itertools.islice(pairs, first, None)
  while block := list(itertools.islice(rest, BLOCK_LINES)):
    yield [tuple(split_at_spaces(line) for line in pair) for pair in block]


def links_of(
  block: Sequence[tuple[Sequence[str], ...]], model: Embedder, *, layer: int, how: Settings
) -> Iterator[dict[Link, float]]:
  """The links of each pair of lines; none where one of the two is blank."""
  whole = [pair for pair in block if all(pair)]
  states = zip(*(model.word_states(side) for side in zip(*whole, strict=True)), strict=True)
  for pair in block:
    sentences = next(states) if all(pair) else None
    yield align(*of_layer(sentences, layer), **how) if sentences else {}


def of_layer(sentences: Sequence[Pieces], layer: int) -> list[Pieces]:
  """The states of one layer alone."""
  return [pieces._replace(states=pieces.states[layer]) for pieces in sentences]


def begin(partial: Path, identity: dict[str, Any]) -> int:
  """Creates the partial file, or cuts it behind its last whole block.

  Returns:
    How many lines are done.
  """
  if not partial_files.continues(partial, identity):
    return 0
  done = kept = 0
  with partial.open("r+b") as file:
    for number, line in enumerate(iter(file.readline, b""), 1):
      if line.endswith(b"\n") and number % BLOCK_LINES == 0:
        done, kept = number, file.tell()
    file.truncate(kept)
  return done
