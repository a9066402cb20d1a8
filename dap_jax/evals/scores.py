"""How scores are named, and shown on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def full_name(suite: str, settings: Mapping[str, Any]) -> str:
  """A suite with the settings that are not its default ones: `bucc[margin=distance]`.

  Of a path the last part; a list's commas become plus signs.
  """
  said = {name: str(value).split("/")[-1] for name, value in sorted(settings.items())}
  inside = ",".join(f"{name}={value.replace(',', '+')}" for name, value in said.items())
  return f"{suite}[{inside}]" if inside else suite


def table(columns: Mapping[str, Mapping[str, float]], rows: Sequence[str]) -> str:
  """Lines of text: a row a name, a column a metric; - where a row has no such figure."""
  width = max(12, *(len(row) + 2 for row in rows))
  cell = f"{{:>{max(11, *(len(title) + 2 for title in columns))}}}"
  lines = [" " * width + "".join(map(cell.format, columns))]
  for row in rows:
    cells = (f"{column[row]:.3f}" if row in column else "-" for column in columns.values())
    lines.append(f"{row:{width}}" + "".join(map(cell.format, cells)))
  return "\n".join(lines)


def protocol_line(protocol: Mapping[str, Any]) -> str:
  """What figures mean, in one line."""
  said = (f"{key} {value}" for key, value in protocol.items() if value not in ("", None))
  return "; ".join(said)
