"""The charts, as Vega-Lite specifications made with Altair.

Their colours are CSS variables of page.css, so that they follow the reader's theme, and their data
are CSV, a third of what JSON would take. page.js draws them as wide as their place;
`languageName` and `languageLabel` in expressions are functions of it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt
import numpy as np

from dap_jax.report_page.heldout import FEW, Heldout, Pairs, Plane, Similarities

COLORS = [f"var(--c{i})" for i in range(1, 9)]  # distinct for every kind of colour vision
OTHER = "var(--other)"
SHADES = [f"var(--q{i})" for i in range(10)]  # of a share: 0 to 0.1, ..., 0.9 to 1
SCRIPTS = 7  # that have a colour of their own
BAR_PITCH = 19  # pixels from one language's bar to the next
SHAPES = {"circle": "●", "square": "■", "triangle-up": "▲"}
# The kinds of `Similarities`, their colours and names.
SIMILARITIES = {
  "true": (COLORS[0], "true pairs"),
  "hardest": (COLORS[1], "hardest negatives"),
  "other": (OTHER, "all other sentences"),
}
INK, QUIET, LINES = "var(--ink)", "var(--quiet)", "var(--lines)"
PERCENT_AXIS = alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1])
LANGUAGE_AXIS = alt.Axis(
  labelExpr="languageLabel(datum.label)",
  labelLimit=165,
  labelFontSize=11,
  minExtent=165,  # the same in all charts, so that their bars begin at one line
  ticks=False,
  domain=False,
)

Spec = dict[str, Any]


class Line(NamedTuple):
  """A curve: the run's number, what it shows, its (step, value) points."""

  run: int
  series: str
  points: Sequence[tuple[float, float]]


def table(columns: Mapping[str, Iterable[Any]]) -> alt.InlineData:
  """Chart data: columns of equal length, as CSV."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(columns)
  writer.writerows(zip(*columns.values(), strict=True))
  return alt.InlineData(values=text.getvalue(), format=alt.CsvDataFormat(type="csv"))


def finish(chart: alt.Chart | alt.LayerChart, *, height: float) -> Spec:
  """The specification of a chart as wide as its place; height in pixels."""
  axis: Spec = {"labelColor": QUIET, "titleColor": QUIET, "gridColor": LINES, "domainColor": LINES}
  axis |= {"tickColor": LINES, "labelFontSize": 12, "titleFontSize": 12}
  return (
    chart.properties(
      width="container",
      height=height,
      background="transparent",
      autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
    )
    .configure(
      view=alt.ViewConfig(stroke=None),
      axis=alt.Axis(titleFontWeight="normal", **axis),
      axisX=alt.Axis(labelPadding=6),
    )
    .to_dict()
  )


DASHES = ([1, 0], [5, 4], [1, 3])  # of the first series, of the second, of the third


def curves(lines: Sequence[Line], *, series: Sequence[str], share: bool) -> Spec:
  """Values against steps: a colour a run, a dash a series, of which there are up to three."""
  flat = [(str(line.run), line.series, *point) for line in lines for point in line.points]
  names = ("run", "series", "step", "value")
  data = table(dict(zip(names, zip(*flat, strict=True), strict=True)))
  runs = sorted({line.run for line in lines})
  colors = alt.Scale(domain=[str(run) for run in runs], range=run_colors(runs))
  axis = PERCENT_AXIS if share else alt.Axis(tickCount=5, format=".4~g")
  steps = alt.Axis(tickCount=4, grid=False, labelExpr="format(datum.value, '~s')")
  near = alt.selection_point(nearest=True, on="pointerover", fields=["step"], empty=False)
  base = alt.Chart(data).encode(
    x=alt.X("step:Q", title="step", axis=steps),
    y=alt.Y(
      "value:Q",
      title=None,
      axis=axis,
      scale=alt.Scale(domain=[0, 1]) if share else alt.Scale(zero=False),
    ),
    color=alt.Color("run:N", legend=None, scale=colors),
    detail="series:N",
  )
  tooltip = [alt.Tooltip("series:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".4~g")]
  few = min(len(line.points) for line in lines) <= 2  # one point alone makes no line
  curve = base.mark_line(strokeWidth=2, aria=False, point=few).encode(
    strokeDash=alt.StrokeDash(
      "series:N", legend=None, scale=alt.Scale(domain=series, range=DASHES[: len(series)])
    )
  )
  points = base.mark_point(size=50, filled=True, aria=False).encode(
    opacity=alt.condition(near, alt.value(1), alt.value(0)), tooltip=tooltip
  )
  return finish(curve + points.add_params(near), height=180)


def run_colors(runs: Sequence[int]) -> list[str]:
  """The colours of runs by their numbers."""
  return [COLORS[run % len(COLORS)] for run in runs]


def script_colors(script_of: Mapping[str, str]) -> dict[str, str]:
  """Script -> colour: the scripts of most languages have their own, the rest share one."""
  scripts = list(script_of.values())
  ranked = sorted(set(scripts), key=lambda script: (-scripts.count(script), script))
  return {
    script: COLORS[place] if place < SCRIPTS else OTHER for place, script in enumerate(ranked)
  }


def accuracy_bars(
  languages: Sequence[str],
  *,
  to_pivot: Mapping[str, float],
  from_pivot: Mapping[str, float],
  counts: Mapping[str, int],
  script_of: Mapping[str, str],
  colors: Mapping[str, str],
) -> Spec:
  """A bar a language, coloured by script: accuracy to the pivot; a tick for the other direction."""
  data = table(
    {
      "language": languages,
      "to": [to_pivot[code] for code in languages],
      "from": [from_pivot[code] for code in languages],
      "sentences": [counts[code] for code in languages],
      "script": [script_of[code] for code in languages],
      "color": [colors[script_of[code]] for code in languages],
    }
  )
  base = (
    alt.Chart(data)
    .transform_calculate(name="languageName(datum.language)")
    .encode(
      y=alt.Y(
        "language:N",
        sort=None,
        title=None,
        axis=LANGUAGE_AXIS,
      ),
      tooltip=[
        alt.Tooltip("name:N", title="language"),
        alt.Tooltip("script:N"),
        alt.Tooltip("to:Q", title="to the pivot", format=".1%"),
        alt.Tooltip("from:Q", title="from the pivot", format=".1%"),
        alt.Tooltip("sentences:Q", title="held-out sentences"),
      ],
    )
  )
  scale = alt.Scale(domain=[0, 1])
  bars = base.mark_bar(height=11, cornerRadiusEnd=2, aria=False).encode(
    x=alt.X("to:Q", title=None, scale=scale, axis=PERCENT_AXIS),
    color=alt.Color("color:N", scale=None),
    opacity=alt.condition(f"datum.sentences < {FEW}", alt.value(0.4), alt.value(1)),
  )
  ticks = base.mark_tick(thickness=2, height=15, color=INK, aria=False).encode(x="from:Q")
  return finish(bars + ticks, height=BAR_PITCH * len(languages))


def pair_map(pairs: Pairs) -> Spec:
  """Row = the query's language, column = the candidates', shade = accuracy."""
  shown = np.argwhere(pairs.shown())
  data = table(
    {
      "query": [pairs.languages[i] for i, _ in shown],
      "candidates": [pairs.languages[j] for _, j in shown],
      "accuracy": [f"{pairs.accuracy[i, j]:.3f}" for i, j in shown],
      "common": [pairs.common[i, j] for i, j in shown],
    }
  )
  axis: Spec = {"labelFontSize": 10, "labelOverlap": "greedy", "labelSeparation": 3}
  axis |= {"ticks": False, "domain": False}
  chart = (
    alt.Chart(data)
    .transform_calculate(
      from_name="languageName(datum.query)", to_name="languageName(datum.candidates)"
    )
    .mark_rect(aria=False)
    .encode(
      x=alt.X(
        "candidates:N",
        title="language of the candidates",
        scale=alt.Scale(domain=pairs.languages),
        axis=alt.Axis(labelAngle=-90, **axis),
      ),
      y=alt.Y(
        "query:N",
        title="language of the query",
        scale=alt.Scale(domain=pairs.languages),
        axis=alt.Axis(**axis),
      ),
      color=alt.Color(
        "accuracy:Q",
        legend=None,
        scale=alt.Scale(type="threshold", domain=[i / 10 for i in range(1, 10)], range=SHADES),
      ),
      tooltip=[
        alt.Tooltip("from_name:N", title="query"),
        alt.Tooltip("to_name:N", title="candidates"),
        alt.Tooltip("accuracy:Q", format=".1%"),
        alt.Tooltip("common:Q", title="sentences"),
      ],
    )
  )
  return finish(chart, height=400)


def histogram(similarities: Similarities) -> Spec:
  """How the cosines of true pairs, hardest negatives and all other sentences are distributed."""
  rows = [
    (name, edge, share)
    for name, shares in similarities.shares.items()
    for edge, share in zip(similarities.edges, [*shares, 0.0], strict=True)
  ]
  data = table(dict(zip(("kind", "cosine", "share"), zip(*rows, strict=True), strict=True)))
  colors = alt.Scale(domain=list(SIMILARITIES), range=[color for color, _ in SIMILARITIES.values()])
  chart = (
    alt.Chart(data)
    .mark_area(fillOpacity=0.25, line={"strokeWidth": 2}, interpolate="step-after", aria=False)
    .encode(
      x=alt.X("cosine:Q", scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=6, grid=False)),
      y=alt.Y("share:Q", title=None, stack=None, axis=alt.Axis(format="~%", tickCount=4)),
      color=alt.Color("kind:N", legend=None, scale=colors),
    )
  )
  return finish(chart, height=260)


def glyphs(number: int) -> tuple[str, str]:
  """The colour and shape of a sentence on the map, by its place in the legend."""
  shapes = list(SHAPES)
  return COLORS[number % len(COLORS)], shapes[number // len(COLORS) % len(shapes)]


def sentence_map(heldout: Heldout, plane: Plane) -> Spec:
  """Texts as points; the translations of a sentence share colour and shape."""
  order = list(dict.fromkeys(heldout.sentences[plane.rows].tolist()))
  numbers = [order.index(sentence) for sentence in heldout.sentences[plane.rows]]
  data = table(
    {
      "x": [f"{x:.2f}" for x in plane.places[:, 0]],
      "y": [f"{y:.2f}" for y in plane.places[:, 1]],
      "sentence": numbers,
      "color": [glyphs(number)[0] for number in numbers],
      "shape": [glyphs(number)[1] for number in numbers],
      "language": [heldout.languages[row] for row in plane.rows],
      "text": [heldout.texts[row] for row in plane.rows],
    }
  )
  pointed = alt.selection_point(fields=["sentence"], on="pointerover", clear="pointerout")
  bare: Spec = {"title": None, "axis": None, "scale": alt.Scale(zero=False, nice=False, padding=8)}
  chart = (
    alt.Chart(data)
    .transform_calculate(name="languageName(datum.language)")
    .mark_point(filled=True, size=30, aria=False)
    .encode(
      x=alt.X("x:Q", **bare),
      y=alt.Y("y:Q", **bare),
      color=alt.Color("color:N", scale=None),
      shape=alt.Shape("shape:N", scale=None),
      opacity=alt.condition(pointed, alt.value(0.85), alt.value(0.1)),
      tooltip=[alt.Tooltip("name:N", title="language"), alt.Tooltip("text:N")],
    )
    .add_params(pointed)
  )
  return finish(chart, height=400)
