"""The fuzzer itself: it repeats by number, reaches every kind of damage, reports every fault."""

import json
import random
import time

import pytest

from dap_jax.utils.errors import UserError
from tests import fuzzing

TREE = {"layers": 2, "names": ["a", {"b": None}], "rate": 0.5}
TEXT = json.dumps(TREE).encode()


@pytest.mark.parametrize("mutate", [fuzzing.damaged, fuzzing.damaged_json, fuzzing.damaged_lines])
def test_a_number_repeats_its_damage(mutate):
  copies = [mutate(TEXT, random.Random(number)) for number in range(50)]
  assert copies == [mutate(TEXT, random.Random(number)) for number in range(50)]
  assert len(set(copies)) > 40
  assert all(copy != TEXT for copy in copies[:5])


def test_values_of_json_are_replaced_removed_and_renamed():
  trees = []
  for number in range(400):
    try:
      trees.append(json.loads(fuzzing.damaged_json(TEXT, random.Random(number))))
    except ValueError:
      continue
  whole = [tree for tree in trees if isinstance(tree, dict)]
  assert any("layers" not in tree for tree in whole)
  assert any(tree.get("layers") == "" for tree in whole)
  assert any(set(tree) - set(TREE) for tree in whole)
  assert any(not isinstance(tree, dict) for tree in trees)


def read(data):
  """A reader with three faults: a KeyError, an endless wait, an error of two lines."""
  try:
    tree = json.loads(data)
  except (ValueError, RecursionError) as error:
    raise UserError("no JSON") from error
  if not isinstance(tree, dict):
    raise UserError("no object\nin two lines")
  if tree.get("rate") is None:
    time.sleep(0.5)
  return tree["layers"]


def test_faults_are_reported_with_the_number_that_repeats_them(monkeypatch):
  monkeypatch.setattr(fuzzing, "SECONDS", 0.02)
  with pytest.raises(AssertionError) as info:
    fuzzing.fuzz(read, TEXT, mutate=fuzzing.damaged_json, count=60)
  for word in ("KeyError at test_fuzzing.py", "seed=", "took", "lines: no object"):
    assert word in str(info.value)


def test_a_sound_reader_passes():
  def sound(data):
    if data[:1] != b"{":
      raise UserError("no object")

  outcomes = fuzzing.fuzz(sound, TEXT, count=100)
  assert set(outcomes) == {"result", "UserError"}
