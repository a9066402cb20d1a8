"""The scorer of XTREME on damaged files of every kind: scores or one line, never anything else.

DAP_JAX_FUZZ=10000 python -m pytest tests/test_fuzz_xtreme.py -s
"""

import math

import pytest

from dap_jax.evals.xtreme import tasks
from dap_jax.evals.xtreme.scoring import score
from tests import xtreme_folders
from tests.fuzzing import damaged, damaged_json, fuzz

KINDS = ("labels", "predictions")
CASES = [
  (task, kind)
  for task in ("xnli", "udpos", "panx", "mlqa", "xquad", "bucc2018", "tatoeba")
  for kind in KINDS
]


@pytest.mark.parametrize(("task", "kind"), CASES)
def test_a_damaged_file_is_scores_or_one_line(tmp_path, task, kind):
  xtreme_folders.write(tmp_path, task)
  code = tasks.TASKS[task].languages[0]
  paths = tuple(tasks.file_of(tmp_path / name, task, code) for name in KINDS)
  place = paths[KINDS.index(kind)]

  def read(data):
    place.write_bytes(data)
    scores = score.score_language(task, code, paths=paths)
    assert all(math.isfinite(value) and 0 <= value <= 100 + 1e-9 for value in scores)

  read.__name__ = f"{task} {kind}"
  original = place.read_bytes()
  read(original)  # whole, it is scored
  is_json = place.suffix == ".json"
  fuzz(read, original, count=100, mutate=damaged_json if is_json else damaged)
