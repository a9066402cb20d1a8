"""The names of scores, and how they are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def full_name(suite: str, settings: Mapping[str, Any]) -> str:
  """A suite with the settings that differ from its defaults: `bucc[margin=distance]`.

  A path is shortened to its last part; commas of a list become plus signs.
  """
  short = {name: str(value).split("/")[-1] for name, value in sorted(settings.items())}
  inside = ",".join(f"{name}={value.replace(',', '+')}" for name, value in short.items())
  return f"{suite}[{inside}]" if inside else suite


def table(columns: Mapping[str, Mapping[str, float]], rows: Sequence[str]) -> str:
  """A table as text, a line a row; - where a row has no value in a column."""
  width = max(12, *(len(row) + 2 for row in rows))
  cell = f"{{:>{max(11, *(len(title) + 2 for title in columns))}}}"
  lines = [" " * width + "".join(map(cell.format, columns))]
  for row in rows:
    cells = (f"{column[row]:.3f}" if row in column else "-" for column in columns.values())
    lines.append(f"{row:{width}}" + "".join(map(cell.format, cells)))
  return "\n".join(lines)


def protocol_line(protocol: Mapping[str, Any]) -> str:
  """A protocol in one line, without empty values."""
  return "; ".join(f"{key} {value}" for key, value in protocol.items() if value not in ("", None))
