"""Evaluates a model; a table on the screen, JSON on request.

    python -m dap_jax.evaluate --model=runs/demo [--output=scores.json]
    python -m dap_jax.evaluate --model=runs/demo --suite=tatoeba --data=FOLDER --max_tokens=32

retrieval: held-out sentences of a workdir (--data names another than --model), nearest neighbour by
cosine, both directions, per language, beside a random ranking.
tatoeba: the files of LASER's tatoeba/v1, with the means of 14, 28, 36 and 112 languages.
sts: a folder of .tsv files, score<TAB>text<TAB>text; Spearman and Pearson x 100.
bucc: the files of BUCC 2018; F1 of mined pairs, the threshold from the training split.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from absl import flags

from dap_jax import command
from dap_jax.errors import UserError

if TYPE_CHECKING:
  from dap_jax.embedder import Loaded

MODEL = flags.DEFINE_string("model", None, "A workdir, a checkpoint's folder, or a hub id.")
SUITE = flags.DEFINE_string("suite", "retrieval", "What to run: retrieval, tatoeba, sts or bucc.")
DATA = flags.DEFINE_string("data", None, "The suite's data; for retrieval the model's own workdir.")
OUTPUT = flags.DEFINE_string("output", None, "A JSON file for the scores.")
STEP = flags.DEFINE_string("step", "newest", "Which checkpoint: newest, best, or a number.")
MAX_TOKENS = flags.DEFINE_integer(
  "max_tokens", None, "Where texts are cut; the model's own limit by default.", lower_bound=2
)

logger = logging.getLogger("dap_jax.evaluate")  # __name__ is __main__ here


def table(columns: dict[str, dict[str, float]], rows: Sequence[str]) -> str:
  """Lines of text: a row a name, a column a metric; - where a row has no such figure."""
  width = max(12, *(len(row) + 2 for row in rows))
  cell = f"{{:>{max(11, *(len(title) + 2 for title in columns))}}}"
  lines = [" " * width + "".join(map(cell.format, columns))]
  for row in rows:
    cells = (f"{column[row]:.3f}" if row in column else "-" for column in columns.values())
    lines.append(f"{row:{width}}" + "".join(map(cell.format, cells)))
  return "\n".join(lines)


def by_row(scores: Mapping[str, float], metric: str) -> dict[str, float]:
  """`METRIC/ROW` -> value, as ROW -> value."""
  return {
    name.split("/", 1)[1]: value for name, value in scores.items() if name.startswith(f"{metric}/")
  }


def retrieval(loaded: Loaded, data: str) -> tuple[str, dict[str, float], str]:
  """Protocol, scores and table of the suite of this name."""
  from etils import epath

  from dap_jax import workdir
  from dap_jax.data import store
  from dap_jax.evals import retrieval

  folder = epath.Path(data)
  if not store.complete(folder / "data"):
    raise UserError(f"{data} holds no prepared data: name a workdir of train with --data")
  pivot = workdir.read_config(folder)["data"]["pivot"]
  rows = store.heldout(folder / "data")
  scores = retrieval.retrieval(rows, loaded.encode, pivot=pivot)
  columns = {}
  for title, metric in ((f"to {pivot}", "to_pivot"), (f"from {pivot}", "from_pivot")):
    columns[title] = {
      "all": scores[f"{metric}_accuracy"],
      "random": scores[f"{metric}_accuracy_random"],
      **by_row(scores, f"{metric}_accuracy"),
    }
  languages = by_row(scores, "to_pivot_accuracy")
  order = ["all", "random", *sorted(languages, key=lambda code: -languages[code])]
  what = f"{len(rows)} held-out sentences of {data}, {int(scores['queries'])} translations"
  return f"{what}; cosine, 1-nearest neighbour", scores, table(columns, order)


def tatoeba(loaded: Loaded, data: str) -> tuple[str, dict[str, float], str]:
  """Protocol, scores and table of the suite of this name."""
  from dap_jax.evals import tatoeba

  pairs = tatoeba.read(data)
  scores = tatoeba.tatoeba(pairs, loaded.encode)
  metrics = {"to en": "to_english_accuracy", "from en": "from_english_accuracy"}
  metrics |= {"xsim to": "to_english_xsim", "xsim from": "from_english_xsim"}
  columns = {title: by_row(scores, metric) for title, metric in metrics.items()}
  first = columns["to en"]
  order = [row for row in first if row.isdigit()]
  order += sorted(pairs, key=lambda code: -first[code])
  protocol = (
    f"{len(pairs)} languages of {data}, double quotes removed; accuracy: cosine, 1-nearest"
    f" neighbour; xsim: error by ratio margin, {tatoeba.NEIGHBOURS} neighbours"
  )
  return protocol, scores, table(columns, order)


def sts(loaded: Loaded, data: str) -> tuple[str, dict[str, float], str]:
  """Protocol, scores and table of the suite of this name."""
  from dap_jax.evals import sts

  tracks = sts.read(data)
  scores = sts.sts(tracks, loaded.encode)
  columns = {metric: by_row(scores, metric) for metric in ("spearman", "pearson")}
  protocol = f"{len(tracks)} tracks of {data}; correlation of cosine and gold score, x 100"
  return protocol, scores, table(columns, ["mean", *tracks])


def bucc(loaded: Loaded, data: str) -> tuple[str, dict[str, float], str]:
  """Protocol, scores and table of the suite of this name."""
  from dap_jax.evals import bucc

  corpora = bucc.read(data)
  scores = bucc.bucc(corpora, loaded.encode)
  metrics = dict.fromkeys(name.split("/")[0] for name in scores)
  columns = {metric.replace("_", " "): by_row(scores, metric) for metric in metrics}
  protocol = (
    f"{len(corpora)} language pairs of {data}; {bucc.MARGIN} margin, {bucc.NEIGHBOURS} neighbours,"
    f" candidates {bucc.RETRIEVAL} (both sides, one to one); threshold of the best training F1"
  )
  return protocol, scores, table(columns, list(corpora))


SUITES = {"retrieval": retrieval, "tatoeba": tatoeba, "sts": sts, "bucc": bucc}


def main() -> None:
  if MODEL.value is None:
    command.fail("--model is needed; --help lists the flags", status=2)
  if SUITE.value not in SUITES:
    raise UserError(f"--suite={SUITE.value!r} is unknown: there are {', '.join(SUITES)}")
  from dap_jax import embedder

  if SUITE.value != "retrieval" and DATA.value is None:
    command.fail(f"--suite={SUITE.value} needs --data, the folder of its files", status=2)
  loaded = embedder.load(MODEL.value, step=STEP.value, max_tokens=MAX_TOKENS.value)
  protocol, scores, text = SUITES[SUITE.value](loaded, DATA.value or MODEL.value)
  protocol = (
    f"{SUITE.value}: {protocol}; pooling {loaded.model['pooling']},"
    f" at most {loaded.max_tokens} tokens, {loaded.model['compute_dtype']}"
  )
  logger.info("%s", protocol)
  print(text)
  if OUTPUT.value:
    write_scores(OUTPUT.value, protocol, scores, step=loaded.step)


def write_scores(
  path: str, protocol: str, scores: Mapping[str, float], *, step: int | None
) -> None:
  """The JSON file: what was evaluated, how, and every score under its full name."""
  from etils import epath

  from dap_jax import workdir

  named = {f"eval/{SUITE.value}/{name}": value for name, value in scores.items()}
  content = {"model": MODEL.value, "step": step, "protocol": protocol, **named}
  try:
    workdir.write_json(epath.Path(path), content)
  except OSError as error:
    raise UserError(f"--output={path} cannot be written: {error}") from error


if __name__ == "__main__":
  command.run(main)
