"""BUCC 2018: mining parallel sentences out of two texts of which most has no partner.

Protocol (DAP's): ratio margin, 4 neighbours, candidates of both sides taken greedily one to one;
the threshold of the best F1 on the training split, applied to the test split. Files, as released:
`xx-en.training.xx` and `.en` with `id<TAB>text`, `.gold` with `id<TAB>id`; `xx-en.test...` alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from etils import epath

from dap_jax.data.readers import text_files
from dap_jax.evals import Encode, Model, Result, by_row, encode_lists
from dap_jax.mining import pairing
from dap_jax.mining.margins import MARGINS
from dap_jax.utils.errors import UserError

TRAINING, TEST = "training", "test"
VERSION = 1


def evaluate(
  model: Model, data: str, *, margin: str = "ratio", neighbours: int = 4, retrieval: str = "max"
) -> Result:
  """Every language pair; the settings are those of `mining.mine`."""
  if margin not in MARGINS or retrieval not in pairing.RETRIEVALS or neighbours < 1:
    raise UserError(
      f"margin={margin}, neighbours={neighbours}, retrieval={retrieval}: expected one of"
      f" {', '.join(MARGINS)}, 1 or more, and one of {', '.join(pairing.RETRIEVALS)}"
    )
  corpora = read(data)
  settings = {"margin": margin, "neighbours": neighbours, "retrieval": retrieval}
  scores = bucc(corpora, model.encode, **settings)
  metrics = dict.fromkeys(name.split("/")[0] for name in scores)
  columns = {metric.replace("_", " "): by_row(scores, metric) for metric in metrics}
  protocol = {
    "split": ",".join(dict.fromkeys(split for splits in corpora.values() for split in splits)),
    "threshold": "of the best F1 on training",
  }
  return Result(protocol, scores, columns, list(corpora))


class Split(NamedTuple):
  """x, y: texts; gold: rows (i, j) of x and y that are translations."""

  x: list[str]
  y: list[str]
  gold: set[pairing.Pair]


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
  return Split(*sides, {(rows[0][a], rows[1][b]) for a, b in pairs})


def read(folder: epath.PathLike) -> dict[str, dict[str, Split]]:
  """`xx-en` -> its splits, training and, where it has gold, test."""
  found: dict[str, dict[str, Split]] = {}
  pattern = f"*-*.{TRAINING}.gold"  # in the folder, or in one for each pair
  places = (epath.Path(folder).glob(place) for place in (pattern, f"*/{pattern}"))
  for gold in sorted(itertools.chain(*places)):
    name = gold.name.split(".")[0]
    if name in found or name.count("-") != 1:
      raise UserError(f"{gold}: expected one pair of languages, xx-en, and each pair once")
    found[name] = {TRAINING: read_split(gold)}
    test = gold.with_name(f"{name}.{TEST}.gold")
    if test.exists():
      found[name][TEST] = read_split(test)
  if not found:
    raise UserError(f"{folder} has no files xx-en.{TRAINING}.gold of BUCC 2018")
  return found


def bucc(
  corpora: Mapping[str, Mapping[str, Split]],
  encode: Encode,
  *,
  margin: str,
  neighbours: int,
  retrieval: str,
) -> dict[str, float]:
  """Every language pair.

  Args:
    corpora: of `read`.
    encode: see `evals.Encode`.
    margin, neighbours, retrieval: see `mining.mine`.

  Returns:
    `training_f1/PAIR`, `threshold/PAIR` unless nothing was right, and where there is a test split
    `test_f1/PAIR`, `test_precision/PAIR`, `test_recall/PAIR`; in [0, 1] but for the threshold.
  """
  found = {}
  for name, splits in corpora.items():
    threshold = np.inf
    for split, (x, y, gold) in splits.items():
      mined = pairing.mine(
        *encode_lists([x, y], encode), margin=margin, neighbours=neighbours, retrieval=retrieval
      )
      if split == TRAINING:
        threshold, counts = pairing.best_threshold(mined, gold)
        found[f"training_f1/{name}"] = counts.f1
        if np.isfinite(threshold):  # else nothing right was proposed, and nothing is kept
          found[f"threshold/{name}"] = threshold
      else:
        counts = pairing.evaluate(pairing.kept(mined, threshold), gold)
        found |= {f"{TEST}_{key}/{name}": value for key, value in counts._asdict().items()}
  return found
