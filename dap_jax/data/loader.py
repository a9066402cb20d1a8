"""The mixture as a random-access Grain dataset: step -> batch. The step is the only state.

B pairs, K = 2 renderings (0 the pivot), L tokens.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import grain
import numpy as np


class Ragged:
  """Many int32 sequences in two flat arrays: `tokens` and the `offsets` [n + 1] into them."""

  def __init__(self, tokens: np.ndarray, offsets: np.ndarray):
    self.tokens, self.offsets = tokens, offsets

  @classmethod
  def of(cls, sequences: list[np.ndarray]) -> Ragged:
    offsets = np.cumsum([0, *map(len, sequences)])
    values = np.concatenate(sequences) if sequences else np.zeros(0, np.int32)
    return cls(values, offsets)

  def __len__(self) -> int:
    return len(self.offsets) - 1

  def __getitem__(self, index: int) -> np.ndarray:
    return self.tokens[self.offsets[index] : self.offsets[index + 1]]


class Feature(NamedTuple):
  """One more array of a batch, beside ids: of each rendering, or of each pair (pivot, translation).

  Attributes:
    name: its key in the batch.
    of: "rendering" or "pair".
    length: of the padded array; None = L, as long as the ids are.
    columns: what an entry holds: 0 for a number, n for n numbers.
    fill: what fills up an array.
    dtype: int32 or float32.
  """

  name: str
  of: str
  length: int | None
  columns: int
  fill: int
  dtype: str

  def pad(self, values: np.ndarray, *, max_tokens: int) -> np.ndarray:
    """The stored values, flat -> [length] or [length, columns]; what is too long is cut."""
    length = max_tokens if self.length is None else self.length
    shape = (length, self.columns) if self.columns else (length,)
    padded = np.full(shape, self.fill, self.dtype)
    values = values.reshape(-1, *shape[1:])[: len(padded)]
    padded[: len(values)] = values
    return padded


class Layout(NamedTuple):
  """How elements look. max_tokens: L; pad_id fills up ids; features: what else they hold."""

  max_tokens: int
  pad_id: int
  features: tuple[Feature, ...] = ()


class Pairs(NamedTuple):
  """The pairs of one language.

  Attributes:
    language: its number; the pivot's is 0.
    pivot, translation: ids of the two sides.
    extras: (side, name of a `Feature`) -> its values; the side is "pivot" or "translation" for one
      of renderings, "pair" for one of pairs.
  """

  language: int
  pivot: Ragged
  translation: Ragged
  extras: Mapping[tuple[str, str], Ragged] = {}

  def lengths(self) -> np.ndarray:
    """int [n, 2], ids of either side of every pair."""
    return np.stack([np.diff(side.offsets) for side in (self.pivot, self.translation)], axis=1)


def element(meaning: Sequence[tuple[Pairs, int]], layout: Layout) -> dict[str, np.ndarray]:
  """One meaning as padded arrays: the pivot, then a translation from each of some pairs.

  Args:
    meaning: (pairs of a language, index); all with the same pivot text, which the first gives.
    layout: see `Layout`.

  Returns:
    `ids` int32 [K, L], `mask` bool [K, L], `text_hash` int32 [K], `language` int32 [K] and the
    features, [K, ...] of renderings and [K - 1, ...] of pairs. The hash is of the ids: equal texts
    have equal ids, and texts that are cut to equal ids are one text for the model too.
  """
  first, index = meaning[0]
  renderings = [(first, "pivot", index)] + [(pairs, "translation", i) for pairs, i in meaning]
  ids = np.full((len(renderings), layout.max_tokens), layout.pad_id, np.int32)
  mask = np.zeros(ids.shape, bool)
  text_hash = np.zeros(len(ids), np.int32)
  for k, (pairs, side, i) in enumerate(renderings):
    tokens = getattr(pairs, side)[i]
    ids[k, : len(tokens)] = tokens
    mask[k, : len(tokens)] = True
    text_hash[k] = np.uint32(zlib.crc32(tokens.tobytes())).view(np.int32)
  language = np.array([0] + [pairs.language for pairs, _ in meaning], np.int32)
  made = {"ids": ids, "mask": mask, "text_hash": text_hash, "language": language}
  for feature in layout.features:
    of_pairs = [(pairs, "pair", i) for pairs, i in meaning]
    places = renderings if feature.of == "rendering" else of_pairs
    values = [pairs.extras[side, feature.name][i] for pairs, side, i in places]
    padded = [feature.pad(value, max_tokens=layout.max_tokens) for value in values]
    made[feature.name] = np.stack(padded)
  return made


class PairSource:
  """The pairs of one language, or some of them: random access to `element`s of K = 2.

  Args:
    pairs, layout: see there.
    indices: which pairs; None means all.
  """

  def __init__(self, pairs: Pairs, layout: Layout, *, indices: np.ndarray | None = None):
    assert len(pairs.pivot) == len(pairs.translation)
    self._pairs, self._layout = pairs, layout
    self._indices = np.arange(len(pairs.pivot)) if indices is None else indices

  def __len__(self) -> int:
    return len(self._indices)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    return element([(self._pairs, self._indices[index])], self._layout)

  def lengths(self) -> np.ndarray:
    """int [n, 2], ids of either side of every pair."""
    return self._pairs.lengths()[self._indices]

  def between(self, shorter: int, longest: int) -> PairSource:
    """The pairs whose longer side has over `shorter` and at most `longest` ids, L = `longest`."""
    lengths = self.lengths().max(1)
    kept = self._indices[(shorter < lengths) & (lengths <= longest)]
    return PairSource(self._pairs, self._layout._replace(max_tokens=longest), indices=kept)


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
    What `element` makes, b = length of `rows` of them: `ids` int32 [b, K, L], ...
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
