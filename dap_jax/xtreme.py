"""XTREME: fine-tunes and predicts by the benchmark's protocol, and scores as it does.

    python -m dap_jax.xtreme --model=M --data=DIR --workdir=W [--tasks=udpos,panx,tatoeba]
    python -m dap_jax.xtreme --score=PREDICTIONS --labels=LABELS [--output=scores.json]

The tasks: pawsx xnli udpos panx xquad mlqa tydiqa bucc2018 tatoeba, or those of --tasks. A mean is
given only where no language and no task of it is missing.
--model: DIR has a folder for each task, with its files as they are released. Each task is
fine-tuned once, in English, in a folder of its name in the workdir, where a killed run goes on with
the same command; retrieval needs none. The workdir gets predictions, labels and scores.json. It
uses the devices of one machine.
--score: both folders have TASK/test-LANGUAGE.tsv, of question answering .json: the benchmark's
submission format and its labels.
docs/xtreme.md says how each task is measured, and which files it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags
from etils import epath

from dap_jax.cli import command, model_flags, outputs
from dap_jax.utils.errors import UserError, writing
from dap_jax.utils.json_files import write_json

if TYPE_CHECKING:
  from dap_jax.evals import Result

MAX_TOKENS = 512  # of the benchmark's retrieval

MODEL_FLAGS = model_flags.define(
  cut="Where texts are cut; by default the benchmark's number for each task, or as many as the"
  " model has positions for."
)
PROMPT_FLAGS = model_flags.define_prompts()
SCORE = flags.DEFINE_string("score", None, "A folder of predictions.")
LABELS = flags.DEFINE_string("labels", None, "The folder of their labels.")
OUTPUT = flags.DEFINE_string("output", None, "With --score: a JSON file for the scores.")
TASKS = flags.DEFINE_list("tasks", None, "Some of the tasks, with commas between; all by default.")
DATA = flags.DEFINE_string("data", None, "With --model: a folder with one for each task.")
WORKDIR = flags.DEFINE_string("workdir", None, "With --model: where its predictions and scores go.")
LAYER = flags.DEFINE_integer(
  "layer",
  None,
  "Of retrieval: whose states are pooled, 0 the embeddings; the benchmark's by default.",
)


QUOTES = flags.DEFINE_enum(
  "quotes",
  "xtreme",
  ["xtreme", "mended"],
  "Texts of XNLI and PAWS-X: as the benchmark's models see them, or as they are released.",
)
SEED = flags.DEFINE_integer(
  "seed", None, "Of every fine-tuning; by default the benchmark's.", lower_bound=0
)

SAVE_STEPS = 500  # between checkpoints of a fine-tuning that chooses none by its score

OF_SCORING = ("score", "labels", "output")
OF_MODEL = ("model", "data", "workdir", "layer", "quotes", "seed", *model_flags.OF_MODEL)


class Made(NamedTuple):
  """How the predictions of a task were made.

  Attributes:
    settings: what differs from the benchmark's protocol, for the names of scores.
    how: for the protocol.
  """

  settings: Mapping[str, Any]
  how: Mapping[str, Any]


def check_flags() -> None:
  """Ends with status 2 where the flags are neither those of one way nor those of the other."""
  scoring, predicting = (
    [name for name in names if name in flags.FLAGS and flags.FLAGS[name].present]
    for names in (OF_SCORING, OF_MODEL)
  )
  if scoring and predicting:
    command.fail(f"--{scoring[0]} and --{predicting[0]} exclude each other", status=2)
  needed = (MODEL_FLAGS.model, DATA, WORKDIR) if predicting else (SCORE, LABELS)
  if any(flag.value is None for flag in needed):
    command.fail(
      "--score and --labels are both needed, or --model, --data and --workdir; --help lists the"
      " flags",
      status=2,
    )


def score(predictions: str, labels: str) -> None:
  """Scores a folder of predictions."""
  from dap_jax.evals.xtreme import tasks
  from dap_jax.evals.xtreme.scoring.score import score_folders

  chosen = tasks.choose(list(tasks.TASKS) if TASKS.value is None else TASKS.value)
  outputs.check_file(OUTPUT.value)
  result = score_folders(predictions, labels, chosen=chosen)
  show(result)
  if OUTPUT.value is not None:
    write(OUTPUT.value, result, made={})


def predict(model_path: str, data: str, workdir: str) -> None:
  """Predicts with a model, fine-tuned where the task needs it, then scores."""
  from dap_jax.evals.xtreme import submission, tasks
  from dap_jax.evals.xtreme.retrieval import run as retrieval
  from dap_jax.evals.xtreme.scoring.score import score_folders
  from dap_jax.training.xtreme import data as files
  from dap_jax.training.xtreme import protocols
  from dap_jax.workdir import layout

  chosen = tasks.choose(list(tasks.TASKS) if TASKS.value is None else TASKS.value)
  names, as_it_is = protocols.runs_of(chosen), retrieval.tasks_among(chosen)
  check_effect(chosen, names, as_it_is)
  if as_it_is:
    retrieval.check_data(data, as_it_is)
  files.check(names, data, chosen=chosen)
  if layout.is_workdir(workdir):
    raise UserError(f"--workdir={workdir} is a workdir of train: name another folder")
  if epath.Path(workdir).is_file():
    raise UserError(f"--workdir={workdir} is a file: name a folder")
  if epath.Path(workdir).resolve() == epath.Path(data).resolve():
    raise UserError(f"--workdir={workdir} is --data: name another folder")
  made = retrieve(model_path, data, workdir, as_it_is) if as_it_is else {}
  for name in names:
    of_run = fine_tune(name, model_path, data, workdir, chosen)
    if of_run is None:
      return
    made |= of_run
  places = (f"{workdir}/{name}" for name in (submission.PREDICTIONS, submission.LABELS))
  result = score_folders(*places, chosen=chosen)
  show(result)
  write(f"{workdir}/scores.json", result, made=made)


def check_effect(chosen: Sequence[str], names: Sequence[str], as_it_is: Sequence[str]) -> None:
  """Ends with status 2 where a flag is given that no task of these reads.

  Args:
    chosen: the tasks.
    names: their fine-tunings.
    as_it_is: those that need none.
  """
  read = {
    "layer": as_it_is,
    "seed": names,
    "quotes": [task for task in chosen if task in ("xnli", "pawsx")],
    **dict.fromkeys(("prompt_name", "prompt"), as_it_is),
  }
  for flag, readers in read.items():
    if flags.FLAGS[flag].present and not readers:
      command.fail(f"--{flag} has no effect on {', '.join(chosen)}", status=2)


def retrieve(model_path: str, data: str, workdir: str, chosen: Sequence[str]) -> dict[str, Made]:
  """Predicts tasks of retrieval with the model as it is -> how, by task."""
  from dap_jax.evals.xtreme.retrieval import run
  from dap_jax.evals.xtreme.retrieval.layers import layer_of
  from dap_jax.inference import embedder

  options = MODEL_FLAGS.load_options()
  if options["max_tokens"] is None:
    options["max_tokens"] = min(MAX_TOKENS, embedder.most_tokens(model_path))
  model = embedder.load(model_path, **options, **PROMPT_FLAGS.options())
  depth = model.model_config["encoder"]["layers"]
  layers = {task: layer_of(task, depth, chosen=LAYER.value) for task in chosen}
  run.predict(model, data, layers=layers, workdir=workdir)
  settings = {key: value for key, value in model.changed.items() if key != "max_tokens"}
  settings |= {} if model.max_tokens == MAX_TOKENS else {"max_tokens": model.max_tokens}
  settings |= {} if LAYER.value is None else {"layer": LAYER.value}
  description = {"model": model_path, "data": data, **model.describe()}
  return {
    task: Made(settings, {**description, "pooling": run.MODULES[task].POOLING, "layer": layer})
    for task, layer in layers.items()
  }


def fine_tune(
  name: str, model_path: str, data: str, workdir: str, chosen: Sequence[str]
) -> dict[str, Made] | None:
  """Fine-tunes once and predicts -> how, by task; None if the job was told to stop."""
  from dap_jax.inference import embedder
  from dap_jax.training.xtreme import protocols, run

  options = MODEL_FLAGS.load_options()
  settings = protocols.settings_of(
    name,
    model=model_path,
    data=data,
    most_tokens=options["max_tokens"] or embedder.most_tokens(model_path),
    seed=SEED.value,
    step=options["step"],
    compute_dtype=options["compute_dtype"],
  )
  how = run.predict(
    name, settings, chosen=chosen, quotes=QUOTES.value, workdir=workdir, save_steps=SAVE_STEPS
  )
  if how is None:
    return None
  return {
    task: Made(protocols.differences(task, settings, quotes=QUOTES.value), how)
    for task in protocols.PROTOCOLS[name].predicts
    if task in chosen
  }


def show(result: Result) -> None:
  """Prints the table by task and language, and the averages."""
  from dap_jax.evals import scores
  from dap_jax.evals.xtreme.scoring.score import summary_of

  print(scores.table(result.columns, result.rows))
  figures = summary_of(result.scores)
  print(f"\n{scores.table({'figure': figures}, list(figures))}")


def write(path: str, result: Result, *, made: Mapping[str, Made]) -> None:
  """Writes the JSON file of the scores.

  Args:
    path: the file.
    result: the scores.
    made: task -> how its predictions were made; an average has all that differs in its members.
  """
  from dap_jax.evals import scores
  from dap_jax.evals.xtreme.tasks import GROUPS, TASKS

  def name_of(key: str) -> str:
    kind, _, rest = key.partition("/")
    members = (kind,) if kind in TASKS else GROUPS.get(rest, tuple(TASKS))
    settings = {k: v for task in members if task in made for k, v in made[task].settings.items()}
    return scores.full_name("xtreme", settings)

  content: dict[str, Any] = {
    "protocol": {
      f"{name_of(task)}/{task}": {**protocol, **(made[task].how if task in made else {})}
      for task, protocol in result.protocol.items()
    }
  }
  content |= {f"eval/{name_of(key)}/{key}": value for key, value in result.scores.items()}
  with writing(path, cure=""):
    write_json(epath.Path(path), content)


def main() -> None:
  check_flags()
  if SCORE.value is not None and LABELS.value is not None:
    score(SCORE.value, LABELS.value)
  elif MODEL_FLAGS.model.value and DATA.value and WORKDIR.value:
    predict(MODEL_FLAGS.model.value, DATA.value, WORKDIR.value)


if __name__ == "__main__":
  command.run(main)
