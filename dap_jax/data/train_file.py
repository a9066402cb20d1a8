"""train.npz of prepared data: pairs <-> named arrays.

LANGUAGE/{pivot,translation}/{tokens,offsets}      ids of the two sides of every pair
LANGUAGE/negatives/{tokens,offsets,of_pairs}       hard negatives, and where those of a pair begin
LANGUAGE/SIDE/FEATURE/{tokens,offsets} or /rows    a feature's values, or rows of its table
FEATURE/values                                     the table
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from etils import epath

from dap_jax.data import mapped_npz
from dap_jax.data.elements import Feature, Pairs, Ragged, Table
from dap_jax.data.extras import FeatureValues
from dap_jax.utils.errors import UserError

logger = logging.getLogger(__name__)


def table_path(feature: str) -> str:
  """Where the distinct values of a feature are."""
  return f"{feature}/values"


def ragged_arrays(path: str, sequences: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
  """Sequences, under the names that they have below a path."""
  ragged = Ragged.of(sequences)
  return {f"{path}/tokens": ragged.tokens, f"{path}/offsets": ragged.offsets}


def feature_arrays(
  language: str, values: FeatureValues, features: Sequence[Feature], *, pairs: int
) -> dict[str, np.ndarray]:
  """What an `Extra` computed for a language.

  Args:
    language: of the pairs.
    values: of every side and feature.
    features: those of the extra.
    pairs: how many the language has.
  """
  dtypes = {feature.name: feature.dtype for feature in features}
  arrays = {}
  for (side, name), of_pairs in values.items():
    assert len(of_pairs) == pairs, f"{name}: {len(of_pairs)} for {pairs} pairs"
    path = f"{language}/{side}/{name}"
    if isinstance(of_pairs, np.ndarray):
      arrays[f"{path}/rows"] = of_pairs
    else:
      flat = [np.asarray(value, dtypes[name]).reshape(-1) for value in of_pairs]
      arrays |= ragged_arrays(path, flat)
  return arrays


def load_pairs(
  path: epath.Path,
  *,
  languages: Iterable[str],
  features: Sequence[Feature],
  digest: str | None = None,
) -> dict[str, Pairs]:
  """Language -> its pairs; languages are numbered in this order, from 1.

  Raises:
    zipfile.BadZipFile, ValueError, OSError, struct.error, KeyError: the file is damaged, or is not
      that of a `mapped_npz.digest`.
  """
  arrays = mapped_arrays(path, digest)
  names = [feature.name for feature in features if table_path(feature.name) in arrays]
  tables = {name: arrays[table_path(name)] for name in names}

  def ragged(path: str) -> Ragged:
    return Ragged(arrays[f"{path}/tokens"], arrays[f"{path}/offsets"])

  def values_of(path: str, feature: str) -> Ragged | Table:
    if feature in tables:
      return Table(tables[feature], arrays[f"{path}/rows"])
    return ragged(path)

  sides = {"view": ("pivot", "translation"), "pair": ("pair",)}
  sides["rendering"] = sides["view"]  # what data that version 0.1 prepared calls a view
  return {
    language: Pairs(
      language=number,
      pivot=ragged(f"{language}/pivot"),
      translation=ragged(f"{language}/translation"),
      extras={
        (side, feature.name): values_of(f"{language}/{side}/{feature.name}", feature.name)
        for feature in features
        for side in sides[feature.of]
      },
      negatives=ragged(f"{language}/negatives"),
      negative_offsets=arrays[f"{language}/negatives/of_pairs"],
    )
    for number, language in enumerate(languages, 1)
  }


def mapped_arrays(path: epath.Path, digest: str | None = None) -> dict[str, np.ndarray]:
  """The arrays of the file, on this machine's disk until they are used."""
  if "://" not in str(path):
    return mapped_npz.read(Path(path), digest)
  with tempfile.TemporaryDirectory() as folder:
    local = Path(folder) / "train.npz"
    with path.open("rb") as source, local.open("wb") as target:
      shutil.copyfileobj(source, target)
    return mapped_npz.read(
      local, digest
    )  # what is mapped stays readable when the file's name is gone


def check_negatives(pairs: Mapping[str, Pairs], hard_negatives: int) -> None:
  """Logs how many pairs have so many hard negatives. Raises UserError if none has."""
  if not hard_negatives:
    return
  counts = np.concatenate([of_language.negative_counts() for of_language in pairs.values()])
  if not 0 < hard_negatives <= counts.max():
    raise UserError(
      f"data.hard_negatives={hard_negatives}: expected 0 to {counts.max()}, the most that a pair of"
      " the data has (a format that reads them has the argument `negatives`)"
    )
  enough = np.count_nonzero(counts >= hard_negatives)
  logger.info(
    "hard negatives: %d of %d pairs have %d, %d have none",
    *(enough, len(counts), hard_negatives, np.count_nonzero(counts == 0)),
  )
