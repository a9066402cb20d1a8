"""The mixture as a random-access Grain dataset: step -> batch. The step is the only state.

B meanings, K renderings (0 the pivot), n hard negatives, L tokens.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

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


class Table:
  """Values that occur again and again, each kept once: `values` [N, n], `rows` int32, of them."""

  def __init__(self, values: np.ndarray, rows: np.ndarray):
    self.values, self.rows = values, rows

  def __getitem__(self, index: int) -> np.ndarray:
    return self.values[self.rows[index]]


class Feature(NamedTuple):
  """One more array of a batch, beside ids: of each rendering, or of each pair (pivot, translation).

  Attributes:
    name: its key in the batch.
    of: "rendering" or "pair".
    length: of the padded array; None = L, as long as the ids are.
    columns: what an entry holds: 0 for a number, n for n numbers.
    fill: what fills up an array.
    dtype: int32, float32 or bool.
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
  """How elements look.

  Attributes:
    max_tokens: L.
    pad_id: fills up ids.
    features: what else they hold.
    negatives: n.
  """

  max_tokens: int
  pad_id: int
  features: tuple[Feature, ...] = ()
  negatives: int = 0


class Pairs(NamedTuple):
  """The pairs of one language.

  Attributes:
    language: its number; the pivot's is 0.
    pivot, translation: ids of the two sides.
    extras: (side, name of a `Feature`) -> its values; the side is "pivot" or "translation" for one
      of renderings, "pair" for one of pairs.
    negatives: ids of the hard negatives of all pairs, texts in the pivot's language.
    negative_offsets: int [pairs + 1]; those of pair i stand from i's to the next one.
  """

  language: int
  pivot: Ragged
  translation: Ragged
  extras: Mapping[tuple[str, str], Ragged | Table] = {}
  negatives: Ragged = Ragged.of([])
  negative_offsets: np.ndarray | None = None

  def negatives_of(self, index: int) -> list[np.ndarray]:
    """The ids of each hard negative of a pair."""
    if self.negative_offsets is None:
      return []
    return [self.negatives[i] for i in range(*self.negative_offsets[index : index + 2])]

  def lengths(self, negatives: int = 0) -> np.ndarray:
    """int [pairs, 2 + negatives], ids of a pair's pivot, translation and first hard negatives.

    A missing negative counts 2: see `element`.
    """
    lengths = np.full((len(self.pivot), 2 + negatives), 2)
    lengths[:, 0], lengths[:, 1] = np.diff(self.pivot.offsets), np.diff(self.translation.offsets)
    if self.negative_offsets is not None:
      of_negatives = np.diff(self.negatives.offsets)
      for k in range(negatives):
        place = self.negative_offsets[:-1] + k
        there = place < self.negative_offsets[1:]
        lengths[there, 2 + k] = of_negatives[place[there]]
    return lengths


def element(meaning: Sequence[tuple[Pairs, int]], layout: Layout) -> dict[str, np.ndarray]:
  """One meaning as padded arrays: the pivot, then a translation from each of some pairs.

  Args:
    meaning: (pairs of a language, index); all with the same pivot text, which the first gives.
    layout: see `Layout`.

  Returns:
    `ids` int32 [K, L], `mask` bool [K, L], `text_hash` int32 [K], `language` int32 [K] and the
    features, [K, ...] of renderings and [K - 1, ...] of pairs. The hash is of the ids: equal texts
    have equal ids, and texts that are cut to equal ids are one text for the model too.
    With hard negatives: the first n of each pair, then the first n different ones of all, are n
    further rows of ids, mask and text_hash, and `has_negative` bool [n] says which of them there
    are. A missing one is [CLS] [SEP], since a sequence without a token has no mean.
  """
  first, index = meaning[0]
  renderings = [(first, "pivot", index)] + [(pairs, "translation", i) for pairs, i in meaning]
  sequences = [getattr(pairs, side)[i] for pairs, side, i in renderings]
  made = {"language": np.array([0] + [pairs.language for pairs, _ in meaning], np.int32)}
  if layout.negatives:
    n = layout.negatives
    listed = [tokens for pairs, i in meaning for tokens in pairs.negatives_of(i)[:n]]
    found = list({tokens.tobytes(): tokens for tokens in listed}.values())[:n]
    sequences += found + [sequences[0][[0, -1]]] * (n - len(found))
    made["has_negative"] = np.arange(n) < len(found)
  made |= padded(sequences, layout)
  for feature in layout.features:
    places = renderings
    if feature.of == "pair":
      places = [(pairs, "pair", i) for pairs, i in meaning]
    values = [pairs.extras[side, feature.name][i] for pairs, side, i in places]
    arrays = [feature.pad(value, max_tokens=layout.max_tokens) for value in values]
    made[feature.name] = np.stack(arrays)
  return made


def padded(sequences: Sequence[np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
  """Sequences of ids -> `ids` int32 [S, L], `mask` bool [S, L], `text_hash` int32 [S]."""
  ids = np.full((len(sequences), layout.max_tokens), layout.pad_id, np.int32)
  mask = np.zeros(ids.shape, bool)
  text_hash = np.zeros(len(ids), np.int32)
  for k, tokens in enumerate(sequences):
    ids[k, : len(tokens)] = tokens
    mask[k, : len(tokens)] = True
    text_hash[k] = np.uint32(zlib.crc32(tokens.tobytes())).view(np.int32)
  return {"ids": ids, "mask": mask, "text_hash": text_hash}


class Source(Protocol):
  """Elements that a mixture draws from: the pairs of a language, or rows of several."""

  @property
  def sequences(self) -> int:
    """Sequences of an element, K + n."""
    ...

  def __len__(self) -> int: ...

  def dataset(self, seed: int) -> grain.MapDataset:
    """Endless epochs of elements, each in its own order; a function of the seed and the index."""
    ...

  def longest(self) -> np.ndarray:
    """int [len(self)], ids of the longest sequence that an element may hold."""
    ...

  def real_tokens(self) -> np.ndarray:
    """float [len(self)], ids of all sequences of an element, as expected."""
    ...

  def between(self, shorter: int, longest: int) -> Source:
    """Those whose longest sequence has over `shorter` and at most `longest` ids, L = `longest`."""
    ...


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

  @property
  def sequences(self) -> int:
    return 2 + self._layout.negatives

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    return element([(self._pairs, self._indices[index])], self._layout)

  def dataset(self, seed: int) -> grain.MapDataset:
    return grain.MapDataset.source(self).seed(seed).shuffle().repeat()

  def longest(self) -> np.ndarray:
    return self._pairs.lengths(self._layout.negatives).max(1)[self._indices]

  def real_tokens(self) -> np.ndarray:
    return self._pairs.lengths(self._layout.negatives).sum(1)[self._indices]

  def between(self, shorter: int, longest: int) -> PairSource:
    lengths = self.longest()
    kept = self._indices[(shorter < lengths) & (lengths <= longest)]
    return PairSource(self._pairs, self._layout._replace(max_tokens=longest), indices=kept)


def padding_share(
  sources: Mapping[str, Source], *, rates: Mapping[str, float], bucket_tokens: Sequence[int]
) -> float:
  """The expected share of padding among the ids of all batches."""
  real = filled = 0.0
  for name, source in sources.items():
    bucket = np.searchsorted(bucket_tokens, source.longest())
    real += rates[name] * source.real_tokens().mean()
    filled += rates[name] * source.sequences * np.asarray(bucket_tokens)[bucket].mean()
  return float(1 - real / filled)


def bucket_batches(
  bucket: Mapping[str, Source], *, shares: Mapping[str, float], seed: int, size: int
) -> grain.MapDataset:
  """Batches of `size` elements of one length: sources shuffled, repeated, mixed by their shares."""
  names = sorted(bucket)
  total = sum(shares.values())
  datasets = [bucket[name].dataset(seed + i) for i, name in enumerate(names)]
  weights = [shares[name] / total for name in names]
  return grain.MapDataset.mix(datasets, weights=weights).batch(size)


def batches(
  sources: Mapping[str, Source],
  *,
  rates: Mapping[str, float],
  bucket_tokens: Sequence[int],
  seed: int,
  batch_size: int,
  rows: slice,
  first_step: int,
) -> Iterator[dict[str, np.ndarray]]:
  """The endless stream of batches from `first_step` on, read ahead by threads.

  A batch holds elements of one bucket of lengths, so it has one of a few static shapes. Within a
  bucket every source is shuffled by its own seed and repeated, and the sources are interleaved by
  their rates; so are the buckets, by what they hold. Global batch n is a function of these
  arguments and n alone, the same for every number of processes and after every restart.

  Args:
    sources: name -> elements: the pairs of a language, or rows.
    rates: name -> share of the mixture, any positive scale.
    bucket_tokens: the lengths L, rising; the last is the longest sequence.
    seed: of the order.
    batch_size: B, meanings of the global batch.
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
    bucket = {name: source.between(shorter, longest) for name, source in sources.items()}
    bucket = {name: source for name, source in bucket.items() if len(source)}
    shares = {name: rates[name] * len(part) / len(sources[name]) for name, part in bucket.items()}
    if bucket:
      stream = bucket_batches(bucket, shares=shares, seed=seed + 1000 * number, size=size)
      streams.append(stream[rows.start // size :: batch_size // size])
      weights.append(sum(shares.values()))
  mixed = grain.MapDataset.mix(streams, weights=[weight / sum(weights) for weight in weights])
  ahead = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)
  iterator = iter(mixed.to_iter_dataset(ahead))
  iterator.set_state({"next_index": first_step})
  return iterator
