"""train.npz of prepared data: names of arrays <-> pairs.

LANGUAGE/{pivot,translation}/{tokens,offsets}      ids of the two sides of every pair
LANGUAGE/negatives/{tokens,offsets,of_pairs}       of hard negatives, and where each pair's begin
LANGUAGE/SIDE/FEATURE/{tokens,offsets} or /rows    of a feature, or rows of its table
FEATURE/values                                     the table
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from etils import epath

from dap_jax.data import tokenizer
from dap_jax.data.elements import Feature, Pairs, Ragged, Table
from dap_jax.data.readers import split
from dap_jax.utils.errors import UserError

logger = logging.getLogger(__name__)


def negatives(pairs: Sequence[split.Pair], tokens: tokenizer.Tokenizer) -> dict[str, np.ndarray]:
  """The hard negatives of a language's pairs, tokenised, under their names."""
  language = pairs[0].language
  ids = tokens.encode_ragged([text for pair in pairs for text in pair.negatives])
  ragged = Ragged.of([np.asarray(sequence, np.int32) for sequence in ids])
  return {
    f"{language}/negatives/tokens": ragged.tokens,
    f"{language}/negatives/offsets": ragged.offsets,
    f"{language}/negatives/of_pairs": np.cumsum([0, *(len(pair.negatives) for pair in pairs)]),
  }


def read(
  path: epath.Path, *, languages: Iterable[str], features: Sequence[Feature]
) -> dict[str, Pairs]:
  """Language -> its pairs; languages are numbered in the order given, from 1."""
  arrays = np.load(io.BytesIO(path.read_bytes()))
  named = {feature.name: f"{feature.name}/values" for feature in features}
  tables = {name: arrays[path] for name, path in named.items() if path in arrays}

  def ragged(*path: str) -> Ragged:
    return Ragged(*(arrays["/".join((*path, part))] for part in ("tokens", "offsets")))

  def stored(language: str, side: str, name: str) -> Ragged | Table:
    if name in tables:
      return Table(tables[name], arrays[f"{language}/{side}/{name}/rows"])
    return ragged(language, side, name)

  sides = {"view": ("pivot", "translation"), "pair": ("pair",)}
  sides["rendering"] = sides["view"]  # its name in data that version 0.1 prepared
  return {
    language: Pairs(
      language=number,
      pivot=ragged(language, "pivot"),
      translation=ragged(language, "translation"),
      extras={
        (side, feature.name): stored(language, side, feature.name)
        for feature in features
        for side in sides[feature.of]
      },
      negatives=ragged(language, "negatives"),
      negative_offsets=arrays[f"{language}/negatives/of_pairs"],
    )
    for number, language in enumerate(languages, 1)
  }


def check_negatives(pairs: Mapping[str, Pairs], hard_negatives: int) -> None:
  """Says how many pairs have hard negatives, where some are asked for."""
  if not hard_negatives:
    return
  counts = np.concatenate([np.diff(own.negative_offsets) for own in pairs.values()])
  if not 0 < hard_negatives <= counts.max():
    raise UserError(
      f"data.hard_negatives={hard_negatives}: expected 0 to {counts.max()}, the most that a pair of"
      " the data has (a format that reads them has the argument `negatives`)"
    )
  found = np.count_nonzero(counts >= hard_negatives)
  logger.info(
    "hard negatives: %d of %d pairs have %d, %d have none",
    *(found, len(counts), hard_negatives, np.count_nonzero(counts == 0)),
  )
