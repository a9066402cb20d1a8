"""What a run trained on, for the page: how many pairs, and which were left out and why."""

from __future__ import annotations

from typing import NamedTuple

from etils import epath

from dap_jax.data import manifest
from dap_jax.utils.errors import reading
from dap_jax.utils.json_files import read_json

MOST_LANGUAGES = 3  # that are named for a reason


class LeftOut(NamedTuple):
  """Pairs that one rule left out.

  Attributes:
    reason: the rule.
    pairs: how many.
    languages: those with most of them, and how many these are.
    sample: the first: language, pivot, translation, where; some may be missing.
  """

  reason: str
  pairs: int
  languages: list[tuple[str, int]]
  sample: dict[str, str]


class TrainingData(NamedTuple):
  """The pairs of a run.

  Attributes:
    pairs: language -> how many, the most first.
    cut: the share of texts that max_tokens cuts, or None where it was not counted.
    max_tokens: of a text.
    left_out: by reason, the most first; None where the run kept no statistics.
  """

  pairs: dict[str, int]
  cut: float | None
  max_tokens: int
  left_out: list[LeftOut] | None

  @property
  def total(self) -> int:
    return sum(self.pairs.values())


def read(workdir: epath.Path) -> TrainingData | None:
  """Reads it from a workdir; None where there is no prepared data.

  Raises:
    UserError: a file is damaged.
  """
  folder = workdir / "data"
  if not manifest.complete(folder):
    return None
  info = manifest.read_info(folder)
  pairs = dict(sorted(info["pairs"].items(), key=lambda item: -item[1]))
  cut = info.get("cut_texts")
  share = None if cut is None or not pairs else cut / (2 * sum(pairs.values()))
  path = folder / "stats.json"
  if not path.exists():
    return TrainingData(pairs, share, info["max_tokens"], None)
  rejected = read_json(path).get("rejected", {})
  with reading(manifest.damaged(path)):
    left_out = [
      LeftOut(
        reason,
        int(each["pairs"]),
        list(each["languages"].items())[:MOST_LANGUAGES],
        dict(each["samples"][0]) if each["samples"] else {},
      )
      for reason, each in rejected.items()
    ]
  return TrainingData(pairs, share, info["max_tokens"], left_out)
