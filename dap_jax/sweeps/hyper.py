"""The runs of a sweep, as lists of settings: what a sweep file builds them from.

A sweep file is Python with up to three functions. FILE:ARG on the command line calls each of them
with the string ARG, FILE alone without an argument.

    from dap_jax.sweeps import hyper

    def get_hyper(data="corpus"):  # the runs
      systems = hyper.system("tr", f"configs/tr.py:{data}")
      systems += hyper.system("dap", f"configs/dap.py:{data}", {"decoder.layers": 4})
      rates = hyper.sweep("optimizer.learning_rate", [1e-3, 2e-3])
      return hyper.product([systems, rates, hyper.seeds(3)])  # 2 x 2 x 3 = 12 runs

    def get_evaluations(data="corpus"):  # optional: flags of dap_jax.evaluate, for every run
      return [{"suite": "tatoeba", "data": f"{data}/tatoeba", "max_tokens": 32},
              {"suite": "bucc", "data": f"{data}/bucc", "settings": {"margin": "distance"}}]

    def get_columns(data="corpus"):  # optional: title -> key; a minus sign: smaller is better
      return {"to English": "eval/retrieval/to_pivot_accuracy", "loss": "-loss",
              "Tatoeba-36": "tatoeba:to_english_accuracy/36", "pairs/s": "pairs_per_second"}

A run is a dict: `name`, of its system; `config`, a config file with or without an argument; and
keys of that config with their values. Here the names are `tr,learning_rate=0.001` and so on, and
each system has the seeds 0, 1, 2. `sweep`, `zipit` and `product` are called as in other projects
whose configs have a `get_hyper`; lists are joined with +.

An evaluation may have `step` (newest, best, a number) and `name`, by which columns refer to it,
where that is not its suite. A column's key is one of metrics.jsonl, or NAME:METRIC of an
evaluation, without the `eval/SUITE/` of its JSON file.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from dap_jax.utils.errors import UserError

Settings = dict[str, Any]  # of one run


def system(name: str, config: str, overrides: Mapping[str, Any] | None = None) -> list[Settings]:
  """One run: a config file, `FILE` or `FILE:ARGUMENT`, with some of its keys changed."""
  return [{"name": name, "config": config, **(overrides or {})}]


def sweep(key: str, values: Sequence[Any]) -> list[Settings]:
  """One run for each value of a config's key. Its last part and the value become the name."""
  last = key.split(".")[-1]
  return [{"name": f"{last}={label(value)}", key: value} for value in values]


def label(value: Any) -> str:
  """A value in a name: without spaces; of a path the last part."""
  return str(value).replace(" ", "").rstrip("/").split("/")[-1]


def seeds(number: int) -> list[Settings]:
  """The seeds 0, 1, ..., which are no part of the name: a table's row is the mean over them."""
  return [{"seed": seed} for seed in range(number)]


def product(factors: Sequence[Sequence[Settings]]) -> list[Settings]:
  """Every combination of one run from each list, the last list fastest."""
  return [merge(chosen) for chosen in itertools.product(*factors)]


def zipit(lists: Sequence[Sequence[Settings]]) -> list[Settings]:
  """The first of each list together, the second of each, and so on."""
  lengths = [len(each) for each in lists]
  if len(set(lengths)) > 1:
    raise UserError(f"zipit: the lists have {lengths} runs: expected equally many")
  return [merge(chosen) for chosen in zip(*lists, strict=True)]


def merge(parts: Sequence[Settings]) -> Settings:
  """Settings of several as those of one run; names are joined by commas."""
  merged: Settings = {}
  for part in parts:
    for key, value in part.items():
      if key != "name" and key in merged:
        raise UserError(f"{key} is set to {merged[key]!r} and to {value!r} in one run: set it once")
      merged[key] = f"{merged['name']},{value}" if key in merged else value
  return merged
