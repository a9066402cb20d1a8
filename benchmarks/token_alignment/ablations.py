"""The picture of RTL's ablations: its direction, mask ratio and number of layers.

    python -m benchmarks.token_alignment.ablations
        --results=benchmarks/token_alignment/ablations.json --output=docs/ablations.png

The results are those of `table.py --json`. A dot is the mean over seeds, the line from the least to
the largest seed; the grey band is translation ranking alone.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np

from benchmarks import measuring

# Title of a picture -> label -> system. DAP has direction to English, mask ratio 1 and K = 2.
ABLATIONS = {
  "direction": {"to English": "DAP", "both": "RTL both ways", "from English": "RTL from English"},
  "mask ratio": {"0.2": "mask ratio 0.2", "0.6": "mask ratio 0.6", "1.0": "DAP"},
  "K, layers of the decoder": {"1": "K = 1", "2": "DAP", "4": "K = 4"},
}
# Column of the results -> what the axis says.
FIGURES = {
  "xx->en": "held-out retrieval, xx->en",
  "mining F1": "mining F1",
  "AER": "AER (lower is better)",
}
Values = Mapping[str, Mapping[str, Sequence[float]]]  # system -> title -> of each seed
COLOUR, RANKING = "#1f6f8b", "#9aa5b1"


def picture(results: Values, figure: str, ablation: str) -> alt.LayerChart:
  """One figure by one choice."""
  labels = ABLATIONS[ablation]
  points = [
    {
      "choice": label,
      "mean": float(np.mean(results[system][figure])),
      "least": min(results[system][figure]),
      "most": max(results[system][figure]),
    }
    for label, system in labels.items()
    if system in results
  ]
  ranking = results["TR"][figure]
  band = alt.Chart(alt.Data(values=[{"least": min(ranking), "most": max(ranking)}]))
  scale = alt.Scale(zero=False, nice=True)
  first = next(iter(ABLATIONS)) == ablation  # the leftmost one names the figure
  title = FIGURES[figure] if first else None
  mean = alt.Y("mean:Q", scale=scale, title=title)
  base = alt.Chart(alt.Data(values=points), width=170, height=150).encode(
    x=alt.X("choice:N", sort=list(labels), title=ablation, axis=alt.Axis(labelAngle=0))
  )
  return alt.layer(
    band.mark_rect(color=RANKING, opacity=0.6).encode(
      y=alt.Y("least:Q", scale=scale, title=title), y2="most:Q"
    ),
    base.mark_line(color=COLOUR, opacity=0.35).encode(y=mean),
    base.mark_rule(color=COLOUR, strokeWidth=2).encode(
      y=alt.Y("least:Q", scale=scale, title=title), y2="most:Q"
    ),
    base.mark_point(filled=True, size=70, color=COLOUR, opacity=1).encode(y=mean),
  )


def main() -> None:
  parser = argparse.ArgumentParser(description="The ablations of RTL as a picture.")
  parser.add_argument("--results", type=pathlib.Path, required=True, help="a .json")
  parser.add_argument("--output", type=pathlib.Path, required=True, help="a .png")
  flags = parser.parse_args()
  results = json.loads(flags.results.read_text(encoding="utf-8"))
  measuring.print_header("choice", "system", *FIGURES)
  for ablation, labels in ABLATIONS.items():
    for label, system in labels.items():
      if system in results:
        means = (f"{np.mean(results[system][figure]):.3f}" for figure in FIGURES)
        measuring.print_row(f"{ablation}: {label}", system, *means)
  rows = [
    alt.hconcat(*(picture(results, figure, ablation) for ablation in ABLATIONS)).resolve_scale(
      y="shared"
    )
    for figure in FIGURES
  ]
  alt.vconcat(*rows).save(flags.output, scale_factor=2)


if __name__ == "__main__":
  main()
