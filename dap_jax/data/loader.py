"""The mixture as a random-access Grain dataset: step -> batch. The step is the only state.

B pairs, K = 2 renderings (0 the pivot), L tokens.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence

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
  """The pairs of one language, or some of them, as padded arrays.

  An element: `ids` int32 [2, L], `mask` bool [2, L], `text_hash` int32 [2]. The hash is of the ids:
  equal texts have equal ids, and texts that are cut to equal ids are one text for the model too.

  Args:
    pivot, translation: the sequences of all pairs.
    max_tokens: L.
    pad_id: what fills up a sequence.
    indices: which pairs; None means all.
  """

  def __init__(
    self,
    pivot: Ragged,
    translation: Ragged,
    *,
    max_tokens: int,
    pad_id: int,
    indices: np.ndarray | None = None,
  ):
    assert len(pivot) == len(translation)
    self._renderings = (pivot, translation)
    self._max_tokens, self._pad_id = max_tokens, pad_id
    self._indices = np.arange(len(pivot)) if indices is None else indices

  def __len__(self) -> int:
    return len(self._indices)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    ids = np.full((2, self._max_tokens), self._pad_id, np.int32)
    mask = np.zeros((2, self._max_tokens), bool)
    text_hash = np.zeros(2, np.int32)
    for k, rendering in enumerate(self._renderings):
      tokens = rendering[self._indices[index]]
      ids[k, : len(tokens)] = tokens
      mask[k, : len(tokens)] = True
      text_hash[k] = np.uint32(zlib.crc32(tokens.tobytes())).view(np.int32)
    return {"ids": ids, "mask": mask, "text_hash": text_hash}

  def lengths(self) -> np.ndarray:
    """int [n, 2], ids of either side of every pair."""
    sides = [np.diff(rendering.offsets)[self._indices] for rendering in self._renderings]
    return np.stack(sides, axis=1)

  def between(self, shorter: int, longest: int) -> PairSource:
    """The pairs whose longer side has over `shorter` and at most `longest` ids, L = `longest`."""
    lengths = self.lengths().max(1)
    return PairSource(
      *self._renderings,
      max_tokens=longest,
      pad_id=self._pad_id,
      indices=self._indices[(shorter < lengths) & (lengths <= longest)],
    )


def padding_share(
  sources: Mapping[str, PairSource], *, rates: Mapping[str, float], bucket_tokens: Sequence[int]
) -> float:
  """The expected share of padding among the ids of all batches."""
  real = padded = 0.0
  for language, source in sources.items():
    lengths = source.lengths()
    bucket = np.searchsorted(bucket_tokens, lengths.max(1))
    real += rates[language] * lengths.sum(1).mean()
    padded += rates[language] * 2 * np.asarray(bucket_tokens)[bucket].mean()
  return float(1 - real / padded)


def bucket_batches(
  bucket: Mapping[str, PairSource], *, shares: Mapping[str, float], seed: int, size: int
) -> grain.MapDataset:
  """Batches of `size` pairs of one length: languages shuffled, repeated, mixed by their shares."""
  languages = sorted(bucket)
  total = sum(shares.values())
  datasets = [
    grain.MapDataset.source(bucket[language]).seed(seed + i).shuffle().repeat()
    for i, language in enumerate(languages)
  ]
  weights = [shares[language] / total for language in languages]
  return grain.MapDataset.mix(datasets, weights=weights).batch(size)


def batches(
  sources: Mapping[str, PairSource],
  *,
  rates: Mapping[str, float],
  bucket_tokens: Sequence[int],
  seed: int,
  batch_size: int,
  rows: slice,
  first_step: int,
) -> Iterator[dict[str, np.ndarray]]:
  """The endless stream of batches from `first_step` on, read ahead by threads.

  A batch holds pairs of one bucket of lengths, so it has one of a few static shapes. Within a
  bucket every language is shuffled by its own seed and repeated, and the languages are interleaved
  by their rates; so are the buckets, by what they hold. Global batch n is a function of these
  arguments and n alone, the same for every number of processes and after every restart.

  Args:
    sources: language -> pairs.
    rates: language -> share of the mixture, any positive scale.
    bucket_tokens: the lengths L, rising; the last is the longest sequence.
    seed: of the order.
    batch_size: pairs of the global batch.
    rows: the contiguous rows of the global batch that this process wants; its length divides
      `batch_size`.
    first_step: the step of the first batch.

  Yields:
    `ids` int32 [b, 2, L], `mask` bool [b, 2, L], `text_hash` int32 [b, 2]; b = length of `rows`.
  """
  size = rows.stop - rows.start
  assert batch_size % size == 0 and rows.start % size == 0
  streams, weights = [], []
  for number, (shorter, longest) in enumerate(itertools.pairwise([0, *bucket_tokens])):
    bucket = {language: source.between(shorter, longest) for language, source in sources.items()}
    bucket = {language: source for language, source in bucket.items() if len(source)}
    shares = {lang: rates[lang] * len(part) / len(sources[lang]) for lang, part in bucket.items()}
    if bucket:
      stream = bucket_batches(bucket, shares=shares, seed=seed + 1000 * number, size=size)
      streams.append(stream[rows.start // size :: batch_size // size])
      weights.append(sum(shares.values()))
  mixed = grain.MapDataset.mix(streams, weights=[weight / sum(weights) for weight in weights])
  ahead = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)
  iterator = iter(mixed.to_iter_dataset(ahead))
  iterator.set_state({"next_index": first_step})
  return iterator
