"""metrics.jsonl, the records of a run: one JSON object a line, each with its `step`.

Only this module parses the file, so there is one rule for a run that is being written or was killed
while it wrote: a line counts once its line end is there. What follows the last line end is no
record, and the next start of the run removes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

from dap_jax.utils.atomic import replacing
from dap_jax.utils.errors import UserError, cause

FILE = "metrics.jsonl"
Record = dict[str, Any]  # metric -> number, `step` among them


def is_score(name: str) -> bool:
  """Whether a metric is of an evaluation: `eval/SUITE/METRIC`."""
  return name.startswith("eval/")


def read_records(workdir: epath.PathLike) -> list[Record]:
  """All records of a run, oldest first; none where there is no file.

  Raises:
    UserError: the file cannot be read, or a line of it is no JSON object with a step.
  """
  return [record for _, record in stream_lines(workdir)]


def scores_at(workdir: epath.PathLike, step: int) -> dict[str, float]:
  """The scores of the evaluations at a step; empty where it was not evaluated. Errors as above."""
  return {
    name: value
    for _, record in stream_lines(workdir)
    if record["step"] == step
    for name, value in record.items()
    if is_score(name)
  }


def stream_lines(workdir: epath.PathLike) -> Iterator[tuple[str, Record]]:
  """Each line with its line end, and the record in it; read as they are asked for."""
  path = epath.Path(workdir) / FILE
  if not path.exists():
    return
  try:
    with path.open("rb") as file:
      for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
          return
        yield parse_line(line, where=f"{path}, line {number}")
  except OSError as error:
    raise UserError(f"cannot read {path}: {cause(error)}") from error


def parse_line(line: bytes, *, where: str) -> tuple[str, Record]:
  """A line as text, and its record. Raises UserError that begins with `where`."""
  try:
    text = line.decode("utf-8")
    record = json.loads(text)
    float(record["step"])
    if any(isinstance(value, str) for value in record.values()):
      raise ValueError("a text where a number should be")
  except UnicodeDecodeError as error:
    raise UserError(f"{where} is not UTF-8 ({error}); delete the line") from error
  except (ValueError, TypeError, KeyError, RecursionError) as error:
    raise UserError(
      f"{where} is no JSON object with a step ({error!r}); delete the line"
    ) from error
  return text, record


def append_record(workdir: epath.PathLike, record: Mapping[str, Any]) -> None:
  """Writes one more line. Raises OSError where it cannot be written."""
  with (epath.Path(workdir) / FILE).open("a") as file:
    file.write(json.dumps(record) + "\n")


def drop_records_after(workdir: epath.PathLike, step: int) -> None:
  """Keeps the records up to a step, for a run that goes on from there and writes the later ones.

  A kill leaves the old file or the new one.

  Raises:
    OSError: the file cannot be written.
    UserError: see `read_records`.
  """
  lines = [line for line, record in stream_lines(workdir) if record["step"] <= step]
  with replacing(epath.Path(workdir) / FILE) as temporary:
    temporary.write_text("".join(lines))
