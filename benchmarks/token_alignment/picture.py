"""README's picture: a sentence's word alignments before and after, and what RTL gains.

    python -m benchmarks.token_alignment.picture --results=benchmarks/token_alignment/results.json
        --output=docs/alignment.png

The results have `sentence`, of `similarities.py`, and `figures`: title -> system -> [mean, standard
deviation over seeds], of `table.py`. Dark cells are similar words, dots the links that are each
other's nearest, frames the gold links.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any

import altair as alt
import numpy as np

from benchmarks import measuring
from dap_jax.evals import word_alignment, word_links

CELL = 17  # pixels
COLOURS = {"TR": "#9aa5b1", "DAP": "#1f6f8b"}


def panel(sentence: dict[str, Any], title: str) -> alt.LayerChart:
  """The alignment by one model."""
  cosines = np.array(sentence["models"][title])
  sure = {tuple(link) for link in sentence["sure"]}
  gold = sure | {tuple(link) for link in sentence["possible"]}
  links = {(int(i), int(j)) for i, j in np.argwhere(word_links.mutual(cosines))}
  pair = word_alignment.Pair(sentence["source"], sentence["target"], sure, gold)
  error = word_alignment.compare(links, pair).scores()["aer"]
  cells = [
    {
      "source": i,
      "target": j,
      # Of each model from its median to its largest: their scales differ.
      "similarity": float((cosine - np.median(cosines)) / (cosines.max() - np.median(cosines))),
      "link": (i, j) in links,
      "gold": (i, j) in gold,
    }
    for (i, j), cosine in np.ndenumerate(cosines)
  ]
  base = alt.Chart(
    alt.Data(values=cells),
    width=CELL * len(sentence["target"]),
    height=CELL * len(sentence["source"]),
    title=f"{title}: AER {error:.2f}",
  ).encode(
    x=axis("target", sentence["target"], alt.X),
    y=axis("source", sentence["source"], alt.Y),
  )
  scale = alt.Scale(scheme="blues", domain=[0, 1], clamp=True)
  heat = base.mark_rect().encode(color=alt.Color("similarity:Q", scale=scale, legend=None))
  frames = base.mark_rect(fillOpacity=0, stroke="#d1495b", strokeWidth=1.5)
  dots = base.mark_point(filled=True, size=45, color="#f2b134", stroke="black", strokeWidth=0.6)
  return heat + frames.transform_filter("datum.gold") + dots.transform_filter("datum.link")


def axis(side: str, words: list[str], channel: type) -> Any:
  """The words of a side in their order; a word may occur twice."""
  labels = alt.Axis(
    labelExpr=f"{json.dumps(words, ensure_ascii=False)}[datum.value]",
    title=None,
    labelAngle=-60 if side == "target" else 0,
    ticks=False,
    domain=False,
    labelLimit=120,
  )
  return channel(f"{side}:O", axis=labels)


def bars(title: str, systems: dict[str, list[float]]) -> alt.LayerChart:
  """A figure of each system, with its standard deviation."""
  points = [
    {"system": system, "mean": mean, "low": mean - deviation, "high": mean + deviation}
    for system, (mean, deviation) in systems.items()
  ]
  base = alt.Chart(alt.Data(values=points), width=90, height=200, title=title).encode(
    x=alt.X("system:N", sort=list(COLOURS), title=None, axis=alt.Axis(labelAngle=0))
  )
  colour = alt.Color(
    "system:N", legend=None, scale=alt.Scale(domain=[*COLOURS], range=[*COLOURS.values()])
  )
  columns = base.mark_bar(size=34).encode(y=alt.Y("mean:Q", title=None), color=colour)
  errors = base.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q")
  numbers = base.mark_text(dy=-9).encode(y="high:Q", text=alt.Text("mean:Q", format=".3f"))
  return columns + errors + numbers


def main() -> None:
  parser = argparse.ArgumentParser(description="Word alignments before and after RTL.")
  parser.add_argument("--results", type=pathlib.Path, required=True, help="a .json")
  parser.add_argument("--output", type=pathlib.Path, required=True, help="a .png")
  flags = parser.parse_args()
  results = json.loads(flags.results.read_text(encoding="utf-8"))
  sentence, figures = results["sentence"], results["figures"]
  measuring.print_header("figure", *COLOURS)
  for title, systems in figures.items():
    measuring.print_row(title, *(f"{mean} ± {error}" for mean, error in systems.values()))
  panels = [panel(sentence, title) for title in sentence["models"]]
  panels += [bars(title, systems) for title, systems in figures.items()]
  chart = alt.hconcat(*panels, spacing=24).resolve_scale(color="independent", x="independent")
  chart.save(flags.output, scale_factor=2)


if __name__ == "__main__":
  main()
