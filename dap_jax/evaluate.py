"""Evaluates a model: a table on the screen, JSON on request.

    python -m dap_jax.evaluate --model=runs/demo [--output=scores.json]
    python -m dap_jax.evaluate --model=runs/demo --suite=tatoeba --data=DIR --max_tokens=32
    python -m dap_jax.evaluate --model=runs/demo --suite=bucc --data=DIR --setting=margin=distance

The suites; dap_jax/evals/NAME.py explains each:

retrieval       nearest translation by cosine, in both directions: on the held-out sentences of a
                workdir, or on a folder of translations with one file a language
xsim            error of the nearest translation by margin, on the same; xsim++ with hard negatives
tatoeba         LASER's tatoeba/v1, with the means of 14, 28, 36 and 112 languages
bucc            BUCC 2018: F1 of mined pairs, with the threshold of the training split
sts             files of score<TAB>text<TAB>text: Spearman's and Pearson's correlation x 100
word_alignment  gold word alignments: AER (alignment error rate) of mutual nearest token states, for
                each layer
mexa            MEXA: which layers align translations; on the data that retrieval takes
classification  zero-shot transfer: logistic regression on vectors of the model as it is

With several suites, --suite=tatoeba,sts, each reads its own folder in --data: --data/tatoeba and
--data/sts. The name of a score holds every setting that differs from the suite's default,
eval/bucc[margin=distance]/..., and every option that differs from the model's own. On several hosts
run the same command on each, with the flags that train takes: all of them read the data and encode,
process 0 prints and writes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from etils import epath

from dap_jax.cli import command, distributed_flags, model_flags, outputs
from dap_jax.evals import scores
from dap_jax.utils.errors import UserError, writing
from dap_jax.utils.json_files import write_json

MODEL_FLAGS = model_flags.define()
PROMPT_FLAGS = model_flags.define_prompts()
MODEL = MODEL_FLAGS.model
SUITE = flags.DEFINE_list(
  "suite", "retrieval", "The suites to run, with commas between; see above."
)
DATA = flags.DEFINE_string("data", None, "The suite's data; the model's own workdir by default.")
OUTPUT = flags.DEFINE_string("output", None, "A JSON file for the scores.")
SETTING = flags.DEFINE_multi_string(
  "setting", [], "NAME=VALUE, a setting of the suite; may be given repeatedly."
)

logger = logging.getLogger("dap_jax.evaluate")  # __name__ is __main__ here


def parse_settings(suite: str, texts: Sequence[str]) -> dict[str, Any]:
  """`NAME=VALUE` strings -> keyword arguments of the suite, each of its default's type."""
  from dap_jax import evals

  known, settings = evals.settings_of(suite), {}
  for text in texts:
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
  """A text as a value of the default's type. Raises ValueError where it is none."""
  if isinstance(default, bool):
    if text.lower() not in ("true", "false"):
      raise ValueError(text)
    return text.lower() == "true"
  return type(default)(text)


def check_flags() -> dict[str, Any]:
  """Refuses mistakes before the model is loaded; gives the settings of the suite."""
  from dap_jax import evals
  from dap_jax.workdir import layout

  is_exported = epath.Path(MODEL.value).is_dir() and not layout.is_workdir(MODEL.value)
  for suite in SUITE.value:
    evals.load_suite(suite)
    if not DATA.value and (suite not in evals.ON_HELD_OUT or is_exported):
      command.fail(f"--suite={suite} needs --data here; --help says what it reads", status=2)
  if len(SUITE.value) > 1 and (SETTING.value or not DATA.value):
    command.fail("several suites need --data, a folder for each in it, and no --setting", status=2)
  for suite in SUITE.value[1:] and SUITE.value:
    if not epath.Path(f"{DATA.value}/{suite}").is_dir():
      raise UserError(f"--data={DATA.value} has no folder {suite}: expected one for each suite")
  return parse_settings(SUITE.value[0], SETTING.value)


def main() -> None:
  if MODEL.value is None:
    command.fail("--model is needed; --help lists the flags", status=2)
  if not SUITE.value:
    command.fail("--suite names none; --help lists them", status=2)
  writes = distributed_flags.take_part()
  settings = check_flags()
  if writes:
    outputs.check_file(OUTPUT.value)
  from dap_jax import evals
  from dap_jax.inference import embedder

  model = embedder.load(MODEL.value, **MODEL_FLAGS.load_options(), **PROMPT_FLAGS.options())
  content: dict[str, Any] = {"model": MODEL.value, "step": model.step, "protocol": {}}
  for suite in SUITE.value:
    data = DATA.value or MODEL.value
    data = f"{data}/{suite}" if len(SUITE.value) > 1 else data
    protocol, result = evals.run_suite(suite, model, data, **settings)
    defaults = evals.settings_of(suite)
    changed = {name: value for name, value in settings.items() if value != defaults[name]}
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
  with writing(f"--output={path}", cure=""):
    write_json(epath.Path(path), content)


if __name__ == "__main__":
  command.run(main)
