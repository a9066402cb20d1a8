"""Compares the sentences of two texts: finds translations, scores pairs, searches, finds negatives.

    python -m dap_jax.mine --model=runs/demo --source=de.txt --target=en.txt --output=pairs.tsv
    python -m dap_jax.mine --source_vectors=de.npy --target_vectors=en.npy --output=pairs.tsv
    python -m dap_jax.mine --mode=score ...      # of aligned texts: line i translates line i
    python -m dap_jax.mine --mode=search ...     # the lines of --target nearest to each of --source
    python -m dap_jax.mine --mode=negatives ...  # hard negatives for training, of aligned texts

Texts are UTF-8, plain or .gz, a sentence a line. Blank lines take no part, and of aligned texts the
whole pair is left out; equal lines are one sentence. In place of a model there may be vectors of a
side or of both, .npy of float32 or float16, row i for line i: `embed` a target once to search it
often.
With vectors of both sides the texts, and their columns, may be left out. Tabs separate the columns:

- mine: score, cosine, source, target, numbers (`same` or `differ`: the digits in both sentences),
  and the line numbers of both, from 1; best pair first. `cut -f1,3,4` gives LASER's columns.
- score: the same columns of every pair, in the order of the input; LASER's scores with --unify,
  -inf for a ratio to neighbours of no positive cosine.
- search: line of the source, rank, cosine, line of the target, source, target.
- negatives: a header and source, target, negative_1, ..., empty where one is missing: what
  data.format=tsv takes with data.arguments.negatives. First come those found by the vectors, then
  those made by --rules of an English target; --negatives=0 needs neither model nor vectors. They
  are in the language of the target, so that has to be the pivot of the training.

A tab in a text becomes a blank. Unfinished work is in OUTPUT.work: after a kill the same command
continues, and in another mode, or with another margin, threshold or index, it reuses the vectors.
OUTPUT itself appears, or is replaced, at the end.
On several hosts run the same command on each, with the flags that train takes; all of them must see
the same inputs and the same OUTPUT. They share the encoding and the exact search; FAISS runs on
process 0 alone, which also writes. A killed search continues on the same number of processes.
"""

from __future__ import annotations

import functools
import json
import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from dap_jax.cli import command, distributed_flags, model_flags, outputs
from dap_jax.evals import scores
from dap_jax.mining.options import Options
from dap_jax.utils.errors import UserError

if TYPE_CHECKING:
  from dap_jax.inference.embedder import Embedder
  from dap_jax.mining.inputs import Input

NEAR_NEGATIVES = 32  # the pair's own target is among the nearest, and what is too near for one

MODE = flags.DEFINE_enum(
  "mode",
  "mine",
  ["mine", "score", "search", "negatives"],
  "Find pairs; score aligned ones; find what is nearest to each line; find hard negatives.",
)
SOURCE = flags.DEFINE_string("source", None, "A UTF-8 text file, plain or .gz, a sentence a line.")
TARGET = flags.DEFINE_string("target", None, "Another text file, in the other language.")
OUTPUT = flags.DEFINE_string("output", None, "The .tsv file to write.")
MODEL_FLAGS = model_flags.define()
PROMPT_FLAGS = model_flags.define_prompts()
TARGET_PROMPT_FLAGS = model_flags.define_prompts("target")
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
  "neighbours",
  None,
  "Neighbours of a sentence: k of the margin, or of the search; 4 by default, for negatives"
  f" {NEAR_NEGATIVES}.",
  lower_bound=1,
)
RETRIEVAL = flags.DEFINE_enum(
  "retrieval",
  "max",
  ["forward", "backward", "intersection", "max"],
  "Pairs that the source proposes, the target, or both; or one to one, the best first.",
)
THRESHOLD = flags.DEFINE_float("threshold", None, "The lowest score to keep.")
MIN_COSINE = flags.DEFINE_float("min_cosine", None, "The lowest cosine to keep.")
NEGATIVES = flags.DEFINE_integer(
  "negatives", 2, "Negatives to find for a pair, in the target's language.", lower_bound=0
)
MAX_SHARE = flags.DEFINE_float(
  "max_share",
  0.95,
  "The largest cosine of a negative that is found, as a share of the pair's own.",
  lower_bound=0.0,
  upper_bound=1.0,
)
RULES = flags.DEFINE_integer(
  "rules", 0, "Further negatives to make by rules of a target in English.", lower_bound=0
)
INDEX = flags.DEFINE_string(
  "index", "flat", "flat: exact; faiss:FACTORY[:PARAMETERS], e.g. faiss:IVF1024,Flat:nprobe=16."
)
SAVE_SECONDS = flags.DEFINE_float(
  "save_seconds", 60.0, "Seconds between saves of the exact search's state.", lower_bound=0.0
)
# Flag -> the modes in which it has an effect; the others have one in every mode.
MODES_OF = {
  "margin": ("mine", "score"),
  "retrieval": ("mine",),
  "threshold": ("mine", "score"),
  "min_cosine": ("mine", "score", "search"),
  **dict.fromkeys(("negatives", "max_share", "rules"), ("negatives",)),
}

logger = logging.getLogger("dap_jax.mine")  # __name__ is __main__ here


def read_options() -> Options:
  """The flags that say what to do with the vectors."""
  default = NEAR_NEGATIVES if MODE.value == "negatives" else 4
  return Options(
    mode=MODE.value,
    margin=MARGIN.value,
    retrieval=RETRIEVAL.value,
    neighbours=NEIGHBOURS.value or default,
    threshold=floor(THRESHOLD.value),
    min_cosine=floor(MIN_COSINE.value),
    negatives=NEGATIVES.value,
    rules=RULES.value,
    max_share=MAX_SHARE.value,
    index=INDEX.value,
    save_seconds=SAVE_SECONDS.value,
  )


def floor(value: float | None) -> float:
  """The value of a flag that sets a lower limit; -inf where it is not set."""
  return -math.inf if value is None else value


def check_flags(options: Options) -> None:
  """Ends with status 2 where flags are missing or contradict each other."""
  for name, reason in without_effect(options).items():
    if flags.FLAGS[name].present:
      command.fail(f"--{name} has no effect {reason}", status=2)
  check_inputs()
  for flag in (THRESHOLD, MIN_COSINE, MAX_SHARE):
    if flag.value is not None and not math.isfinite(flag.value):
      command.fail(f"--{flag.name}={flag.value}: expected a number", status=2)
  if INDEX.value != "flat" and not INDEX.value.startswith("faiss:"):
    command.fail(f"--index={INDEX.value}: expected flat or faiss:FACTORY", status=2)
  if options.mode == "negatives" and options.negatives == options.rules == 0:
    command.fail("--negatives=0: expected 1 or more, or --rules of 1 or more", status=2)
  if options.mode == "negatives" and options.negatives > options.neighbours:
    command.fail(
      f"--negatives={options.negatives}: expected at most --neighbours={options.neighbours}, among"
      " which they are found",
      status=2,
    )


def without_effect(options: Options) -> dict[str, str]:
  """Flag -> why it has no effect beside the others."""
  mode = options.mode
  unused = {name: f"with --mode={mode}" for name, modes in MODES_OF.items() if mode not in modes}
  if MODEL.value is None:
    unused |= dict.fromkeys(model_flags.OF_MODEL, "without --model")
  if not options.searched_sides():
    names, reason = ["neighbours", "index", "save_seconds"], "with --margin=absolute"
    if mode == "negatives":
      names += ["max_share", "model", "source_vectors", "target_vectors"]
      reason = "with --negatives=0"
    unused |= dict.fromkeys(names, reason)
  return unused


def check_inputs() -> None:
  """Ends with status 2 where a side, or what makes its vectors, is not given or given twice."""
  texts, vectors = {"source", "target"}, {"source_vectors", "target_vectors"}
  given = {name for name in {"model"} | texts | vectors if flags.FLAGS[name].value}
  needed = "needed are --output, --source and --target"
  complete = [texts]
  if MODE.value != "negatives" or NEGATIVES.value:
    complete = [texts | {"model"}, texts | vectors]
    complete += [texts | {"model", of_a_side} for of_a_side in vectors]
    needed += ", and --model, or in its place --source_vectors, --target_vectors"
  if MODE.value != "negatives":
    complete.append(vectors)
    needed += "; with both of these --source and --target may be left out"
  if not OUTPUT.value or given not in complete:
    command.fail(needed, status=2)


def main() -> None:
  options = read_options()
  check_flags(options)
  writes = distributed_flags.take_part()
  from dap_jax.distributed import multihost
  from dap_jax.inference import vector_files
  from dap_jax.mining import modes, searching, work_folder
  from dap_jax.utils import locks
  from dap_jax.utils.atomic import replacing

  assert OUTPUT.value
  output = Path(OUTPUT.value)
  folder = output.with_name(f"{output.name}.work")
  outputs.check_file(
    OUTPUT.value, SOURCE.value, TARGET.value, SOURCE_VECTORS.value, TARGET_VECTORS.value
  )
  sides = read_inputs()
  models = load_models() if MODEL.value else []
  check_vectors(sides, models[0] if models else None)
  different = models[:1] if len({id(model) for model in models}) == 1 else models
  settings = work_folder.settings_of(sides, models=[model.digest() for model in different])
  contents = {key: json.dumps(value).encode() for key, value in settings.items()}
  multihost.check_same(contents, cure="give all the same files")
  if writes:
    work_folder.claim(folder, settings, output=output)
  try:
    with locks.locked(folder / work_folder.SETTINGS, folder) if writes else nullcontext():
      multihost.wait(f"{folder} is claimed")
      encoders = [functools.partial(vector_files.encode_file, model=model) for model in models]
      source, target = (
        work_folder.prepare(side, folder, encode=encode)
        for side, encode in zip(sides, encoders or (None, None), strict=True)
      )
      del models, encoders  # their memory is for the search
      counts = len(source.lines), len(target.lines)
      logger.info("%s: %d x %d sentences; %s", options.mode, *counts, options.describe())
      found = searching.search(source, target, folder, options)
      if not writes:
        return
      with replacing(output) as temporary:
        write = modes.WRITERS[options.mode]
        count = write(source, target, temporary, found=found, options=options)
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
  logger.info("%d %s -> %s", count, "neighbours" if options.mode == "search" else "pairs", output)


def read_inputs() -> tuple[Input, Input]:
  """The source and the target. Raises UserError where a file is damaged or they do not fit."""
  from dap_jax.mining import inputs

  source = inputs.read_input("source", SOURCE.value or "", SOURCE_VECTORS.value or "")
  target = inputs.read_input("target", TARGET.value or "", TARGET_VECTORS.value or "")
  if MODE.value in ("score", "negatives"):
    inputs.check_aligned(source, target, mode=MODE.value)
  return source, target


def load_models() -> list[Embedder]:
  """The model that the flags name, for the source and for the target."""
  from dap_jax.inference import embedder

  model = embedder.load(MODEL.value, **MODEL_FLAGS.load_options(), **PROMPT_FLAGS.options())
  logger.info("vectors: %s", scores.protocol_line({"model": MODEL.value, **model.describe()}))
  if not TARGET_PROMPT_FLAGS.are_given:
    return [model, model]
  options = TARGET_PROMPT_FLAGS.options()
  of_target = model.with_prompt(options["prompt_name"], given=options["prompt"])
  logger.info("prompt of the target: %r", of_target.prompt)
  return [model, of_target]


def check_vectors(sides: Sequence[Input], model: Embedder | None) -> None:
  """Raises UserError for vectors that do not fit, or an index that does not fit them.

  A mistake in --index would show only after hours of encoding.
  """
  from dap_jax.mining import faiss_search, inputs

  of_model = (str(MODEL.value), model.width) if model else None
  width = inputs.common_width(sides, model=of_model)
  if INDEX.value != "flat":
    faiss_search.make_index(INDEX.value.removeprefix("faiss:"), width=width)


if __name__ == "__main__":
  command.run(main)
