"""Semantic textual similarity: do cosines of sentence vectors rank pairs as people do?

Protocol (SemEval's): Spearman's rank correlation, where ties have their mean rank, and Pearson's
correlation, between the cosines of pairs and their gold scores, times 100; for each track, and the
mean of all tracks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from etils import epath
from scipy import stats

from dap_jax.data.texts import text_files
from dap_jax.evals import MEAN, Encode, Model, Result, by_row, encode_lists, with_means
from dap_jax.utils.errors import UserError

VERSION = 1
HEADERS = (
  "score",
  "scores",
  "similarity",
  "similarity_score",
  "gold",
  "label",
)  # of a first column
ALL_EQUAL = 1e-6  # cosines that differ by less are equal up to float32's rounding


class Track(NamedTuple):
  """gold: float64 [N]; first, second: N texts each."""

  gold: np.ndarray
  first: list[str]
  second: list[str]


def evaluate(model: Model, data: str) -> Result:
  """See the module; no settings."""
  tracks = read_tracks(data)
  scores = sts(tracks, model.encode)
  columns = {metric: by_row(scores, metric) for metric in ("spearman", "pearson")}
  protocol = {
    "split": "test",
    "tracks": ",".join(tracks),
    "pairs": sum(len(track.gold) for track in tracks.values()),
    "similarity": "cosine",
    "scale": "x 100",
  }
  return Result(protocol, scores, columns, [MEAN, *tracks])


def read_track(path: epath.Path) -> Track:
  """A file of `score<TAB>text<TAB>text` lines.

  A first line that names the columns is skipped, and so are pairs whose score is empty: nobody
  annotated them.

  Raises:
    UserError: a line holds something else; it names the line and shows the field.
  """
  gold, first, second = [], [], []
  for number, line in enumerate(text_files.lines(path), 1):
    written, *texts = line.split("\t")
    if number == 1 and written.strip().lower() in HEADERS or len(texts) > 1 and not written.strip():
      continue
    if len(texts) < 2:
      raise UserError(
        f"{path}, line {number}: expected score<TAB>text<TAB>text, it is {line!r:.80}"
      )
    score, (a, b) = score_of(written, where=f"{path}, line {number}"), texts[:2]
    if not a.strip() or not b.strip():
      raise UserError(f"{path}, line {number}: one of the texts is empty")
    if not math.isfinite(score):
      raise UserError(f"{path}, line {number}: the score is {score}")
    gold.append(score)
    first.append(a)
    second.append(b)
  if len(set(gold)) < 2:
    raise UserError(f"{path}: a correlation needs at least two different scores")
  return Track(np.array(gold), first, second)


def score_of(written: str, *, where: str) -> float:
  """A similarity; `where`: the line, for the message."""
  try:
    return float(written)
  except ValueError as error:
    cure = ""
    if re.fullmatch(r"\s*\d+,\d+\s*", written):
      cure = f", write {written.strip().replace(',', '.')}"
    raise UserError(
      f"{where}: expected score<TAB>text<TAB>text, and {written!r:.40} is no number{cure}"
    ) from error


def read_tracks(folder: epath.PathLike) -> dict[str, Track]:
  """The tracks of a folder, `NAME.tsv` as NAME. Raises UserError where there are none."""
  tracks = {path.stem: read_track(path) for path in sorted(epath.Path(folder).glob("*.tsv"))}
  if not tracks:
    raise UserError(f"{folder} has no .tsv files of score, text and text")
  return tracks


def sts(tracks: Mapping[str, Track], encode: Encode) -> dict[str, float]:
  """Every track, and the mean of all tracks.

  Args:
    tracks: see `read_tracks`.
    encode: see `evals.Encode`; called once, with all texts.

  Returns:
    `spearman/TRACK` and `pearson/TRACK`, in [-100, 100], and `.../mean`.
  """
  sides = [side for track in tracks.values() for side in (track.first, track.second)]
  parts = iter(encode_lists(sides, encode))
  scores: dict[str, dict[str, float]] = {"spearman": {}, "pearson": {}}
  for name, track in tracks.items():
    first, second = next(parts), next(parts)
    cosines = (first.astype(np.float64) * second).sum(1)
    if np.ptp(cosines) < ALL_EQUAL:
      raise UserError(f"{name}: the cosines of all its pairs are {cosines[0]:.6f}: nothing to rank")
    scores["spearman"][name] = 100 * float(stats.spearmanr(cosines, track.gold).statistic)
    scores["pearson"][name] = 100 * float(stats.pearsonr(cosines, track.gold).statistic)
  return with_means(scores)
