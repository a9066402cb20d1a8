"""Time for each pair by the size of the batch: what more in-batch negatives cost.

    python -m benchmarks.batch_sizes [--batches=64,256,1024,4096,8192] [--steps=TR,DAP] [--rounds=6]
        [--output=FILE.png] [sizes]

The program that `train` runs, all texts of one length, on one device; `--size` is tiny by default.
Batches take turns, so a machine whose speed changes says the same of all. Figures are medians over
the rounds, each divided by that of the smallest batch in the same round. `expected` is the same
ratio of the step's matmul FLOPs for each pair: every anchor is compared with every candidate.
In seconds: --layers=1 --width=32 --vocabulary=500 --tokens=8 --batches=4,8 --rounds=1
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from benchmarks import measuring
from benchmarks.training_step import batches, rounds
from benchmarks.training_step.ours import Ours
from benchmarks.training_step.sizes import STEPS, add_flags, sizes_of


class Point(NamedTuple):
  """Of a step and a batch size.

  Attributes:
    step, batch: which.
    milliseconds: for each pair, the median.
    ratio: of these to those of the smallest batch, the median.
    expected: the ratio of FLOPs for each pair.
  """

  step: str
  batch: int
  milliseconds: float
  ratio: float
  expected: float


def measure(step: str, flags: argparse.Namespace) -> list[Point]:
  """The points of a step."""
  timed: dict[str, Any] = {}
  flops = {}
  for size in flags.batches:
    sizes = dataclasses.replace(sizes_of(flags), batch=size)
    ours, rng = Ours(step, sizes), np.random.default_rng(0)
    lengths = np.full((size, 2), sizes.tokens)
    placed = ours.put(batches.make_batch(lengths, sizes, rng, padded=sizes.tokens))
    timed[str(size)] = functools.partial(measuring.seconds_of, functools.partial(ours.step, placed))
    flops[size] = ours.necessary_flops(lengths) / size
  samples = {
    int(name): seconds / int(name)
    for name, seconds in rounds.take_turns(timed, rounds=flags.rounds).items()
  }
  first = flags.batches[0]
  return [
    Point(
      step,
      size,
      1e3 * float(np.median(seconds)),
      float(np.median(seconds / samples[first])),
      flops[size] / flops[first],
    )
    for size, seconds in samples.items()
  ]


def draw(points: list[Point], path: str) -> None:
  """The ratios against the batch, measured and expected."""
  import altair as alt

  values = [
    {"batch": point.batch, "time": ratio, "line": f"{point.step}, {kind}"}
    for point in points
    for kind, ratio in (("measured", point.ratio), ("by FLOPs", point.expected))
  ]
  base = alt.Chart(alt.Data(values=values), width=380, height=240).encode(
    x=alt.X("batch:Q", title="pairs of a batch", scale=alt.Scale(type="log", base=2)),
    y=alt.Y("time:Q", title="time for each pair, of the smallest batch's"),
    color=alt.Color("line:N", legend=alt.Legend(title=None)),
  )
  chart = base.mark_line() + base.mark_point(filled=True, size=50)
  chart.configure_axis(gridOpacity=0.5).save(path, scale_factor=2)


def main() -> None:
  parser = argparse.ArgumentParser(description="Time for each pair by the size of the batch.")
  add_flags(parser)
  parser.set_defaults(size="tiny", lengths="full", tokens=24)
  parser.add_argument("--batches", type=measuring.numbers, default=[64, 256, 1024, 4096, 8192])
  parser.add_argument("--steps", default="TR,DAP", help=f"some of {', '.join(STEPS)}")
  parser.add_argument("--rounds", type=int, default=6)
  parser.add_argument("--output", help="a .png")
  flags = parser.parse_args()
  flags.batches.sort()
  print(measuring.machine("jax", "jaxlib"))
  measuring.print_header("step", "batch", "ms/pair", "of the smallest's", "expected")
  points: list[Point] = []
  for step in flags.steps.split(","):
    for point in measure(step, flags):
      row = f"{point.milliseconds:.3f}", f"{point.ratio:.2f}", f"{point.expected:.2f}"
      measuring.print_row(point.step, point.batch, *row)
      points.append(point)
  if flags.output:
    draw(points, flags.output)


if __name__ == "__main__":
  main()
