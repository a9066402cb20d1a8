"""The arguments of the data's format on the command line, beside those of the config."""

import pytest

from dap_jax.cli import data_arguments
from dap_jax.sweeps import overrides

CONFIG = "--config=configs/finetune_pairs.py:mine.tsv"  # tsv, with paths=('mine.tsv',)
KEY = "--config.data.arguments"


@pytest.mark.parametrize(
  ("flags", "expected"),
  [
    # The cures that a file without languages in its name, and one with scores, are told.
    ([f"{KEY}.languages=('de', 'en')"], {"paths": ("mine.tsv",), "languages": ("de", "en")}),
    ([f"{KEY}.columns=(2, 3)"], {"paths": ("mine.tsv",), "columns": (2, 3)}),
    (["--config.data.format=tsv", f"{KEY}.quoted=True"], {"paths": ("mine.tsv",), "quoted": True}),
    (["--config.data.format=csv", f"{KEY}.paths=a.csv"], {"paths": "a.csv"}),
    ([f"{KEY}.paths=other.tsv"], {"paths": ("other.tsv",)}),
    ([f"{KEY}={{'paths': 'a.tsv'}}", f"{KEY}.quoted=True"], {"paths": "a.tsv", "quoted": True}),
  ],
)  # fmt: skip
def test_arguments_join_those_of_the_config(flags, expected):
  line = ["prepare", CONFIG, *flags, "--config.steps=3"]
  *others, flag, last = data_arguments.joined(line)
  assert flag == f"{KEY}={expected!r}" and last == "--config.steps=3"
  assert others == [word for word in line[:-1] if KEY not in word]


@pytest.mark.parametrize(
  "line",
  [
    ["prepare", CONFIG, "--config.data.format=tsv"],
    ["prepare", CONFIG, f"{KEY}=5"],  # no arguments: the parser of the flags tells so
    ["embed", "--model=x"],
  ],
)
def test_other_lines_stay_as_they_are(line):
  assert data_arguments.joined(line) == line


def test_a_config_that_cannot_be_read_is_left_to_the_parser():
  line = ["prepare", "--config=no_such", f"{KEY}.columns=(2, 3)"]
  assert data_arguments.joined(line) == [*line[:2], f"{KEY}={{'columns': (2, 3)}}"]


def test_a_sweep_sets_arguments_that_its_config_does_not_name():
  changed = {"data.arguments.columns": [2, 3], "data.arguments.paths": ["other.tsv"]}
  settings = overrides.resolve("configs/finetune_pairs.py", changed, name="sweep")
  assert settings["data"]["arguments"] == {"paths": ["other.tsv"], "columns": [2, 3]}
