"""Configs of older versions: keys that were renamed, one line says so, and keys that were added."""

import json

from dap_jax.utils.old_configs import flag_with_new_name, with_current_keys
from dap_jax.workdir import layout

LATER = {
  "guard": ["eval_suites"],
  "max_line_bytes": 1 << 20,
  "rules_for": {},
  "near_duplicates": 0.0,
}  # keys of `data`
NO_PROMPTS = {"texts": {"query": "", "document": ""}, "pivot": "", "translation": "", "default": ""}
NEW = {"prompts": NO_PROMPTS, "eval_at_start": False}  # at the top level


def test_an_old_config_has_the_last_word(caplog):
  config = {"data": {"renderings": 4, "views": 2, "pivot": "en"}, "seed": 1}
  data = {"views": 4, "pivot": "en"} | LATER
  assert with_current_keys(config) == {"data": data, "seed": 1} | NEW
  assert "config key data.renderings is called data.views now" in caplog.text
  assert config["data"] == {"renderings": 4, "views": 2, "pivot": "en"}  # a copy was changed


def test_new_configs_pass_in_silence(caplog):
  config = {"data": {"views": 2} | LATER | {"guard": []}, "model": {}} | NEW
  assert with_current_keys(config) == config
  assert with_current_keys({"seed": 0}) == {"seed": 0} | NEW
  assert caplog.text == ""


def test_a_key_that_came_later_has_the_value_of_before():
  assert with_current_keys({"decoder": {"layers": 2}})["decoder"]["start"] == "source"
  assert with_current_keys({"decoder": {"layers": 2, "start": "random"}})["decoder"]["start"] == (
    "random"
  )
  ranking = with_current_keys({"objectives": {"translation_ranking": {"weight": 1.0}}})
  assert ranking["objectives"]["translation_ranking"]["false_negatives"] == "text"
  assert with_current_keys({"decoder": {}}) == {"decoder": {}} | NEW  # fine-tuning has no decoder


def test_flags():
  assert flag_with_new_name("--config.data.renderings=3") == "--config.data.views=3"
  assert flag_with_new_name("--config.data.renderings") == "--config.data.views"
  assert flag_with_new_name("--config.data.views=3") == "--config.data.views=3"


def test_a_workdir_of_version_0_1(tmp_path):
  data = {"renderings": 3, "pivot": "en"}
  config = {"data": data, "model": {}, "max_tokens": 16, "steps": 2}
  (tmp_path / "config.json").write_text(json.dumps(config))
  read = layout.read_config(tmp_path)["data"]
  assert read == {"views": 3, "pivot": "en"} | LATER


def test_the_flag_reaches_the_config(commands, tmp_path):
  """It would be refused before `steps` is looked at, had the config no such key."""
  flags = ("--config.data.renderings=2", "--config.steps=0")
  output = commands.fail(*commands.train_flags(tmp_path / "run", *flags))
  assert "steps=0: expected a whole number of 1 or more" in output
