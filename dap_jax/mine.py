"""Mines translations from two texts: compares every sentence of one with every one of the other.

    python -m dap_jax.mine --model=runs/demo --source=de.txt --target=en.txt --output=pairs.tsv
    python -m dap_jax.mine --source_vectors=de.npy --target_vectors=en.npy --output=pairs.tsv

Texts are UTF-8, plain or .gz, a sentence a line. In place of a model there may be vectors, .npy of
float32 or float16, row i for line i; without texts the columns source and target are left out.
Tabs separate the columns of the output, best pair first: score, cosine, source, target, numbers
(`same` or `differ`: the digits in both sentences), and the line numbers of both, from 1. A tab in a
text becomes a blank. `cut -f1,3,4` gives LASER's columns.
Unfinished work is in OUTPUT.work: after a kill the same command continues, and with another margin,
threshold or index it reuses the vectors. OUTPUT itself appears, or is replaced, at the end.
On several hosts run the same command on each, with the flags that train takes; all of them must see
the same inputs and the same OUTPUT. They share the encoding and the exact search; FAISS runs on
process 0 alone, which also writes. A killed search continues on the same number of processes.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from dap_jax.cli import command, distributed_flags, model_flags, outputs
from dap_jax.evals import scores
from dap_jax.utils.errors import UserError

if TYPE_CHECKING:
  from dap_jax.inference.embedder import Embedder
  from dap_jax.mining import pairing
  from dap_jax.mining.exact_search import Neighbours
  from dap_jax.mining.inputs import Input
  from dap_jax.mining.work_folder import Sentences

SOURCE = flags.DEFINE_string("source", None, "A UTF-8 text file, plain or .gz, a sentence a line.")
TARGET = flags.DEFINE_string("target", None, "Another text file, in the other language.")
OUTPUT = flags.DEFINE_string("output", None, "The .tsv file to write.")
MODEL_FLAGS = model_flags.define()
MODEL = MODEL_FLAGS.model
SOURCE_VECTORS = flags.DEFINE_string(
  "source_vectors", None, "A .npy file of vectors of --source, in place of a model."
)
TARGET_VECTORS = flags.DEFINE_string(
  "target_vectors", None, "A .npy file of vectors of --target, in place of a model."
)
MARGIN = flags.DEFINE_enum(
  "margin",
  "ratio",
  ["absolute", "distance", "ratio"],
  "How a score compares a cosine with those of the neighbours.",
)
NEIGHBOURS = flags.DEFINE_integer(
  "neighbours", 4, "Neighbours of a sentence, k of the margin.", lower_bound=1
)
RETRIEVAL = flags.DEFINE_enum(
  "retrieval",
  "max",
  ["forward", "backward", "intersection", "max"],
  "Pairs that the source proposes, the target, or both; or one to one, the best first.",
)
THRESHOLD = flags.DEFINE_float("threshold", None, "The lowest score to keep.")
MIN_COSINE = flags.DEFINE_float("min_cosine", None, "The lowest cosine to keep.")
INDEX = flags.DEFINE_string(
  "index", "flat", "flat: exact; faiss:FACTORY[:PARAMETERS], e.g. faiss:IVF1024,Flat:nprobe=16."
)
SAVE_SECONDS = flags.DEFINE_float(
  "save_seconds", 60.0, "Seconds between saves of the exact search's state.", lower_bound=0.0
)

logger = logging.getLogger("dap_jax.mine")  # __name__ is __main__ here


def check_flags() -> None:
  """Ends with status 2 where flags are missing or contradict each other."""
  texts, vectors = {"source", "target"}, {"source_vectors", "target_vectors"}
  inputs = {name for name in {"model"} | texts | vectors if flags.FLAGS[name].value}
  if not OUTPUT.value or inputs not in ({"model"} | texts, vectors, vectors | texts):
    command.fail(
      "needed are --output, and --model, --source and --target, or --source_vectors and"
      " --target_vectors, with --source and --target or without",
      status=2,
    )
  for name in ("step", "max_tokens", "compute_dtype"):
    if flags.FLAGS[name].present and MODEL.value is None:
      command.fail(f"--{name} has no effect without --model", status=2)
  for flag in (THRESHOLD, MIN_COSINE):
    if flag.value is not None and not math.isfinite(flag.value):
      command.fail(f"--{flag.name}={flag.value}: expected a number", status=2)
  if INDEX.value != "flat" and not INDEX.value.startswith("faiss:"):
    command.fail(f"--index={INDEX.value}: expected flat or faiss:FACTORY", status=2)


def main() -> None:
  check_flags()
  writes = distributed_flags.take_part()
  from dap_jax.distributed import multihost
  from dap_jax.mining import pairs_file, work_folder
  from dap_jax.utils import locks
  from dap_jax.utils.atomic import replacing

  assert OUTPUT.value
  output = Path(OUTPUT.value)
  folder = output.with_name(f"{output.name}.work")
  for name in ("source", "target", "source_vectors", "target_vectors"):
    if path := flags.FLAGS[name].value:
      outputs.check_file(OUTPUT.value, source=path)
  sides = read_inputs()
  model = load_model() if MODEL.value else None
  check_index(sides[0], model)
  settings = describe(sides, model)
  contents = {key: json.dumps(value).encode() for key, value in settings.items()}
  multihost.check_same(contents, cure="give all the same files")
  if writes:
    work_folder.claim(folder, settings, output=output)
  try:
    with locks.locked(folder / work_folder.SETTINGS, folder) if writes else nullcontext():
      multihost.wait(f"{folder} is claimed")
      source, target = (prepare(side, folder, model=model) for side in sides)
      del model  # its memory is for the search
      neighbours = search_all(source, target, folder)
      if not writes:
        return
      assert neighbours is not None
      mined = pair(*neighbours, source, target)
      with replacing(output) as temporary:
        pairs_file.write_pairs(mined, source, target, temporary)
      work_folder.remove(folder)
  except locks.LockedError:
    raise
  except UserError:
    if writes:
      work_folder.release(folder)
    raise
  except OSError as error:
    raise UserError(
      f"{folder} or {output} cannot be written: {error}; the same command continues"
    ) from error
  logger.info("%d pairs -> %s", len(mined.pairs), output)


def read_inputs() -> tuple[Input, Input]:
  """The source and the target. Raises UserError where a file is damaged or they do not fit."""
  from dap_jax.mining import inputs

  source = inputs.read_input("source", SOURCE.value or "", SOURCE_VECTORS.value or "")
  target = inputs.read_input("target", TARGET.value or "", TARGET_VECTORS.value or "")
  inputs.check_widths(source, target)
  return source, target


def load_model() -> Embedder:
  """The model that the flags name."""
  from dap_jax.inference import embedder

  model = embedder.load(MODEL.value, **MODEL_FLAGS.load_options())
  logger.info("vectors: %s", scores.protocol_line({"model": MODEL.value, **model.describe()}))
  return model


def check_index(source: Input, model: Embedder | None) -> None:
  """Raises UserError for a mistake in --index, which would show only after hours of encoding."""
  from dap_jax.mining import faiss_search

  if INDEX.value != "flat":
    if source.vectors is not None:
      width = source.vectors.shape[1]
    else:
      assert model  # see check_flags
      width = model.width
    faiss_search.make_index(INDEX.value.removeprefix("faiss:"), width=width)


def describe(sides: Sequence[Input], model: Embedder | None) -> dict[str, Any]:
  """Everything the vectors depend on. The state of a search is in a file for each k."""
  from dap_jax.mining.inputs import file_digest

  settings = {"model": model.digest() if model else None}
  for side in sides:
    path = side.vectors_path
    settings[side.name] = side.scan.digest if side.scan else None
    settings[f"{side.name}_vectors"] = file_digest(path) if path else None
  return settings


def prepare(side: Input, folder: Path, *, model: Embedder | None) -> Sentences:
  """Copies the texts that take part into the work folder; makes vectors where there are none."""
  import numpy as np

  from dap_jax.distributed import multihost
  from dap_jax.inference import vector_files
  from dap_jax.mining import exact_search, inputs, work_folder

  # The other processes look for a file only after process 0 has written it: some network file
  # systems remember for a while that a file was not there.
  texts = None
  if side.scan:
    path = folder / f"{side.name}.txt"
    if multihost.is_first():
      work_folder.copy_texts(side.scan, path)
    multihost.wait(f"{path} is there")
    texts = work_folder.Texts(path)
  if side.vectors is not None:
    lines = side.scan.used if side.scan else np.arange(len(side.vectors))
    vectors, rows = side.vectors, lines
  else:
    assert side.scan and texts and model  # see check_flags
    path = folder / f"{side.name}.npy"
    if not multihost.from_first(path.exists):
      source = vector_files.examine(str(texts.path))
      vector_files.write_vectors(source, str(path), model)
    lines = side.scan.used
    vectors, rows = np.load(path, mmap_mode="r"), np.arange(len(lines))
  good = inputs.usable(vectors, rows, lines, name=f"--{side.name}")
  return work_folder.Sentences(
    side.name, exact_search.Side(vectors, rows[good]), lines[good], texts, np.flatnonzero(good)
  )


def floor(value: float | None) -> float:
  """The value of a flag that sets a lower limit; -inf where it is not set."""
  return -math.inf if value is None else value


def search_all(
  source: Sentences, target: Sentences, folder: Path
) -> tuple[Neighbours, Neighbours] | None:
  """The neighbours of both sides; None on processes that do not take part in FAISS's search."""
  from dap_jax.distributed import multihost
  from dap_jax.mining import exact_search, faiss_search
  from dap_jax.mining.search_checkpoint import SearchCheckpoint

  kind, _, factory = INDEX.value.partition(":")
  logger.info(
    "mine: %d x %d sentences; %s margin, %d neighbours on each side, candidates %s; %s",
    len(source.lines),
    len(target.lines),
    MARGIN.value,
    NEIGHBOURS.value,
    RETRIEVAL.value,
    f"APPROXIMATE search by FAISS, {factory}" if kind == "faiss" else "exact search",
  )
  x, y, k = source.side, target.side, NEIGHBOURS.value
  if kind != "faiss":
    checkpoint = SearchCheckpoint(folder / f"search-{k}.npz", seconds=SAVE_SECONDS.value)
    return exact_search.nearest(x, y, neighbours=k, checkpoint=checkpoint, what="searching")
  if not multihost.is_first():
    return None
  return faiss_search.nearest(x, y, factory=factory, neighbours=k, what="searching")


def pair(
  of_source: Neighbours, of_target: Neighbours, source: Sentences, target: Sentences
) -> pairing.Mined:
  """Turns neighbours into pairs, and warns of hubs."""
  from dap_jax.mining import pairing, pairs_file

  forward, backward = (
    pairing.at_least(proposals, score=floor(THRESHOLD.value), cosine=floor(MIN_COSINE.value))
    for proposals in pairing.propose(of_source, of_target, margin=MARGIN.value)
  )
  pairs_file.warn_of_hubs(forward, target)
  pairs_file.warn_of_hubs(backward, source)
  return pairing.combine(forward, backward, retrieval=RETRIEVAL.value)


if __name__ == "__main__":
  command.run(main)
