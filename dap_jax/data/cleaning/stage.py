"""Cleaned pairs on disk: what stands between reading a corpus and choosing and tokenising pairs.

FOLDER/pairs.arrow     the texts, in Arrow's file format, a batch after the other
FOLDER/records         `pairs.RECORD` of each pair, raw
FOLDER/bands/NUMBER    where near duplicates are looked for: `BAND` of each pair, raw
FOLDER/stage.json      of a complete stage: what it was made of, see `Stage.keep`

All but the last need not fit in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from etils import epath

from dap_jax.data.cleaning.pairs import RECORD, Pair, records_of
from dap_jax.utils.json_files import read_json, write_json

SCHEMA = pa.schema(
  [
    ("language", pa.string()),
    ("pivot", pa.string()),
    ("translation", pa.string()),
    ("negatives", pa.list_(pa.string())),
    ("where", pa.string()),
  ]
)
BAND = np.dtype([("hash", "<u8")])  # see `near_duplicates.bands_of`
COMPLETE = "stage.json"
BLOCK = 1 << 20  # records that are in memory at a time


class Batch(NamedTuple):
  """Some pairs in order: `first`, the number of the first of all; `pairs`, their columns."""

  first: int
  pairs: pa.RecordBatch


class Stage:
  """Staged pairs, numbered in the corpus's order.

  Attributes:
    languages: by number.
    size: how many pairs there are.
    has_negatives: whether any pair has a hard negative.
  """

  def __init__(self, folder: Path, *, languages: list[str], size: int, has_negatives: bool):
    self._folder = folder
    self.languages, self.size, self.has_negatives = languages, size, has_negatives

  def keep(self, key: str, statistics: Mapping[str, Any]) -> None:
    """Says that the stage is complete, for `find`.

    Args:
      key: tells apart what stages are made of.
      statistics: of the pairs that were left out, `Rejections.statistics`.
    """
    size = {"languages": self.languages, "size": self.size, "has_negatives": self.has_negatives}
    content = {"key": key, "stage": size, "statistics": statistics}
    write_json(epath.Path(self._folder / COMPLETE), content)

  @classmethod
  def find(cls, folder: Path, key: str) -> tuple[Stage, Mapping[str, Any]] | None:
    """The stage that a killed run left in a folder, and the statistics; None if it left none.

    Nor does a stage count that was made of something else.
    """
    path = epath.Path(folder / COMPLETE)
    content = read_json(path) if path.exists() else {}
    if content.get("key") != key:
      return None
    return cls(folder, **content["stage"]), content["statistics"]

  def blocks(self, band: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """All records, block by block: the number of the first, and `RECORD` [n].

    With a band's number the hashes of that band instead: `BAND` [n].
    """
    path = "records" if band is None else f"bands/{band}"
    with (self._folder / path).open("rb") as file:
      for first in range(0, self.size, BLOCK):
        dtype = RECORD if band is None else BAND
        yield first, np.fromfile(file, dtype, count=min(BLOCK, self.size - first))

  def batches(self) -> Iterator[Batch]:
    """All texts, batch by batch."""
    first = 0
    # Not mapped: what was read would count as this process's memory to its end.
    with pa.OSFile(str(self._folder / "pairs.arrow")) as file:
      reader = pa.ipc.open_file(file)
      for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        yield Batch(first, batch)
        first += batch.num_rows


class StageWriter:
  """Writes a stage, as a context; `add` appends pairs, `stage` is the result at the end."""

  def __init__(self, folder: Path):
    self._folder, self._size = folder, 0
    self._languages: dict[str, int] = {}
    self._has_negatives = False
    self._bands: list[BinaryIO] = []
    folder.mkdir(parents=True, exist_ok=True)

  def __enter__(self) -> StageWriter:
    self._records = (self._folder / "records").open("wb")
    self._texts = pa.ipc.new_file(str(self._folder / "pairs.arrow"), SCHEMA)
    return self

  def __exit__(self, *_) -> None:
    self._texts.close()
    for file in (self._records, *self._bands):
      file.close()

  def add(
    self, batch: pa.RecordBatch, records: np.ndarray, bands: np.ndarray, languages: list[str]
  ) -> None:
    """Appends pairs.

    Args:
      batch: their texts.
      records: `RECORD` of each, with the languages' numbers in `languages`.
      bands: `near_duplicates.bands_of` each.
      languages: by number, in the order in which they appear.
    """
    numbers = [self._languages.setdefault(code, len(self._languages)) for code in languages]
    records["language"] = np.array(numbers, np.uint16)[records["language"]]
    self._records.write(records.tobytes())
    self._texts.write_batch(batch)
    if bands.shape[1] and not self._bands:
      folder = self._folder / "bands"
      folder.mkdir()
      self._bands = [(folder / str(number)).open("wb") for number in range(bands.shape[1])]
    for file, hashes in zip(self._bands, bands.T, strict=True):
      file.write(hashes.tobytes())
    self._size += len(records)
    self._has_negatives |= len(batch["negatives"].flatten()) > 0

  def stage(self) -> Stage:
    return Stage(
      self._folder,
      languages=list(self._languages),
      size=self._size,
      has_negatives=self._has_negatives,
    )


def columns_of(pairs: list[Pair]) -> tuple[pa.RecordBatch, np.ndarray, list[str]]:
  """What `StageWriter.add` takes of some pairs."""
  numbers: dict[str, int] = {}
  for pair in pairs:
    numbers.setdefault(pair.language, len(numbers))
  columns = zip(*pairs, strict=True) if pairs else [[]] * len(SCHEMA)
  arrays = [pa.array(values, type) for values, type in zip(columns, SCHEMA.types, strict=True)]
  batch = pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
  return batch, records_of(pairs, numbers=numbers), list(numbers)


def pairs_in(batch: pa.RecordBatch, chosen: np.ndarray | Sequence[int]) -> list[Pair]:
  """The pairs of a batch at some places, int [n]."""
  if not len(chosen):
    return []
  return pairs_of_batch(batch.take(pa.array(chosen)))


def pairs_of_batch(part: pa.RecordBatch) -> list[Pair]:
  """All pairs of a batch."""
  columns = [part.column(name).to_pylist() for name in SCHEMA.names]
  return [
    Pair(language, pivot, translation, tuple(negatives), where)
    for language, pivot, translation, negatives, where in zip(*columns, strict=True)
  ]
