"""The one parser of metrics.jsonl: what counts as a record, and what is damage."""

import pytest

from dap_jax.training.metric_writer import was_evaluated
from dap_jax.utils.errors import UserError
from dap_jax.workdir import records


def test_a_run_without_the_file_has_no_records(tmp_path):
  assert records.read_records(tmp_path) == []
  assert records.scores_at(tmp_path, 1) == {}
  assert not was_evaluated(tmp_path, 1)


@pytest.mark.parametrize(
  "unfinished",
  [
    b'{"step": 2, "lo',
    b'{"step": 2, "loss": 1.5}',  # nothing is missing but the line end
    '{"step": 2, "λ'.encode()[:-1],  # a character's first byte
    b"\0\0\0",  # what some file systems leave of a crash
  ],
)
def test_what_follows_the_last_line_end_is_no_record(tmp_path, unfinished):
  """A run is writing it, or was killed while it did; the next start removes it."""
  path = tmp_path / "metrics.jsonl"
  path.write_bytes(b'{"step": 1, "loss": 2.0}\n' + unfinished)
  assert records.read_records(tmp_path) == [{"step": 1, "loss": 2.0}]
  records.drop_records_after(tmp_path, 5)
  assert path.read_text() == '{"step": 1, "loss": 2.0}\n'
  records.append_record(tmp_path, {"step": 2, "loss": 1.5})
  assert path.read_text() == '{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.5}\n'


def test_half_a_last_line_of_the_records_is_left_out(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
  assert records.read_records(tmp_path) == [{"step": 1, "loss": 2.0}]
  for damage in ('{"step": 1', "5", '{"loss": 2.0}', '{"step": "one"}', ""):
    path.write_text(f'{damage}\n{{"step": 2}}\n')
    with pytest.raises(UserError, match="line 1 is no JSON object with a step") as error:
      records.read_records(tmp_path)
    assert str(error.value).startswith(str(path))
  path.write_bytes(b'{"step": 1}\n\xff\n')
  with pytest.raises(UserError, match="metrics.jsonl, line 2 is not UTF-8"):
    records.read_records(tmp_path)


def test_a_damaged_line_is_never_overwritten(tmp_path):
  """Whoever resumes such a run is told of the line; the file stays as it is."""
  path = tmp_path / "metrics.jsonl"
  text = '{"step": 1}\n{"step": 2, "lo\n{"step": 3}\n'
  path.write_text(text)
  with pytest.raises(UserError, match="line 2 is no JSON object"):
    records.drop_records_after(tmp_path, 3)
  assert path.read_text() == text


def test_the_scores_of_a_step_come_from_all_its_lines(tmp_path):
  lines = [
    {"step": 5, "loss": 1.0},
    {"step": 5, "eval/retrieval/to_pivot_accuracy": 0.5},
    {"step": 5, "eval/sts/spearman": 70.0, "evaluated": 1},
    {"step": 6, "eval/sts/spearman": 71.0},
  ]
  for line in lines:
    records.append_record(tmp_path, line)
  expected = {"eval/retrieval/to_pivot_accuracy": 0.5, "eval/sts/spearman": 70.0}
  assert records.scores_at(tmp_path, 5) == expected
  assert was_evaluated(tmp_path, 6) and not was_evaluated(tmp_path, 7)
  records.drop_records_after(tmp_path, 5)
  assert records.read_records(tmp_path) == lines[:3]
