"""Time and memory against pairs, from the results of `measure.py`, as one plot.

python -m benchmarks.scaling.plot --results=results.jsonl --output=docs/scaling.png
"""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Sequence

import altair as alt

from benchmarks import measuring

# Panel -> the lines in it: title -> (key of a result, divisor).
PANELS = {
  "minutes to prepare": {"preparing": ("prepare_seconds", 60)},
  "memory, GB": {
    "preparing": ("prepare_peak_bytes", 2**30),
    "training": ("train_peak_bytes", 2**30),
  },
}
COLOURS = {"preparing": "#1f6f8b", "training": "#d1495b"}


def points_of(results: Sequence[dict], panel: str) -> list[dict]:
  """A point a result and a line: pairs in millions, value, line."""
  return [
    {"pairs": result["pairs"] / 1e6, "value": result[key] / divisor, "line": line}
    for line, (key, divisor) in PANELS[panel].items()
    for result in results
  ]


def draw(results: Sequence[dict], panel: str) -> alt.LayerChart:
  """One panel: a line from point to point, named at its end."""
  points = points_of(results, panel)
  base = alt.Chart(alt.Data(values=points), width=300, height=220).encode(
    x=alt.X("pairs:Q", title="million pairs", scale=alt.Scale(zero=True)),
    y=alt.Y("value:Q", title=panel, scale=alt.Scale(zero=True)),
    color=alt.Color(
      "line:N",
      legend=alt.Legend(title=None, orient="top-left") if len(PANELS[panel]) > 1 else None,
      scale=alt.Scale(domain=[*COLOURS], range=[*COLOURS.values()]),
    ),
  )
  return base.mark_line() + base.mark_point(filled=True, size=60)


def main() -> None:
  parser = argparse.ArgumentParser(description="Time and memory against pairs.")
  parser.add_argument("--results", type=pathlib.Path, required=True, help="of measure.py")
  parser.add_argument("--output", type=pathlib.Path, required=True, help="a .png")
  flags = parser.parse_args()
  lines = flags.results.read_text(encoding="utf-8").splitlines()
  results = sorted(map(json.loads, lines), key=lambda result: result["pairs"])
  measuring.print_header("pairs", "pairs/s", *PANELS["memory, GB"])
  for result in results:
    memory = (f"{result[key] / size:.2f}" for key, size in PANELS["memory, GB"].values())
    speed = result["pairs"] / result["prepare_seconds"]
    measuring.print_row(f"{result['pairs']:,}", f"{speed:,.0f}", *memory)
  chart = alt.hconcat(*(draw(results, panel) for panel in PANELS)).resolve_scale(
    color="independent"
  )
  chart.configure_axis(grid=True, gridOpacity=0.5).save(flags.output, scale_factor=2)


if __name__ == "__main__":
  main()
