"""Prepared data, read: preparation.py makes it of a corpus once, in the workdir.

DIRECTORY/info.json        languages, numbers of pairs, rates, rejected pairs by reason, checksums
DIRECTORY/train.npz        the tokenised pairs of every language
DIRECTORY/heldout.jsonl    the held-out sentences: language -> text
DIRECTORY/rejected/        the pairs that were left out, a file a reason; stats.json sums them up
"""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from dap_jax.data import manifest, rows, train_file
from dap_jax.data.elements import Feature, Layout
from dap_jax.data.loader import ExampleSource, PairSource
from dap_jax.utils.errors import reading

logger = logging.getLogger(__name__)


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


def heldout(directory: epath.PathLike) -> list[dict[str, str]]:
  """The held-out rows, language -> text, pivot included."""
  path = epath.Path(directory) / manifest.HELDOUT
  checksum = manifest.read_info(directory)["files"].get(manifest.HELDOUT)
  with reading(manifest.damaged(path)):
    content = path.read_bytes()
    if checksum not in (None, manifest.sha256(content)):
      raise ValueError(f"its SHA-256 is not the one in {manifest.NAME}")
    # Only "\n" ends a line: str.splitlines would also cut at characters that occur inside texts.
    rows = [json.loads(line) for line in content.decode().split("\n") if line]
    for number, row in enumerate(rows, 1):
      if not isinstance(row, dict) or not all(isinstance(text, str) for text in row.values()):
        raise ValueError(f"row {number} is no object of texts by language")
  return rows


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
  info, path = manifest.read_info(directory), directory / manifest.TRAIN
  with reading(manifest.damaged(directory / manifest.NAME)):
    features = tuple(Feature(**feature) for feature in info["features"])
  with reading(manifest.damaged(path)):
    pairs = train_file.load_pairs(
      path, languages=info["rates"], features=features, digest=info["files"].get(manifest.TRAIN)
    )
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
    english_ids=manifest.ids_of(info, directory),
    info=info,
  )
