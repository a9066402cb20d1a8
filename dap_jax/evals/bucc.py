"""BUCC 2018: mining parallel sentences from two texts in which most sentences have no translation.

Protocol (DAP's): ratio margin, 4 neighbours, candidates of both sides taken greedily one to one;
the threshold with the best F1 on the training split is applied to the test split. Files, as
released: `xx-en.training.xx` and `.en` with `id<TAB>text`, `.gold` with `id<TAB>id`; the same with
`test` in place of `training`, where a test split has gold pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from etils import epath

from dap_jax.data.texts import text_files
from dap_jax.evals import Encode, Model, Result, by_row, encode_lists
from dap_jax.mining import pairing
from dap_jax.mining.margins import MARGINS
from dap_jax.utils.errors import UserError

TRAINING, TEST = "training", "test"
VERSION = 1


def evaluate(
  model: Model, data: str, *, margin: str = "ratio", neighbours: int = 4, retrieval: str = "max"
) -> Result:
  """Every pair of languages. The settings are those of `mining.pairing.mine`."""
  if margin not in MARGINS or retrieval not in pairing.RETRIEVALS or neighbours < 1:
    raise UserError(
      f"margin={margin}, neighbours={neighbours}, retrieval={retrieval}: expected one of"
      f" {', '.join(MARGINS)}, 1 or more, and one of {', '.join(pairing.RETRIEVALS)}"
    )
  corpora = read_corpora(data)
  scores = bucc(corpora, model.encode, margin=margin, neighbours=neighbours, retrieval=retrieval)
  metrics = dict.fromkeys(name.split("/")[0] for name in scores)
  columns = {metric.replace("_", " "): by_row(scores, metric) for metric in metrics}
  protocol = {
    "split": ",".join(dict.fromkeys(split for splits in corpora.values() for split in splits)),
    "threshold": "of the best F1 on training",
  }
  return Result(protocol, scores, columns, list(corpora))


Pair = tuple[int, int]  # rows of x and of y


class Split(NamedTuple):
  """x, y: texts; gold: the pairs of them that are translations."""

  x: list[str]
  y: list[str]
  gold: set[Pair]


class Counts(NamedTuple):
  """precision, recall, f1: in [0, 1]."""

  precision: float
  recall: float
  f1: float


def read_fields(path: epath.Path) -> list[tuple[str, str]]:
  """Lines of two fields with a tab between them. Raises UserError that names the line."""
  if not path.exists():
    raise UserError(f"{path} is not there: BUCC has .xx, .en and .gold side by side")
  pairs = []
  for number, line in enumerate(text_files.lines(path), 1):
    first, _, second = line.partition("\t")
    if not first.strip() or not second.strip():
      raise UserError(f"{path}:{number}: expected two fields with a tab between them")
    pairs.append((first, second))
  return pairs


def read_split(gold: epath.Path) -> Split:
  """The split of a `.gold` file. Raises UserError: a file or id is missing, or occurs twice."""
  stem = gold.name.removesuffix(".gold")
  sides, rows = [], []
  for language in stem.split(".")[0].split("-"):
    path = gold.with_name(f"{stem}.{language}")
    fields = read_fields(path)
    sides.append([text for _, text in fields])
    rows.append({name: row for row, (name, _) in enumerate(fields)})
    if len(rows[-1]) < len(fields):
      raise UserError(f"{path}: {len(fields) - len(rows[-1])} of its ids occur a second time")
  pairs = read_fields(gold)
  if not pairs:
    raise UserError(f"{gold} is empty: expected pairs of ids")
  for number, pair in enumerate(pairs, 1):
    for name, known in zip(pair, rows, strict=True):
      if name not in known:
        raise UserError(f"{gold}:{number}: the id {name} is not in its text")
  x, y = sides
  return Split(x, y, {(rows[0][a], rows[1][b]) for a, b in pairs})


def read_corpora(folder: epath.PathLike) -> dict[str, dict[str, Split]]:
  """The pairs of languages of a folder: `xx-en` -> training split and, where it has gold, test.

  Raises:
    UserError: there are none, or a file is missing or damaged.
  """
  corpora: dict[str, dict[str, Split]] = {}
  pattern = f"*-*.{TRAINING}.gold"  # in the folder, or in one for each pair
  places = (epath.Path(folder).glob(place) for place in (pattern, f"*/{pattern}"))
  for gold in sorted(itertools.chain(*places)):
    name = gold.name.split(".")[0]
    if name in corpora or name.count("-") != 1:
      raise UserError(f"{gold}: expected one pair of languages, xx-en, and each pair once")
    corpora[name] = {TRAINING: read_split(gold)}
    test = gold.with_name(f"{name}.{TEST}.gold")
    if test.exists():
      corpora[name][TEST] = read_split(test)
  if not corpora:
    raise UserError(f"{folder} has no files xx-en.{TRAINING}.gold of BUCC 2018")
  return corpora


def bucc(
  corpora: Mapping[str, Mapping[str, Split]],
  encode: Encode,
  *,
  margin: str,
  neighbours: int,
  retrieval: str,
) -> dict[str, float]:
  """Every pair of languages.

  Args:
    corpora: see `read_corpora`.
    encode: see `evals.Encode`.
    margin, neighbours, retrieval: see `mining.pairing.mine`.

  Returns:
    `training_f1/PAIR`, `threshold/PAIR` unless no proposed pair is right, and where there is a test
    split `test_f1/PAIR`, `test_precision/PAIR`, `test_recall/PAIR`. All but thresholds in [0, 1].
  """
  scores = {}
  for name, splits in corpora.items():
    threshold = np.inf
    for split, (x, y, gold) in splits.items():
      mined = pairing.mine(
        *encode_lists([x, y], encode), margin=margin, neighbours=neighbours, retrieval=retrieval
      )
      if split == TRAINING:
        threshold, counts = best_threshold(mined, gold)
        scores[f"training_f1/{name}"] = counts.f1
        if np.isfinite(threshold):  # else no proposed pair is right, and the test split keeps none
          scores[f"threshold/{name}"] = threshold
      else:
        counts = count(pairs_from(mined, threshold), gold)
        scores |= {f"{TEST}_{key}/{name}": value for key, value in counts._asdict().items()}
  return scores


def best_threshold(mined: pairing.Mined, gold: set[Pair]) -> tuple[float, Counts]:
  """The threshold with the best F1 on a split, and its counts there.

  A pair stays where its score is at least the threshold, so pairs of equal scores stay or go
  together. The threshold lies halfway between the last score that stays and the next one; it is
  infinite where no proposed pair is in gold.
  """
  best, best_counts, hits = float("inf"), Counts(0.0, 0.0, 0.0), 0
  scores = mined.scores
  for n, (i, j) in enumerate(mined.pairs, 1):
    hits += (int(i), int(j)) in gold
    if n < len(scores) and scores[n] == scores[n - 1]:
      continue
    f1 = 2 * hits / (n + len(gold))
    if f1 > best_counts.f1:
      best_counts = Counts(hits / n, hits / len(gold), f1)
      lower = scores[n] if n < len(scores) else scores[n - 1]
      middle = (scores[n - 1] + lower) / 2
      # Between two neighbouring floats the middle rounds to the lower one, whose pair has to go.
      best = middle if middle > lower else scores[n - 1]
  return float(best), best_counts


def pairs_from(mined: pairing.Mined, threshold: float) -> set[Pair]:
  """The pairs whose score is at least the threshold."""
  return {(int(i), int(j)) for i, j in mined.pairs[mined.scores >= threshold]}


def count(pairs: set[Pair], gold: set[Pair]) -> Counts:
  """Precision, recall and F1 of mined pairs."""
  hits = len(pairs & gold)
  precision = hits / len(pairs) if pairs else 0.0
  recall = hits / len(gold) if gold else 0.0
  both = precision + recall
  return Counts(precision, recall, 2 * precision * recall / both if both else 0.0)
