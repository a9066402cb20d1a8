"""The plot of a sweep: a panel a column, a row a system, a point a seed and the mean."""

from __future__ import annotations

import os
from pathlib import Path

import altair as alt

from dap_jax.sweeps.results import Results, is_lower_better

POINT, MEAN, QUIET, LINES = "#1c97ff", "#16191d", "#535b66", "#dfe3e8"
PANELS_ABREAST = 2
WIDTH, PITCH = 340, 26  # pixels: of a panel, from one system to the next


def draw(results: Results, output: Path) -> None:
  """Writes plot.svg and plot.png, unless the sweep has no figures yet."""
  titles = [title for title in results.plan.columns if any(title in v for v in results.values)]
  if not titles:
    return
  panels = [panel(results, title) for title in titles]
  rows = [
    alt.hconcat(*panels[i : i + PANELS_ABREAST], spacing=40)
    for i in range(0, len(panels), PANELS_ABREAST)
  ]
  subtitle = alt.TitleParams(
    "A point a seed, a bar their mean", fontSize=12, fontWeight="normal", offset=20
  )
  chart = alt.vconcat(*rows, spacing=32, title=subtitle).configure(
    font="sans-serif",
    background="white",
    padding=16,
    view=alt.ViewConfig(stroke=None),
    axis=alt.Axis(labelFontSize=12, labelColor=QUIET, gridColor=LINES, domain=False, ticks=False),
    axisY=alt.Axis(labelLimit=320, labelPadding=8, labelColor=MEAN),
    title=alt.TitleConfig(anchor="start", fontSize=14, offset=10, color=MEAN),
  )
  kinds: dict[str, dict[str, int]] = {"svg": {}, "png": {"ppi": 144}}
  for kind, options in kinds.items():
    temporary = output / f".plot.{os.uname().nodename}.{os.getpid()}.{kind}"
    chart.save(temporary, format=kind, **options)
    temporary.replace(output / f"plot.{kind}")


def panel(results: Results, title: str) -> alt.LayerChart | alt.FacetChart:
  """One column of the table."""
  pairs = zip(results.plan.runs, results.values, strict=True)
  points = [
    {"system": run.system, "value": figures[title]} for run, figures in pairs if title in figures
  ]
  cells = {system: results.cell(system, title) for system in results.systems}
  means = [{"system": name, "value": cell.mean} for name, cell in cells.items() if cell.values]
  missing = [{"system": name} for name, cell in cells.items() if not cell.values]
  x = alt.X(
    "value:Q",
    title=None,
    scale=alt.Scale(zero=False, padding=12),
    axis=alt.Axis(tickCount=5, labelFlush=False),
  )
  y = alt.Y("system:N", title=None, scale=alt.Scale(domain=results.systems))
  layers = [
    alt.Chart(alt.InlineData(means)).mark_tick(thickness=3, size=18, color=MEAN, opacity=1),
    alt.Chart(alt.InlineData(points)).mark_point(filled=True, size=55, opacity=0.75, color=POINT),
  ]
  layers = [layer.encode(x=x, y=y) for layer in layers]
  words = alt.Chart(alt.InlineData(missing)).mark_text(align="left", color=QUIET, fontSize=12)
  if missing:
    layers.append(words.encode(x=alt.value(6), y=y, text=alt.value("missing")))
  smaller = " (smaller is better)" if is_lower_better(results.plan, title) else ""
  return alt.layer(*layers).properties(
    width=WIDTH, height=PITCH * len(results.systems), title=f"{title}{smaller}"
  )
