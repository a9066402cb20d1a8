"""Evaluates a model; a table on the screen, JSON on request.

    python -m dap_jax.evaluate --model=runs/demo [--output=scores.json]
    python -m dap_jax.evaluate --model=runs/demo --suite=tatoeba --data=DIR --max_tokens=32
    python -m dap_jax.evaluate --model=runs/demo --suite=bucc --data=DIR --setting=margin=distance

Suites, each explained in dap_jax/evals/NAME.py:

retrieval       nearest translation by cosine, both directions: the held-out sentences of a
                workdir, or a folder of translations, one file a language
xsim            error of the nearest translation by margin, on the same; xsim++ with hard negatives
tatoeba         LASER's tatoeba/v1, with the means of 14, 28, 36 and 112 languages
bucc            BUCC 2018: F1 of mined pairs, the threshold from the training split
sts             a folder of score<TAB>text<TAB>text; Spearman and Pearson x 100
word_alignment  gold word alignments: AER of mutual nearest token states, per layer
mexa            MEXA: which layers align, on what retrieval takes
classification  zero-shot transfer: logistic regression on frozen vectors

Several, --suite=tatoeba,sts, read --data/tatoeba and --data/sts. A score's name holds every setting
that is not the default one, eval/bucc[margin=distance]/..., or not the model's own. Several hosts:
run it on each, with the flags that train takes; all of them read the data and encode, process 0
prints and writes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from etils import epath

from dap_jax.cli import command, distributed_flags
from dap_jax.evals import scores
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import write_json

MODEL = flags.DEFINE_string("model", None, "A workdir, a checkpoint's folder, or a hub id.")
SUITE = flags.DEFINE_list("suite", "retrieval", "What to run; --help tells which there are.")
DATA = flags.DEFINE_string("data", None, "The suite's data; the model's own workdir by default.")
OUTPUT = flags.DEFINE_string("output", None, "A JSON file for the scores.")
STEP = flags.DEFINE_string("step", "newest", "Which checkpoint: newest, best, or a number.")
MAX_TOKENS = flags.DEFINE_integer(
  "max_tokens", None, "Where texts are cut; the model's own limit by default.", lower_bound=2
)
COMPUTE_DTYPE = flags.DEFINE_enum(
  "compute_dtype", None, ["float32", "bfloat16"], "Of the network; the model's own by default."
)
SETTING = flags.DEFINE_multi_string("setting", [], "NAME=VALUE, a setting of the suite.")

logger = logging.getLogger("dap_jax.evaluate")  # __name__ is __main__ here


def parse_settings(suite: str, given: Sequence[str]) -> dict[str, Any]:
  """`NAME=VALUE` strings -> keyword arguments, each read as its default is."""
  from dap_jax import evals

  known, settings = evals.settings_of(suite), {}
  for text in given:
    name, equals, value = text.partition("=")
    if name not in known or not equals or name in settings:
      raise UserError(
        f"--setting={text}: --suite={suite} takes, each once,"
        f" {', '.join(f'{key}={default}' for key, default in known.items()) or 'none'}"
      )
    try:
      settings[name] = value_like(known[name], value)
    except ValueError as error:
      kind = type(known[name]).__name__
      raise UserError(f"--setting={text}: expected a value of type {kind}") from error
  return settings


def value_like(default: Any, text: str) -> Any:
  """Text as a value of the default's type. Raises ValueError."""
  if isinstance(default, bool):
    if text.lower() not in ("true", "false"):
      raise ValueError(text)
    return text.lower() == "true"
  return type(default)(text)


def check_flags() -> dict[str, Any]:
  """What can be refused before a model is loaded; the settings of the suite."""
  from dap_jax import evals
  from dap_jax.workdir import layout

  is_only_a_model = epath.Path(MODEL.value).is_dir() and not layout.is_workdir(MODEL.value)
  for suite in SUITE.value:
    evals.load(suite)
    if not DATA.value and (suite not in evals.ON_HELD_OUT or is_only_a_model):
      command.fail(f"--suite={suite} needs --data here; --help says what it reads", status=2)
  if len(SUITE.value) > 1 and (SETTING.value or not DATA.value):
    command.fail("several suites need --data, a folder for each in it, and no --setting", status=2)
  for suite in SUITE.value[1:] and SUITE.value:
    if not epath.Path(f"{DATA.value}/{suite}").is_dir():
      raise UserError(f"--data={DATA.value} has no folder {suite}: expected one for each suite")
  return parse_settings(SUITE.value[0], SETTING.value)


def check_output() -> None:
  """Raises UserError where --output could not be written, before anything is computed."""
  if OUTPUT.value:
    path = epath.Path(OUTPUT.value)
    if path.is_dir() or not path.parent.is_dir():
      raise UserError(
        f"--output={OUTPUT.value} cannot be written: name a file in a folder there is"
      )


def main() -> None:
  if MODEL.value is None:
    command.fail("--model is needed; --help lists the flags", status=2)
  if not SUITE.value:
    command.fail("--suite names none; --help lists them", status=2)
  writes = distributed_flags.take_part()
  given = check_flags()
  if writes:
    check_output()
  from dap_jax import evals
  from dap_jax.inference import embedder

  model = embedder.load(
    MODEL.value,
    step=STEP.value,
    max_tokens=MAX_TOKENS.value,
    compute_dtype=COMPUTE_DTYPE.value or "",
  )
  content: dict[str, Any] = {"model": MODEL.value, "step": model.step, "protocol": {}}
  for suite in SUITE.value:
    data = DATA.value or MODEL.value
    data = f"{data}/{suite}" if len(SUITE.value) > 1 else data
    protocol, result = evals.run(suite, model, data, **given)
    defaults = evals.settings_of(suite)
    changed = {name: value for name, value in given.items() if value != defaults[name]}
    name = scores.full_name(suite, changed | dict(model.changed))
    logger.info("%s", scores.protocol_line({"model": MODEL.value, **protocol}))
    if writes:
      print(scores.table(result.columns, result.rows))
    content["protocol"][name] = protocol
    content |= {f"eval/{name}/{metric}": value for metric, value in result.scores.items()}
    if OUTPUT.value and writes:
      write_scores(OUTPUT.value, content)


def write_scores(path: str, content: Mapping[str, Any]) -> None:
  """The JSON file: what was evaluated, how, and every score under its full name."""
  try:
    write_json(epath.Path(path), content)
  except OSError as error:
    raise UserError(f"--output={path} cannot be written: {error}") from error


if __name__ == "__main__":
  command.run(main)
