"""Files that appear whole or not at all."""

import pathlib

import numpy as np
import pytest
from etils import epath

from dap_jax.utils.atomic import replacing


@pytest.mark.parametrize("kind", [pathlib.Path, epath.Path])
def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, kind):
  path = kind(tmp_path) / "a.json"
  path.write_text("old")
  with replacing(path) as temporary:
    temporary.write_text("new")
    assert path.read_text() == "old"
  assert path.read_text() == "new"
  assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_failure_changes_nothing_and_leaves_nothing(tmp_path):
  path = tmp_path / "a.json"
  path.write_text("old")
  with pytest.raises(KeyError), replacing(path) as temporary:
    temporary.write_text("half")
    raise KeyError
  assert path.read_text() == "old"
  assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_numpy_finds_its_suffix(tmp_path):
  with replacing(tmp_path / "rows.npz") as temporary:
    np.savez(temporary, rows=np.arange(3))
  assert np.load(tmp_path / "rows.npz")["rows"].tolist() == [0, 1, 2]
