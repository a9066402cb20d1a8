"""Table 5 and Figures 3 and 4 of DAP (arXiv 2305.09148) at small scale, as one plot.

    python -m benchmarks.systems.rtl_plot --sweep=runs/systems/rtl --output=docs/rtl.png

Reads SWEEP/runs.csv of `sweep.py:rtl`. Three panels: RTL's direction, its mask ratio, and K, the
layers of its decoder; of each run the mean of both directions of a retrieval. Prints the points.
"""

from __future__ import annotations

import argparse
import csv
import pathlib
import re
from collections.abc import Mapping, Sequence

import altair as alt

from benchmarks import measuring

NAME = re.compile(r"K=(\d), ratio ([\d.]+), (.+)")  # of `sweep.py`
SETS = {
  "held-out": ("held-out xx->en", "held-out en->xx"),
  "Tatoeba-36": ("Tatoeba-36 xx->en", "Tatoeba-36 en->xx"),
}
PAPER = {"layers": 2, "ratio": 1.0, "direction": "to English"}
PANELS = {
  "direction": ("RTL's direction", ["to English", "from English", "both"]),
  "ratio": ("mask ratio", [0.2, 0.4, 0.6, 0.8, 1.0]),
  "layers": ("layers of the decoder, K", [1, 2, 3, 4]),
}


def read_points(path: pathlib.Path) -> list[dict]:
  """A point a run and a set: layers, ratio, direction, set, accuracy in percent."""
  points = []
  for line in csv.DictReader(path.open(encoding="utf-8")):
    if not line[SETS["held-out"][0]]:
      raise SystemExit(f"{path}: the run {line['system']!r} is not complete")
    name_parts = NAME.fullmatch(line["system"])
    if name_parts is None:
      raise SystemExit(f"{path}: {line['system']!r} is no run of `sweep.py:rtl`")
    layers, ratio, direction = name_parts.groups()
    settings = {"layers": int(layers), "ratio": float(ratio), "direction": direction}
    for name, columns in SETS.items():
      accuracy = 50 * sum(float(line[column]) for column in columns)
      points.append({**settings, "set": name, "accuracy": accuracy})
  return points


def panel(points: Sequence[Mapping], changed: str) -> alt.LayerChart:
  """The runs that differ from the paper's choice in one setting."""
  title, values = PANELS[changed]
  shown = [
    point
    for point in points
    if all(point[key] == value for key, value in PAPER.items() if key != changed)
  ]
  x = alt.X(f"{changed}:O", title=title, sort=values, axis=alt.Axis(labelAngle=0))
  y = alt.Y("accuracy:Q", title="accuracy, %", scale=alt.Scale(zero=False, padding=12))
  color = alt.Color(
    "set:N",
    title=None,
    scale=alt.Scale(domain=list(SETS), range=["#1c97ff", "#d1495b"]),
    legend=alt.Legend(orient="top"),
  )
  base = alt.Chart(alt.InlineData(shown), width=230, height=200).encode(x=x, y=y, color=color)
  marks = base.mark_point(filled=True, size=60, opacity=1)
  return alt.layer(marks) if changed == "direction" else base.mark_line(strokeWidth=1.5) + marks


def main() -> None:
  parser = argparse.ArgumentParser(description="Plots a sweep of RTL's settings.")
  parser.add_argument("--sweep", type=pathlib.Path, required=True, help="the sweep's output")
  parser.add_argument("--output", required=True, help="where the plot goes, .png or .svg")
  flags = parser.parse_args()
  points = read_points(flags.sweep / "runs.csv")
  chart = alt.hconcat(*(panel(points, changed) for changed in PANELS), spacing=32)
  chart = chart.resolve_scale(y="shared")
  chart = chart.configure(font="sans-serif", background="white", padding=16)
  chart = chart.configure_axis(
    labelFontSize=12, titleFontSize=12, titleFontWeight="normal", gridColor="#dfe3e8"
  )
  chart.save(flags.output, ppi=144)
  measuring.print_header("layers", "mask ratio", "direction", "set", "accuracy, %")
  for point in points:
    *settings, accuracy = point.values()
    measuring.print_row(*settings, f"{accuracy:.1f}")


if __name__ == "__main__":
  main()
