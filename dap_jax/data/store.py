"""Prepared data, read: preparation.py makes it of a corpus once, in the workdir.

DIRECTORY/info.json        languages, numbers of pairs, rates, how many pairs were rejected and why
DIRECTORY/train.npz        the tokenised pairs of every language
DIRECTORY/heldout.jsonl    the held-out sentences: language -> text
DIRECTORY/rejected/        the pairs that were left out, a file a reason; stats.json sums them up
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from dap_jax.data import rows, train_file
from dap_jax.data.elements import Feature, Layout
from dap_jax.data.loader import ExampleSource, PairSource
from dap_jax.utils.errors import reading

logger = logging.getLogger(__name__)
INFO = {  # what is read of info.json
  "pairs": dict,
  "rates": dict,
  "extras": dict,
  "english_ids": list,
  "features": list,
  "max_tokens": int,
}


class Corpus(NamedTuple):
  """Training data in memory, as `load` reads it.

  Attributes:
    sources: language -> its training pairs; with more than two views, one source of rows.
    rates: name of a source -> its share of the mixture; they sum to 1.
    languages: language -> share of the translations in the batches; their order is that of their
      numbers, from 1.
    views, hard_negatives: K and n of the batches.
    heldout: the held-out rows, language -> text, pivot included.
    english_ids: int32 [V_en], the ids of the English side of the training set, sorted.
    info: the content of info.json.
  """

  sources: dict[str, ExampleSource]
  rates: dict[str, float]
  languages: dict[str, float]
  views: int
  hard_negatives: int
  heldout: list[dict[str, str]]
  english_ids: np.ndarray
  info: dict[str, Any]


def complete(directory: epath.PathLike) -> bool:
  """Whether `prepare` has finished in this folder."""
  return (epath.Path(directory) / "info.json").exists()


def heldout(directory: epath.PathLike) -> list[dict[str, str]]:
  """The held-out rows, language -> text, pivot included."""
  # Only "\n" ends a line: str.splitlines would also cut at characters that occur inside texts.
  path = epath.Path(directory) / "heldout.jsonl"
  with reading(damaged(path)):
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    for number, row in enumerate(rows, 1):
      if not isinstance(row, dict) or not all(isinstance(text, str) for text in row.values()):
        raise ValueError(f"row {number} is no object of texts by language")
  return rows


def damaged(path: epath.Path) -> str:
  """What to say of a file of prepared data that cannot be read; the reason follows."""
  return f"{path} is damaged; remove {path.parent} and the run prepares its data anew"


def read_info(directory: epath.PathLike) -> dict[str, Any]:
  """The content of info.json. Raises UserError where it is not what `write` wrote."""
  path = epath.Path(directory) / "info.json"
  with reading(damaged(path)):
    info = json.loads(path.read_text())
    for key, kind in INFO.items():
      if not isinstance(info, dict) or not isinstance(info.get(key), kind):
        raise ValueError(f"it has no {key}, or another type of it")
  return info


def english_ids(directory: epath.PathLike) -> np.ndarray:
  """int32 [V_en], the ids of the English side of the training set, sorted."""
  return ids_of(read_info(directory), directory)


def ids_of(info: Mapping[str, Any], directory: epath.PathLike) -> np.ndarray:
  """`english_ids` of an info.json that is read; directory: for the message."""
  with reading(damaged(epath.Path(directory) / "info.json")):
    ids = np.asarray(info["english_ids"], np.int32)
    if ids.ndim != 1 or (np.diff(ids) <= 0).any():
      raise ValueError("its english_ids are no rising numbers")
  return ids


def load(
  directory: epath.PathLike, *, pad_id: int, views: int = 2, hard_negatives: int = 0
) -> Corpus:
  """Reads the files that `prepare` wrote.

  Args:
    directory: their folder.
    pad_id: the id of padding.
    views: K of the examples: 2 for pairs, more for rows.
    hard_negatives: n of the examples.

  Raises:
    UserError: no row has so many languages, or no pair so many hard negatives.
  """
  directory = epath.Path(directory)
  info, path = read_info(directory), directory / "train.npz"
  with reading(damaged(directory / "info.json")):
    features = tuple(Feature(**feature) for feature in info["features"])
  with reading(damaged(path)):
    pairs = train_file.load_pairs(path, languages=info["rates"], features=features)
  train_file.check_negatives(pairs, hard_negatives)
  layout = Layout(info["max_tokens"], pad_id, features, hard_negatives)
  rates = languages = info["rates"]
  sources: dict[str, ExampleSource]
  if views == 2:
    sources = {name: PairSource(of_language, layout) for name, of_language in pairs.items()}
  else:
    source = rows.source_of(pairs, layout, rates=rates, views=views)
    sources, rates = {"rows": source}, {"rows": 1.0}
    languages = dict(zip(pairs, source.language_shares().tolist(), strict=True))
  return Corpus(
    sources=sources,
    rates=rates,
    languages=languages,
    views=views,
    hard_negatives=hard_negatives,
    heldout=heldout(directory),
    english_ids=ids_of(info, directory),
    info=info,
  )
