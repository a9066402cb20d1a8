"""A page in one file: its template, the style, the charts, and the programs that draw them.

These are Vega, Vega-Lite and Vega-Embed, out of the package vl-convert. Jinja escapes every text of
the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import altair as alt
import jinja2
import vl_convert

from dap_jax.report_page import charts

HERE = Path(__file__).parent


class Curve(NamedTuple):
  """A chart of the training.

  Attributes:
    title: of the chart.
    series: what is drawn: key of the records -> name, a dash each.
    sentence: what it shows.
    share: whether its values are shares.
  """

  title: str
  series: dict[str, str]
  sentence: str
  share: bool = False


class Charts:
  """The specifications of the page: each gets an id, which the template puts in its place."""

  def __init__(self) -> None:
    self.specs: dict[str, dict[str, Any]] = {}

  def add(self, spec: charts.Spec, *, square: bool = False) -> str:
    """Keeps a chart; `square`: as high as it is wide. Returns its id."""
    name = f"chart-{len(self.specs)}"
    self.specs[name] = {"spec": spec, "square": square}
    return name


class HasCurves(Protocol):
  """What a curve is drawn of."""

  @property
  def name(self) -> str: ...

  def curve(self, key: str) -> list[tuple[float, float]]:
    """(step, value) of every record that has the key."""


def curve_figure(curve: Curve, runs: Sequence[HasCurves], drawn: Charts) -> dict[str, Any] | None:
  """A curve as what the templates show, all runs in one chart; None where no run has it."""
  lines = [
    charts.Line(number, name, points)
    for number, run in enumerate(runs)
    for key, name in curve.series.items()
    if (points := run.curve(key))
  ]
  if not lines:
    return None
  there = {line.series for line in lines}
  names = [name for name in curve.series.values() if name in there]
  chart = drawn.add(charts.curves(lines, series=names, share=curve.share))
  dashes = names if len(names) > 1 else []
  return {"title": curve.title, "sentence": curve.sentence, "chart": chart, "dashes": dashes}


def rendered(template: str, drawn: Charts, **values: Any) -> str:
  """A template of this folder as a page, with the charts in it."""
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters["percent"] = lambda share: f"{share:.1%}"
  return environment.get_template(template).render(
    style=(HERE / "page.css").read_text(),
    program=(HERE / "page.js").read_text(),
    library=library(),
    charts=drawn.specs,
    **values,
  )


def library() -> str:
  """Vega, Vega-Lite and Vega-Embed as one script, of the versions that Altair writes for."""
  version = alt.SCHEMA_VERSION.removeprefix("v").rsplit(".", 1)[0]
  script = vl_convert.javascript_bundle(  # type: ignore[call-arg]  # its stub lacks a default
    vl_version=version
  )
  assert "</script" not in script.lower()
  return script
