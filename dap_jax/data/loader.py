"""The mixture as a random-access Grain dataset: step -> batch. The step is the only state.

B pairs, K = 2 renderings (0 the pivot), L tokens.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

import grain
import numpy as np


class Ragged:
  """Many int32 sequences in two flat arrays: `tokens` and the `offsets` [n + 1] into them."""

  def __init__(self, tokens: np.ndarray, offsets: np.ndarray):
    self.tokens, self.offsets = tokens, offsets

  @classmethod
  def of(cls, sequences: list[np.ndarray]) -> Ragged:
    offsets = np.cumsum([0, *map(len, sequences)])
    return cls(np.concatenate([np.zeros(0, np.int32), *sequences]), offsets)

  def __len__(self) -> int:
    return len(self.offsets) - 1

  def __getitem__(self, index: int) -> np.ndarray:
    return self.tokens[self.offsets[index] : self.offsets[index + 1]]


class PairSource:
  """The pairs of one language as padded arrays.

  An element: `ids` int32 [2, L], `mask` bool [2, L], `text_hash` int32 [2]. The hash is of the ids:
  equal texts have equal ids, and texts that are cut to equal ids are one text for the model too.
  """

  def __init__(self, pivot: Ragged, translation: Ragged, *, max_tokens: int, pad_id: int):
    assert len(pivot) == len(translation)
    self._renderings = (pivot, translation)
    self._max_tokens, self._pad_id = max_tokens, pad_id

  def __len__(self) -> int:
    return len(self._renderings[0])

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    ids = np.full((2, self._max_tokens), self._pad_id, np.int32)
    mask = np.zeros((2, self._max_tokens), bool)
    text_hash = np.zeros(2, np.int32)
    for k, rendering in enumerate(self._renderings):
      tokens = rendering[index]
      ids[k, : len(tokens)] = tokens
      mask[k, : len(tokens)] = True
      text_hash[k] = np.uint32(zlib.crc32(tokens.tobytes())).view(np.int32)
    return {"ids": ids, "mask": mask, "text_hash": text_hash}


def batches(
  sources: Mapping[str, PairSource],
  *,
  rates: Mapping[str, float],
  seed: int,
  batch_size: int,
  rows: slice,
  first_step: int,
) -> Iterator[dict[str, np.ndarray]]:
  """The endless stream of batches from `first_step` on, read ahead by a thread.

  Every language is shuffled by its own seed and repeated; the languages are interleaved by their
  rates. Global batch n is a function of these arguments and n alone, so it is the same for every
  number of processes and after every restart.

  Args:
    sources: language -> pairs.
    rates: language -> share of the mixture, any positive scale.
    seed: of the order.
    batch_size: pairs of the global batch.
    rows: the contiguous rows of the global batch that this process wants; its length divides
      `batch_size`.
    first_step: the step of the first batch.

  Yields:
    `ids` int32 [b, 2, L], `mask` bool [b, 2, L], `text_hash` int32 [b, 2]; b = length of `rows`.
  """
  languages = sorted(sources)
  total = sum(rates[language] for language in languages)
  datasets = [
    grain.MapDataset.source(sources[language]).seed(seed + i).shuffle().repeat()
    for i, language in enumerate(languages)
  ]
  mixed = grain.MapDataset.mix(datasets, weights=[rates[lang] / total for lang in languages])
  size = rows.stop - rows.start
  assert batch_size % size == 0 and rows.start % size == 0
  mine = mixed.batch(size)[rows.start // size :: batch_size // size]
  ahead = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)
  iterator = iter(mine.to_iter_dataset(ahead))
  iterator.set_state({"next_index": first_step})
  return iterator
