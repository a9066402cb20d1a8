"""Config sections as keyword arguments: which keys are known, shared, unknown or missing."""

import functools

import pytest

from dap_jax.utils.binding import bind, bind_each, keys_of
from dap_jax.utils.errors import UserError


def read(folder, *, pivot, languages):
  return folder, pivot, languages


def write(*, pivot, rows):
  return pivot, rows


def test_a_section_becomes_keyword_arguments():
  bound = bind(read, {"languages": ("de",)}, where="data", pivot="en")
  assert bound("x") == ("x", "en", ("de",))


def test_each_function_gets_the_keys_that_it_knows():
  section = {"pivot": "en", "languages": ("de",)}
  reader, writer = bind_each([read, functools.partial(write, rows=3)], section, where="data")
  assert reader("x") == ("x", "en", ("de",))
  assert writer() == ("en", 3)


def test_what_a_partial_has_filled_is_no_key():
  assert keys_of(write) == {"pivot", "rows"}
  assert keys_of(functools.partial(write, rows=3)) == {"pivot"}
  assert keys_of(functools.partial(read, "x")) == {"pivot", "languages"}


def test_unknown_and_missing_keys():
  with pytest.raises(UserError, match=r"unknown config key data\.row: known are languages, pivot$"):
    bind(read, {"pivot": "en", "languages": (), "row": 1}, where="data")
  with pytest.raises(UserError, match=r"data\.row: known are languages, pivot, rows$"):
    bind_each([read, write], {"row": 1}, where="data")
  with pytest.raises(UserError, match=r"config key data\.rows is missing"):
    bind_each([read, write], {"pivot": "en", "languages": ()}, where="data")
  with pytest.raises(UserError, match=r"unknown config key data\.pivot"):  # it is no setting here
    bind(write, {"pivot": "en", "rows": 1}, where="data", pivot="de")
