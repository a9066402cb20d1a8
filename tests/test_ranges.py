"""Every number of a config has a range, and what is outside is one line before anything is read."""

import pytest

from configs import base
from dap_jax.training import selection
from dap_jax.utils.errors import UserError
from dap_jax.utils.trees import flatten, nest
from dap_jax.workdir import ranges

CONFIG = flatten(base.get_config().to_dict(), separator=".")
OBJECTIVES = [key for key in CONFIG if key.startswith("objectives.") and key.endswith(".weight")]
OF_NUMBERS = ("matryoshka_dimensions", "data.bucket_tokens")  # empty sequences of them
NUMBERS = [
  key
  for key, value in CONFIG.items()
  if isinstance(value, int | float) and not isinstance(value, bool) and key not in OBJECTIVES
]
# By hand: a value outside on each side that has a bound.
LOWER = {
  **dict.fromkeys(ranges.RANGES, -1),
  "objectives.translation_ranking.false_negative_margin": -2.1,
  "data.views": 1,
  "batch_size": 1,
  "max_tokens": 2,
  "teacher.max_tokens": 2,
  "tokenizer.vocabulary_size": 5,
  "tokenizer.sample_texts": 0,
  "data.max_line_bytes": 0,
  "mesh.data": 0,
  "mesh.fsdp": 0,
  "data.bucket_tokens": (8, 0),
  "matryoshka_dimensions": (0,),
}
UPPER = {
  **{key: 2**31 for key, of_key in ranges.RANGES.items() if of_key.whole and not of_key.each},
  **dict.fromkeys(("data.bucket_tokens", "matryoshka_dimensions"), (2**31,)),
  "seed": 2**32,
  "data.near_duplicates": 1.1,
  "model.dropout": 1.0,
  "optimizer.b1": 2,
  "optimizer.b2": 1.0,
  **{f"objectives.{name}.mask_ratio": 1.01 for name in ("masked_lm", "mexma")},
  "objectives.representation_translation.mask_ratio": 15,
  "objectives.mexma.mask_share": 1.5,
  "objectives.translation_ranking.false_negative_margin": 2.1,
}


def refused(key, value):
  """The line about a value."""
  config = nest({key.replace(".", "/"): value})
  with pytest.raises(UserError) as caught:
    ranges.check(config)
  assert str(caught.value).startswith(f"{key}={value!r}: expected ")
  return str(caught.value)


def test_every_number_of_the_base_config_has_a_range():
  assert len(NUMBERS) > 50
  assert [key for key in (*NUMBERS, *OF_NUMBERS) if key not in ranges.RANGES] == []
  ranges.check(base.get_config().to_dict())


def test_no_range_is_of_a_key_that_is_gone():
  """But for those of ModernBERT and of a Dense layer, which the base config does not list."""
  others = {f"model.encoder.{key}" for key in ("global_every", "window")}
  others |= {f"model.encoder.{key}" for key in ("global_theta", "local_theta")}
  assert set(ranges.RANGES) == {*NUMBERS, *OF_NUMBERS} | others


@pytest.mark.parametrize("key", ranges.RANGES)
def test_both_sides(key):
  """A value below, one above where there is a bound, no number, and what is no finite one."""
  refused(key, LOWER[key])
  if key in UPPER:
    refused(key, UPPER[key])
  else:
    assert ranges.RANGES[key].most is None
  for value in (float("nan"), float("inf"), "1", True, None, ("a",)):
    refused(key, value)
  if ranges.RANGES[key].whole and not ranges.RANGES[key].each:
    refused(key, 1.5)


def test_words():
  assert refused("steps", 0) == "steps=0: expected a whole number of 1 or more"
  assert refused("model.dropout", -0.1).endswith("expected a number of 0 or more and below 1")
  assert refused("optimizer.learning_rate", 0.0).endswith("expected a number above 0")
  assert refused("objectives.masked_lm.mask_ratio", 0).endswith("number above 0 and at most 1")
  assert refused("mesh.data", -2).endswith("expected a whole number of 1 or more, or -1")
  assert refused("data.bucket_tokens", ("a",)).endswith("expected whole numbers of 1 or more")


def test_the_bounds_themselves():
  """0 and 1 where they are inside."""
  for key in ("masked_lm.mask_ratio", "mexma.mask_ratio", "mexma.mask_share"):
    ranges.check({"objectives": nest({key.replace(".", "/"): 1.0})})
  ranges.check({"objectives": {"mexma": {"mask_share": 0}}, "model": {"dropout": 0}})
  ranges.check({"mesh": {"data": -1}, "matryoshka_dimensions": (), "seed": 2**32 - 1})


@pytest.mark.parametrize("key", OBJECTIVES)
@pytest.mark.parametrize("weight", [-1.0, float("nan"), "a", None, True, ((0, 1.0), (0, 2.0))])
def test_weights(key, weight):
  name = key.split(".")[1]
  with pytest.raises(UserError, match=rf"objectives\.{name}\.weight="):
    selection.is_on(weight, name=name)


def test_a_command_ends_before_anything_is_read(commands, tmp_path):
  """Status 1, one line, no workdir."""
  flags = commands.train_flags(tmp_path / "run", "--config.optimizer.learning_rate=-0.1")
  line = commands.fail(*flags, "--config.data.arguments.folder=/no/such/folder")
  assert line == "error: optimizer.learning_rate=-0.1: expected a number above 0"
  assert not (tmp_path / "run").exists()
