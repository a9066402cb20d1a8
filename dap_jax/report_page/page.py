"""The HTML of the page, from runs and what was measured on them.

`html.py` puts everything in one file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dap_jax.report_page import charts, comparison, training_data
from dap_jax.report_page.heldout import FEW, MAP_TEXTS, Similarities
from dap_jax.report_page.html import Charts, Curve, curve_figure, rendered
from dap_jax.report_page.measure import Measured
from dap_jax.report_page.runs import LoadedRun
from dap_jax.report_page.tokens import PIECES, Alignment
from dap_jax.utils.errors import UserError

COLUMNS = 3  # of the bars of languages, where the screen is wide
EXTREMES = 5  # languages that the text names
HEADINGS = (  # of run.html, for the list of contents
  *("Languages", "Every language with every other", "True pairs and hardest negatives"),
  *("Worst failures", "Tokens of translations", "Map of sentences"),
)


# After the objectives' losses.
CURVES = (
  Curve(
    "Held-out retrieval",
    {
      "eval/retrieval/to_pivot_accuracy": "to the pivot",
      "eval/retrieval/from_pivot_accuracy": "from the pivot",
    },
    "Share of held-out translations found by 1-nearest neighbour, at each evaluation.",
    share=True,
  ),
  Curve(
    "Alignment and uniformity",
    {"alignment": "alignment", "uniformity": "uniformity"},
    "Squared distance of translations, and how evenly vectors spread; lower is better in both.",
  ),
  Curve(
    "Off-diagonal cosine",
    {"off_diagonal_cosine": "mean"},
    "Between texts of the batch that are no translations of each other. Near 1 would be collapse.",
  ),
  Curve(
    "Masked duplicates",
    {"masked_duplicates": "per anchor"},
    "Candidates per anchor with an equal text, which are no negatives and left out of the loss.",
  ),
  Curve("Learning rate", {"learning_rate": "rate"}, "As scheduled."),
  Curve("Gradient norm", {"grad_norm": "norm"}, "Of all parameters, before clipping."),
  Curve("Speed", {"pairs_per_second": "pairs"}, "Training pairs per second."),
  Curve(
    "Use of the machine",
    {"goodput": "goodput", "mfu": "MFU"},
    "Goodput: the share of all time since the start that went into steps. MFU: the share of the"
    " chips' bfloat16 peak that the model's matrix products make use of.",
    share=True,
  ),
)


def render(
  runs: Sequence[LoadedRun], measured: Sequence[Measured | UserError], *, step: str
) -> str:
  """The page.

  Args:
    runs: in their order.
    measured: of each; an error says why a run has no figures of its vectors.
    step: of the checkpoints: newest, best, or a number.
  """
  drawn = Charts()
  training = training_charts(runs, drawn)
  sections = [
    section(run, each, drawn, color=color)
    for run, each, color in zip(runs, measured, charts.run_colors(range(len(runs))), strict=True)
  ]
  return rendered(
    "page.html",
    drawn,
    title=", ".join(run.name for run in runs),
    step=step,
    comparison=comparison.compare(runs, measured) if len(runs) > 1 else None,
    training=training,
    sections=sections,
    few=FEW,
    map_texts=MAP_TEXTS,
    pieces=PIECES,
    similarities=charts.SIMILARITIES,
  )


def training_charts(runs: Sequence[LoadedRun], drawn: Charts) -> list[dict[str, Any]]:
  """The curves that at least one run has, as figures: all runs in one chart."""
  objectives = dict.fromkeys(name for run in runs for name in run.objectives)
  losses = [
    Curve(name.replace("_", " ").capitalize(), {name: "loss"}, "Loss, before its weight.")
    for name in objectives
  ]
  if len(losses) > 1:
    losses.insert(0, Curve("Loss", {"loss": "loss"}, "The weighted sum that is minimised."))
  figures = []
  for curve in (*losses, *CURVES):
    if figure := curve_figure(curve, runs, drawn):
      figures.append(figure)
  return figures


def section(
  run: LoadedRun, measured: Measured | UserError, drawn: Charts, *, color: str
) -> dict[str, Any]:
  """What the template shows of one run."""
  common = {
    "run": run,
    "color": color,
    "settings": {**run.settings, **{f"version of {k}": v for k, v in run.versions.items()}},
    "speed": run.median("pairs_per_second"),
    "goodput": run.last("goodput"),
    "mfu": run.median("mfu"),
    "data": training_data.read(run.folder),
    "before": {way: run.before(f"eval/retrieval/{way}_pivot_accuracy") for way in ("to", "from")},
  }
  of_data = ["Training data"] if common["data"] else []
  if isinstance(measured, UserError):
    return common | {"error": str(measured), "contents": of_data}
  return common | {
    "contents": [*HEADINGS, *of_data],
    "failures": measured.failures,
    "error": None,
    "measured": measured,
    "languages": language_charts(measured, drawn),
    "pairs": pair_chart(measured, drawn),
    **similarity_chart(measured.similarities, drawn),
    "alignments": [alignment_table(one) for one in measured.alignments],
    "map": sentence_map(measured, drawn),
  }


def similarity_chart(similarities: Similarities | None, drawn: Charts) -> dict[str, Any]:
  """The histogram of cosines, and how often a true pair is above its hardest negative."""
  if similarities is None:
    return {"histogram": None, "above": None}
  above = float((similarities.true > similarities.hardest).mean())
  return {"histogram": drawn.add(charts.histogram(similarities)), "above": above}


def language_charts(measured: Measured, drawn: Charts) -> dict[str, Any]:
  """The bars in up to `COLUMNS` charts, their legend, and the languages at both ends."""
  counts, script_of = measured.heldout.counts(), measured.heldout.scripts()
  del script_of[measured.heldout.pivot]
  ranked = measured.ranked()
  to_pivot = measured.accuracy("to_pivot")
  parts = np.array_split(ranked, min(COLUMNS, -(-len(ranked) // 10)))
  colors = charts.script_colors(script_of)
  others = [script for script, color in colors.items() if color == charts.OTHER]
  legend = [(color, script) for script, color in colors.items() if color != charts.OTHER]
  if others:
    legend.append((charts.OTHER, f"{len(others)} other scripts"))
  enough = [code for code in ranked if counts[code] >= FEW]
  ends = {"Best": enough[:EXTREMES], "Weakest": enough[: -EXTREMES - 1 : -1]}
  return {
    "charts": [
      drawn.add(
        charts.accuracy_bars(
          part.tolist(),
          to_pivot=to_pivot,
          from_pivot=measured.accuracy("from_pivot"),
          counts=counts,
          colors=colors,
          script_of=script_of,
        )
      )
      for part in parts
    ],
    "legend": legend,
    "ends": {
      name: [(code, to_pivot[code]) for code in codes]
      for name, codes in ends.items()
      if len(enough) > EXTREMES
    },
    "few": len(ranked) - len(enough),
  }


def pair_chart(measured: Measured, drawn: Charts) -> dict[str, Any] | None:
  """The map of language pairs and the mean of its cells."""
  if measured.pairs is None:
    return None
  shown = measured.pairs.shown()
  return {
    "chart": drawn.add(charts.pair_map(measured.pairs), square=True),
    "cells": int(shown.sum()),
    "mean": float(measured.pairs.accuracy[shown].mean()),
    "shades": charts.SHADES,
  }


def alignment_table(one: Alignment) -> dict[str, Any]:
  """The cells of a pair: cosine, its shade among those of the pair, whether it is a link."""
  low, high = float(one.cosines.min()), float(one.cosines.max())
  shades = ((one.cosines - low) / max(high - low, 1e-12) * (len(charts.SHADES) - 1)).round()
  rows = [
    (
      piece,
      [
        (cosine, int(shade), (n, m) in one.links)
        for m, (cosine, shade) in enumerate(zip(cosines, of_row, strict=True))
      ],
    )
    for n, (piece, cosines, of_row) in enumerate(
      zip(one.pieces, one.cosines.tolist(), shades.tolist(), strict=True)
    )
  ]
  return {"pair": one, "rows": rows, "low": low, "high": high}


def sentence_map(measured: Measured, drawn: Charts) -> dict[str, Any] | None:
  """The map of texts, and its legend: a glyph and the pivot's sentence."""
  if measured.plane is None:
    return None
  sentences = dict.fromkeys(measured.heldout.sentences[measured.plane.rows].tolist())
  legend = []
  for number, sentence in enumerate(sentences):
    color, shape = charts.glyphs(number)
    legend.append(
      (color, charts.SHAPES[shape], measured.heldout.rows[sentence][measured.heldout.pivot])
    )
  chart = drawn.add(charts.sentence_map(measured.heldout, measured.plane), square=True)
  return {"chart": chart, "legend": legend, "texts": len(measured.plane.rows)}
