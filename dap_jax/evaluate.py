"""Evaluates a model; a table on the screen, JSON on request.

    python -m dap_jax.evaluate --model=runs/demo --suite=retrieval [--output=scores.json]

retrieval: held-out sentences of a workdir's data (--data names another workdir than --model),
1-nearest neighbour by cosine, both directions, per language, beside a random ranking.
"""

from __future__ import annotations

import logging

from absl import flags

from dap_jax import command
from dap_jax.errors import UserError

MODEL = flags.DEFINE_string("model", None, "A workdir, a checkpoint's folder, or a hub id.")
SUITE = flags.DEFINE_list("suite", ["retrieval"], "What to run: retrieval.")
DATA = flags.DEFINE_string("data", None, "The workdir with the data; the model's own by default.")
OUTPUT = flags.DEFINE_string("output", None, "A JSON file for the scores.")
STEP = flags.DEFINE_string("step", "newest", "Which checkpoint: newest, best, or a number.")
MAX_TOKENS = flags.DEFINE_integer(
  "max_tokens", None, "Where texts are cut; the model's own limit by default.", lower_bound=2
)

SUITES = ("retrieval",)

logger = logging.getLogger("dap_jax.evaluate")  # __name__ is __main__ here


def table(scores: dict[str, float], *, pivot: str) -> str:
  """Retrieval scores as lines of text: all, random, then the languages, best first."""
  ways = (f"to {pivot}", f"from {pivot}")
  keys = ("to_pivot_accuracy", "from_pivot_accuracy")
  lines = [f"{'':12}{ways[0]:>9}{ways[1]:>9}"]
  rows = {"all": "", "random": "_random"}
  languages = [name.split("/")[1] for name in scores if name.startswith(f"{keys[0]}/")]
  languages.sort(key=lambda language: -scores[f"{keys[0]}/{language}"])
  rows |= {language: f"/{language}" for language in languages}
  for name, suffix in rows.items():
    to, back = (scores[key + suffix] for key in keys)
    lines.append(f"{name:12}{to:9.3f}{back:9.3f}")
  return "\n".join(lines)


def main() -> None:
  if MODEL.value is None:
    command.fail("--model is needed; --help lists the flags", status=2)
  unknown = [suite for suite in SUITE.value if suite not in SUITES]
  if unknown:
    raise UserError(f"--suite={unknown[0]!r} is unknown: there are {', '.join(SUITES)}")
  from etils import epath

  from dap_jax import embedder, workdir
  from dap_jax.data import store
  from dap_jax.evals.retrieval import retrieval

  loaded = embedder.load(MODEL.value, step=STEP.value, max_tokens=MAX_TOKENS.value)
  data = epath.Path(DATA.value or MODEL.value)
  if not store.complete(data / "data"):
    raise UserError(f"{data} holds no prepared data: name a workdir of train with --data")
  pivot = workdir.read_config(data)["data"]["pivot"]
  rows = store.heldout(data / "data")
  scores = retrieval(rows, loaded.encode, pivot=pivot)
  protocol = (
    f"retrieval of {len(rows)} held-out sentences of {data}, {int(scores['queries'])} translations;"
    f" pooling {loaded.model['pooling']}, cosine, 1-nearest neighbour,"
    f" at most {loaded.max_tokens} tokens"
  )
  logger.info("%s", protocol)
  print(table(scores, pivot=pivot))
  if OUTPUT.value:
    named = {f"eval/retrieval/{name}": value for name, value in scores.items()}
    content = {"model": MODEL.value, "step": loaded.step, "protocol": protocol, **named}
    try:
      workdir.write_json(epath.Path(OUTPUT.value), content)
    except OSError as error:
      raise UserError(f"--output={OUTPUT.value} cannot be written: {error}") from error


if __name__ == "__main__":
  command.run(main)
