"""Draws a run: its training curve and its accuracy per language, as two PNG files.

python benchmarks/draw_run.py runs/demo docs
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

INK, TO, FROM = "#22313f", "#1b7f79", "#d9822b"
PREFIX = "eval/retrieval/"


def lines_of(workdir: Path) -> list[dict[str, float]]:
  text = (workdir / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.split("\n") if line]


def tidy(axes) -> None:
  axes.spines[["top", "right"]].set_visible(False)
  axes.grid(axis="y", color="#dddddd", linewidth=0.6)
  axes.set_axisbelow(True)


def draw_curve(lines: list[dict[str, float]], path: Path) -> None:
  """The two losses, and held-out retrieval, over the steps."""
  figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
  training = [line for line in lines if "loss" in line]
  steps = [line["step"] for line in training]
  names = {"translation_ranking": TO, "representation_translation": FROM}
  for name, color in names.items():
    if name in training[0]:
      left.plot(steps, [line[name] for line in training], color=color, label=name.replace("_", " "))
  left.set(title="training loss", xlabel="step")
  left.set_ylim(bottom=0)
  scored = [line for line in lines if f"{PREFIX}to_pivot_accuracy" in line]
  for way, color, label in (("to", TO, "to English"), ("from", FROM, "from English")):
    values = [line[f"{PREFIX}{way}_pivot_accuracy"] for line in scored]
    right.plot([line["step"] for line in scored], values, "o-", ms=4, color=color, label=label)
  random = scored[-1][f"{PREFIX}from_pivot_accuracy_random"]
  right.axhline(random, color=INK, linewidth=0.8, linestyle=":", label="random, from English")
  right.set(title="held-out retrieval accuracy", xlabel="step", ylim=(0, 1))
  for axes in (left, right):
    tidy(axes)
    axes.legend(frameon=False)
  figure.savefig(path, dpi=130)


def draw_languages(scores: dict[str, float], path: Path) -> None:
  """Accuracy of every language, best first: to English as bars, from English as dots."""
  to, back = f"{PREFIX}to_pivot_accuracy/", f"{PREFIX}from_pivot_accuracy/"
  languages = [name.removeprefix(to) for name in scores if name.startswith(to)]
  languages.sort(key=lambda language: -scores[to + language])
  half = -(-len(languages) // 2)
  figure, rows = plt.subplots(2, 1, figsize=(11, 5), layout="constrained", sharey=True)
  for axes, part in zip(rows, (languages[:half], languages[half:]), strict=True):
    axes.bar(part, [scores[to + language] for language in part], color=TO, label="to English")
    axes.plot(
      part,
      [scores[back + language] for language in part],
      "o",
      ms=4,
      color=FROM,
      label="from English",
    )
    axes.set(ylim=(0, 1.12), xlim=(-0.8, half - 0.2))
    axes.tick_params(axis="x", labelrotation=90, labelsize=8)
    tidy(axes)
  rows[0].set_title("held-out retrieval accuracy per language")
  rows[0].legend(frameon=False, loc="upper right", ncols=2)
  figure.savefig(path, dpi=130)


def main() -> None:
  if len(sys.argv) != 3:
    sys.exit(f"usage: {__doc__.strip().splitlines()[-1].strip()}")
  workdir, output = Path(sys.argv[1]), Path(sys.argv[2])
  output.mkdir(parents=True, exist_ok=True)
  lines = lines_of(workdir)
  draw_curve(lines, output / "training.png")
  scored = [line for line in lines if f"{PREFIX}to_pivot_accuracy" in line]
  draw_languages(scored[-1], output / "languages.png")


if __name__ == "__main__":
  main()
