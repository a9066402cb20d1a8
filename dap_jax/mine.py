"""Mines translations out of two texts: every sentence of one against every sentence of the other.

    python -m dap_jax.mine --model=runs/demo --source=de.txt --target=en.txt --output=pairs.tsv
    python -m dap_jax.mine --source_vectors=de.npy --target_vectors=en.npy --output=pairs.tsv

The texts: UTF-8, plain or .gz, a sentence a line. Vectors in place of a model: float32 or float16
.npy, row i that of line i; without texts the columns source and target are left out.
The output, best first, tabs between the columns: score, cosine, source, target, numbers (`same` or
`differ`: the digits of both sentences), and both lines' numbers, from 1. A tab in a text becomes a
blank. `cut -f1,3,4` gives LASER's columns.
While it runs OUTPUT.work holds what is done: the same command again, after it was killed, goes on;
another margin, threshold or index finds the vectors made. OUTPUT itself appears, or is replaced, at
the end.
Several hosts: run it on each, with the flags that train takes. Inputs and OUTPUT lie where all of
them see the same. They share the encoding and the exact search; FAISS runs on process 0 alone,
which also writes. A search that was killed goes on where as many processes start again.
"""

from __future__ import annotations

import json
import logging
import math
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from dap_jax.cli import command, distributed_flags, model_flags
from dap_jax.evals import scores
from dap_jax.utils.errors import UserError

if TYPE_CHECKING:
  import numpy as np

  from dap_jax.inference.embedder import Embedder
  from dap_jax.mining import pairing
  from dap_jax.mining.exact_search import Neighbours
  from dap_jax.mining.files import Half, Scan

SOURCE = flags.DEFINE_string("source", None, "A UTF-8 text file, .gz too, one sentence a line.")
TARGET = flags.DEFINE_string("target", None, "Another one, in the other language.")
OUTPUT = flags.DEFINE_string("output", None, "The .tsv file to write.")
MODEL_FLAGS = model_flags.define()
MODEL = MODEL_FLAGS.model
SOURCE_VECTORS = flags.DEFINE_string("source_vectors", None, "A .npy file, in place of a model.")
TARGET_VECTORS = flags.DEFINE_string("target_vectors", None, "A .npy file, in place of a model.")
MARGIN = flags.DEFINE_enum(
  "margin", "ratio", ["absolute", "distance", "ratio"], "The score, of a cosine and those around."
)
NEIGHBOURS = flags.DEFINE_integer("neighbours", 4, "k of the margin, on each side.", lower_bound=1)
RETRIEVAL = flags.DEFINE_enum(
  "retrieval",
  "max",
  ["forward", "backward", "intersection", "max"],
  "Pairs that the source proposes, the target, both; or either's, one to one, best first.",
)
THRESHOLD = flags.DEFINE_float("threshold", None, "The lowest score to keep.")
MIN_COSINE = flags.DEFINE_float("min_cosine", None, "The lowest cosine to keep.")
INDEX = flags.DEFINE_string(
  "index", "flat", "flat: exact; faiss:FACTORY[:PARAMETERS], e.g. faiss:IVF1024,Flat:nprobe=16."
)
SAVE_SECONDS = flags.DEFINE_float(
  "save_seconds", 60.0, "How often the state of the exact search is saved.", lower_bound=0.0
)

logger = logging.getLogger("dap_jax.mine")  # __name__ is __main__ here


def check_flags() -> None:
  """Ends with status 2 where flags are missing or contradict each other."""
  texts, vectors = {"source", "target"}, {"source_vectors", "target_vectors"}
  given = {name for name in {"model"} | texts | vectors if flags.FLAGS[name].value}
  if not OUTPUT.value or given not in ({"model"} | texts, vectors, vectors | texts):
    command.fail(
      "needed are --output, and --model, --source and --target, or --source_vectors and"
      " --target_vectors, with --source and --target or without",
      status=2,
    )
  idle = [name for name in ("step", "max_tokens", "compute_dtype") if flags.FLAGS[name].present]
  if idle and MODEL.value is None:
    command.fail(f"--{idle[0]} is of --model, which is not given", status=2)
  for flag in (THRESHOLD, MIN_COSINE):
    if flag.value is not None and not math.isfinite(flag.value):
      command.fail(f"--{flag.name}={flag.value}: expected a number", status=2)
  if INDEX.value != "flat" and not INDEX.value.startswith("faiss:"):
    command.fail(f"--index={INDEX.value}: expected flat or faiss:FACTORY", status=2)


def main() -> None:
  check_flags()
  writes = distributed_flags.take_part()
  from dap_jax.distributed import multihost
  from dap_jax.inference import vector_files
  from dap_jax.mining import faiss_search, files, pairs_file

  output = Path(OUTPUT.value)
  folder = output.with_name(f"{output.name}.work")
  for name in ("source", "target", "source_vectors", "target_vectors"):
    if path := flags.FLAGS[name].value:
      vector_files.check_output(OUTPUT.value, source=path)
  scans, given = read_inputs()
  model = load_model() if MODEL.value else None
  if model:
    logger.info("vectors: %s", scores.protocol_line({"model": MODEL.value, **model.describe()}))
  if INDEX.value != "flat":  # a mistake in it must not come to light after hours of encoding
    width = model.width if model else given["source"].shape[1]
    faiss_search.make_index(INDEX.value.removeprefix("faiss:"), width=width)
  settings = describe(scans, model)
  contents = {key: json.dumps(value).encode() for key, value in settings.items()}
  multihost.same(contents, cure="give all the same files")
  if writes:
    files.claim(folder, settings, output=output)
  try:
    with vector_files.locked(folder / files.SETTINGS, folder) if writes else nullcontext():
      multihost.wait(f"{folder} is claimed")
      source, target = (
        prepare(name, folder, scanned=scans[name], vectors=given[name], model=model)
        for name in ("source", "target")
      )
      del model  # its memory is for the search
      found = search_all(source, target, folder)
      if not writes:
        return
      mined = pair(*found, source, target)
      pairs_file.write_pairs(mined, source, target, folder / "pairs.tsv")
      (folder / "pairs.tsv").replace(output)
      files.remove(folder)
  except vector_files.LockedError:
    raise
  except UserError:
    if writes:
      files.release(folder)
    raise
  except OSError as error:
    raise UserError(f"{folder} cannot be written: {error}; the same command goes on") from error
  logger.info("%d pairs -> %s", len(mined.pairs), output)


def read_inputs() -> tuple[dict[str, Scan | None], dict[str, np.ndarray | None]]:
  """The texts, read once, and the given vectors, opened; what does not fit is a UserError."""
  from dap_jax.mining import files

  flags_of = {"source": (SOURCE, SOURCE_VECTORS), "target": (TARGET, TARGET_VECTORS)}
  scans, given = {}, {}
  for name, (text, vectors) in flags_of.items():
    given[name] = files.open_vectors(vectors.value, flag=vectors.name) if vectors.value else None
    scans[name] = files.scan(text.value) if text.value else None
    if text.value and vectors.value and scans[name].lines != len(given[name]):
      raise UserError(
        f"--{vectors.name}={vectors.value} has {len(given[name])} rows, --{name}={text.value}"
        f" {scans[name].lines} lines: expected a row a line"
      )
  if SOURCE_VECTORS.value:
    widths = [given[name].shape[1] for name in flags_of]
    if widths[0] != widths[1]:
      raise UserError(
        f"--source_vectors={SOURCE_VECTORS.value} are {widths[0]} wide,"
        f" --target_vectors={TARGET_VECTORS.value} {widths[1]}: expected vectors of one model"
      )
  return scans, given


def load_model() -> Embedder:
  """The model of the flags."""
  from dap_jax.inference import embedder

  return embedder.load(MODEL.value, **MODEL_FLAGS.load_options())


def describe(scans: dict[str, Scan | None], model: Embedder | None) -> dict[str, Any]:
  """What the vectors depend on; the search has its own file for every number of neighbours."""
  from dap_jax.mining import files

  found = {"model": model.digest() if model else None}
  for name, scanned in scans.items():
    path = getattr(flags.FLAGS, f"{name}_vectors")
    found[name] = scanned.digest if scanned else None
    found[f"{name}_vectors"] = files.file_digest(path) if path else None
  return found


def prepare(
  name: str,
  folder: Path,
  *,
  scanned: Scan | None,
  vectors: np.ndarray | None,
  model: Embedder | None,
) -> Half:
  """The texts that take part, copied, and their vectors, made if they were not given."""
  import numpy as np

  from dap_jax.distributed import multihost
  from dap_jax.inference import vector_files
  from dap_jax.mining import exact_search, files

  # What process 0 writes the others do not look for before it is there: some network file systems
  # remember for a while that a file was not.
  texts = None
  if scanned:
    path = folder / f"{name}.txt"
    if multihost.is_first():
      files.copy_texts(scanned, path)
    multihost.wait(f"{path} is there")
    texts = files.Texts(path)
  lines = scanned.used if scanned else np.arange(len(vectors))
  rows = lines  # of the vectors
  if vectors is None:
    path = folder / f"{name}.npy"
    if not multihost.of_first(path.exists):
      source = vector_files.examine(str(texts.path))
      vector_files.write_vectors(source, str(path), model)
    vectors, rows = np.load(path, mmap_mode="r"), np.arange(len(lines))
  good = files.usable(vectors, rows, lines, name=f"--{name}")
  return files.Half(
    name, exact_search.Side(vectors, rows[good]), lines[good], texts, np.flatnonzero(good)
  )


def floor(value: float | None) -> float:
  """A flag's value; without one everything lies above."""
  return -math.inf if value is None else value


def search_all(source: Half, target: Half, folder: Path) -> tuple[Neighbours, Neighbours] | None:
  """The neighbours of both sides; None on the processes that take no part in FAISS's search."""
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
  sides = {"x": source.side, "y": target.side, "neighbours": NEIGHBOURS.value, "what": "searching"}
  if kind == "faiss":
    return faiss_search.nearest(**sides, factory=factory) if multihost.is_first() else None
  path = folder / f"search-{NEIGHBOURS.value}.npz"
  checkpoint = SearchCheckpoint(path, seconds=SAVE_SECONDS.value)
  return exact_search.nearest(**sides, checkpoint=checkpoint)


def pair(of_source: Neighbours, of_target: Neighbours, source: Half, target: Half) -> pairing.Mined:
  """Scores, warns of hubs, and pairs."""
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
