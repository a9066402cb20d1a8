"""A sweep file -> its runs, all checked before the first one starts, and their commands.

OUTPUT/SYSTEM/seedN/           the workdir of a run       OUTPUT/SYSTEM/seedN.log   its output
OUTPUT/SYSTEM/seedN/scores/    its evaluations' JSON      OUTPUT/failed/            see `state`
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from etils import epath

from dap_jax import evals
from dap_jax.cli import config_files
from dap_jax.sweeps.overrides import config_flags_of, resolve
from dap_jax.utils.errors import UserError
from dap_jax.workdir import layout

FAILED = "failed"  # folder of failed runs
CACHE = "prepared"  # folder of the data that the runs share
RESERVED = (FAILED, CACHE)
COLUMNS = {
  "to pivot": "eval/retrieval/to_pivot_accuracy",
  "from pivot": "eval/retrieval/from_pivot_accuracy",
}
EVALUATION = ("suite", "name", "data", "settings", "max_tokens", "step", "compute_dtype")


class SweepRun(NamedTuple):
  """One run of a sweep.

  Attributes:
    system: its name, shared by its seeds.
    seed: of the config.
    config: the config file, with or without an argument.
    overrides: keys of the config -> values, in the order of the flags.
    settings: the whole resolved config.
    output: the sweep's folder.
  """

  system: str
  seed: int
  config: str
  overrides: dict[str, Any]
  settings: dict[str, Any]
  output: Path

  @property
  def workdir(self) -> Path:
    return self.output / self.system / f"seed{self.seed}"

  @property
  def log(self) -> Path:
    return self.output / self.system / f"seed{self.seed}.log"

  @property
  def failed(self) -> Path:
    """Where its workdir goes if it fails, with the log and the reason beside it."""
    return self.output / FAILED / self.system / f"seed{self.seed}"

  def scores(self, evaluation: Evaluation) -> Path:
    """The JSON file of an evaluation."""
    return self.workdir / "scores" / f"{evaluation.name}.json"

  def __str__(self) -> str:
    return f"{self.system} seed {self.seed}"


class Evaluation(NamedTuple):
  """What `dap_jax.evaluate` is called with after each run.

  Attributes:
    name: of its JSON file, and of its metrics in columns.
    suite: of `dap_jax.evals`.
    settings: of the suite, those that are not its defaults.
    flags: further flags of the command -> value.
  """

  name: str
  suite: str
  settings: dict[str, Any]
  flags: dict[str, Any]


class Plan(NamedTuple):
  """A sweep: its runs in order, their evaluations, the table's columns, title -> key."""

  runs: list[SweepRun]
  evaluations: list[Evaluation]
  columns: dict[str, str]


def read_sweep(sweep: str, output: str) -> Plan:
  """Reads a sweep file, `FILE` or `FILE:ARG`, and checks every part of it.

  Raises:
    UserError: the file or one of its runs has a mistake, or `output` holds other runs.
  """
  if "://" in output:
    raise UserError(f"--output={output}: expected a folder on a local or shared disk")
  file, colon, argument = config_files.find(sweep, flag="--sweep", folder="sweeps").partition(":")
  module = load_module(file)
  call = caller(module, sweep=sweep, arguments=[argument] if colon else [])
  hyper = call("get_hyper", list)
  if not hyper:
    raise UserError(f"--sweep={sweep}: its get_hyper gave no runs")
  runs = [make_run(each, output=Path(output)) for each in hyper]
  for name, times in Counter(str(run) for run in runs).items():
    if times > 1:
      raise UserError(f"--sweep={sweep}: {times} runs are called {name!r}: name them apart")
  named = {run.system.casefold(): run.system for run in runs}
  for run in runs:  # one folder where the file system does not tell case
    if named[run.system.casefold()] != run.system:
      raise UserError(f"{run.system!r} and another run differ by case alone: name them apart")
  evaluations = [make_evaluation(each) for each in call("get_evaluations", list, default=[])]
  for name, times in Counter(each.name for each in evaluations).items():
    if times > 1:
      raise UserError(f"{times} evaluations are called {name!r}: give each a 'name' of its own")
  columns = call("get_columns", dict, default=COLUMNS)
  check_columns(columns, evaluations)
  for run in runs:
    refuse_other(run)
  return Plan(runs, evaluations, columns)


def load_module(file: str) -> ModuleType:
  """The sweep file as a module."""
  spec = importlib.util.spec_from_file_location("sweep_file", file)
  if spec is None or spec.loader is None or not os.path.isfile(file):
    raise UserError(f"--sweep={file}: expected a Python file with get_hyper()")
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except Exception as error:  # whatever a user's file may raise
    raise UserError(f"--sweep={file} cannot be read: {type(error).__name__}: {error}") from error
  return module


def caller(module: ModuleType, *, sweep: str, arguments: Sequence[str]) -> Callable:
  """A function that calls one of the file's functions, and checks what type it returns."""

  def call(name: str, kind: type, default: Any = None) -> Any:
    function = getattr(module, name, None)
    if function is None and default is not None:
      return default
    if not callable(function):
      raise UserError(f"--sweep={sweep}: the file has no function {name}")
    try:
      inspect.signature(function).bind(*arguments)
    except TypeError as error:
      form = "FILE:ARG" if arguments else "FILE without :ARG"
      raise UserError(f"--sweep={sweep}: {name} cannot be called for {form}: {error}") from error
    try:
      result = function(*arguments)
    except UserError:
      raise
    except Exception as error:
      raise UserError(f"--sweep={sweep}: {name} fails: {type(error).__name__}: {error}") from error
    if not isinstance(result, kind):
      wrong = type(result).__name__
      raise UserError(f"--sweep={sweep}: {name} must return a {kind.__name__}, it returned {wrong}")
    return result

  return call


def make_run(entry: Any, *, output: Path) -> SweepRun:
  """An entry of `get_hyper` -> a run, its config resolved just as `train` will."""
  wrong = not isinstance(entry, dict) or not {"name", "config"} <= set(entry)
  if wrong or not all(isinstance(key, str) for key in (*entry, entry["name"], entry["config"])):
    raise UserError(f"the run {entry!r} has no name and config: make it with hyper.system")
  overrides = dict(entry)
  name, config = overrides.pop("name"), overrides.pop("config")
  plain = name.isprintable() and name == name.strip() and "/" not in name
  if not plain or not name or name[0] in ".-" or name.casefold() in RESERVED:
    raise UserError(
      f"a run cannot be called {name!r}: it names a folder, so no / in it, no dot or - first, and"
      f" none of {', '.join(RESERVED)}"
    )
  settings = resolve(config, overrides, name=name)
  if settings["data"].get("cache") == "":
    overrides["data.cache"] = settings["data"]["cache"] = str(output / CACHE)
  return SweepRun(name, settings["seed"], config, overrides, settings, output)


def make_evaluation(entry: Any) -> Evaluation:
  """An entry of `get_evaluations` -> an evaluation; checks all that needs no model."""
  if not isinstance(entry, dict) or "suite" not in entry or set(entry) - set(EVALUATION):
    raise UserError(f"the evaluation {entry!r}: expected a suite, and of {', '.join(EVALUATION)}")
  rest = dict(entry)
  suite, settings = rest.pop("suite"), rest.pop("settings", {})
  name, step = rest.pop("name", suite), str(rest.get("step", "newest"))
  known = evals.settings_of(suite)
  if not isinstance(settings, dict) or not (step in ("newest", "best") or step.isdecimal()):
    raise UserError(
      f"the evaluation {name!r}: expected settings as a dict, and step newest, best or a number:"
      f" {entry!r}"
    )
  for key, value in settings.items():
    if key not in known or type(value) is not type(known[key]):
      raise UserError(
        f"the evaluation {name!r}: {suite} has no setting {key}={value!r}: it takes, with values of"
        f" these types, {', '.join(f'{k}={v!r}' for k, v in known.items()) or 'none'}"
      )
  if not isinstance(name, str) or not name or set(name) & set("/:") or name.startswith("."):
    raise UserError(f"an evaluation cannot be called {name!r}: it names a file, and has no : or /")
  if "data" not in rest and suite not in evals.ON_HELD_OUT:
    raise UserError(f"the evaluation {name!r} needs 'data', the folder of {suite}")
  if "data" in rest and not epath.Path(rest["data"]).is_dir():
    raise UserError(f"the evaluation {name!r}: data={rest['data']!r} is no folder")
  return Evaluation(name, suite, settings, rest)


def check_columns(columns: Mapping[Any, Any], evaluations: Sequence[Evaluation]) -> None:
  """Titles and keys are strings, and an evaluation that a key names is there."""
  names = [each.name for each in evaluations]
  for title, key in columns.items():
    if not isinstance(title, str) or not isinstance(key, str) or not title or not key.strip("-"):
      raise UserError(f"the column {title!r}: {key!r}: expected a title and the key of a metric")
    name, colon, _ = key.removeprefix("-").partition(":")
    if colon and name not in names:
      raise UserError(
        f"the column {title!r}: {key}: no evaluation is called {name!r}, only"
        f" {', '.join(names) or 'none at all'}"
      )


def refuse_other(run: SweepRun) -> None:
  """Raises UserError where the run's folder holds one of another config."""
  for folder in (run.workdir, run.failed):
    if not (folder / "config.json").exists():
      continue
    settings = json.loads(json.dumps(run.settings))
    if settings.get("init_from"):  # then the checkpoint has the last word on the model
      settings["model"] = layout.read_config(folder).get("model", {})
    try:
      layout.refuse_other(folder, settings)
    except UserError as error:
      raise UserError(f"{error}; in a sweep, another name or --output") from error


def share(runs: Sequence[SweepRun], shard: str) -> list[SweepRun]:
  """The runs of one machine, `I/N` with I from 1 to N: every N-th from the I-th on."""
  index, _, count = shard.partition("/")
  if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
    raise UserError(f"--shard={shard}: expected I/N with I from 1 to N, e.g. 1/4")
  return list(runs[int(index) - 1 :: int(count)])


def train_command(run: SweepRun) -> list[str]:
  """The arguments of `python` that train a run, or resume it."""
  config, *overrides = config_flags_of(run.config, run.overrides)
  return ["-m", "dap_jax.train", config, f"--workdir={run.workdir}", *overrides]


def evaluate_command(run: SweepRun, evaluation: Evaluation) -> list[str]:
  """The arguments of `python` that evaluate a trained run; its `scores` folder must be there."""
  settings = [f"--{name}={value}" for name, value in evaluation.flags.items()]
  settings += [f"--setting={name}={value}" for name, value in evaluation.settings.items()]
  where = [f"--model={run.workdir}", f"--suite={evaluation.suite}"]
  return ["-m", "dap_jax.evaluate", *where, *settings, f"--output={run.scores(evaluation)}"]
