"""The mixture as a random-access Grain dataset: step -> batch. The step is the only state.

Grain decides which examples come when; a batch's arrays are then gathered at once (examples.py).
B examples, K views (0 the pivot), n hard negatives, L tokens.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import grain
import numpy as np

from dap_jax.data.elements import Layout, Pairs
from dap_jax.data.examples import gather
from dap_jax.data.interleaving import Interleaving


class ExampleSource(Protocol):
  """Examples that a mixture draws from: the pairs of one language, or rows of several."""

  @property
  def sequences(self) -> int:
    """How many sequences an example has, K + n."""
    ...

  def __len__(self) -> int: ...

  def dataset(self, seed: int) -> grain.MapDataset:
    """Endless epochs of examples, each in an order of its own: a function of the seed.

    An element is what `gather` takes.
    """
    ...

  def gather(self, elements: Sequence[Any]) -> dict[str, np.ndarray]:
    """The arrays of some examples, see `examples.gather`."""
    ...

  def longest(self) -> np.ndarray:
    """int [len(self)], the number of ids of the longest sequence that each example may hold."""
    ...

  def real_tokens(self) -> np.ndarray:
    """float [len(self)], the expected number of ids, padding excluded, of each example."""
    ...

  def between(self, shorter: int, longest: int) -> ExampleSource:
    """The examples whose longest sequence has over `shorter` and at most `longest` ids.

    Their padded length L is `longest`.
    """
    ...


class PairSource:
  """The pairs of one language, or some of them, as examples of K = 2.

  Args:
    pairs: of the language.
    layout: how examples look.
    indices: which pairs; None means all.
  """

  def __init__(self, pairs: Pairs, layout: Layout, *, indices: np.ndarray | None = None):
    assert len(pairs.pivot) == len(pairs.translation)
    self._pairs, self._layout, self._indices = pairs, layout, indices

  def __len__(self) -> int:
    return len(self._pairs.pivot) if self._indices is None else len(self._indices)

  @property
  def sequences(self) -> int:
    return 2 + self._layout.negatives

  def dataset(self, seed: int) -> grain.MapDataset:
    return grain.MapDataset.range(len(self)).seed(seed).shuffle().repeat()

  def gather(self, elements: Sequence[int]) -> dict[str, np.ndarray]:
    indices = np.asarray(elements)[:, None]
    if self._indices is not None:
      indices = self._indices[indices].astype(np.int64)
    return gather([self._pairs], np.zeros_like(indices), indices, self._layout)

  def longest(self) -> np.ndarray:
    return self._mine(self._pairs.lengths(self._layout.negatives).max(1))

  def real_tokens(self) -> np.ndarray:
    return self._mine(self._pairs.lengths(self._layout.negatives).sum(1))

  def between(self, shorter: int, longest: int) -> PairSource:
    lengths = self.longest()
    places = np.flatnonzero((shorter < lengths) & (lengths <= longest))
    # All that a host holds for each pair of a corpus: four bytes, where there are four billion.
    small = np.uint32 if len(lengths) <= np.iinfo(np.uint32).max else np.int64
    indices = self._mine(np.arange(len(self._pairs.pivot), dtype=small))[places]
    return PairSource(self._pairs, self._layout._replace(max_tokens=longest), indices=indices)

  def _mine(self, of_pairs: np.ndarray) -> np.ndarray:
    """Of an array with an entry for each pair, those of this source."""
    return of_pairs if self._indices is None else of_pairs[self._indices]


def padding_share(
  sources: Mapping[str, ExampleSource], *, rates: Mapping[str, float], bucket_tokens: Sequence[int]
) -> float:
  """The expected share of padding among the ids of all batches."""
  real = filled = 0.0
  for name, source in sources.items():
    bucket = np.searchsorted(bucket_tokens, source.longest())
    real += rates[name] * source.real_tokens().mean()
    filled += rates[name] * source.sequences * np.asarray(bucket_tokens)[bucket].mean()
  return float(1 - real / filled)


class BucketBatches:
  """Batches of examples of one length: sources shuffled, repeated, mixed by their shares.

  Args:
    bucket: name -> source.
    shares: name -> share of the mixture, any positive scale.
    seed: of the order.
    size: examples of a batch.
  """

  def __init__(
    self, bucket: Mapping[str, ExampleSource], *, shares: Mapping[str, float], seed: int, size: int
  ):
    names = sorted(bucket)
    self._sources, self._size = [bucket[name] for name in names], size
    # Source i of a run with seed s has the seed of source i + 1 of a run with seed s - 1, so runs
    # of neighbouring seeds are less independent than they could be. It stays so: other seeds
    # (numpy's SeedSequence) would change the order of the data, and runs of old workdirs could not
    # resume.
    self._datasets = [source.dataset(seed + i) for i, source in enumerate(self._sources)]
    total = sum(shares.values())
    self._interleaving = Interleaving([shares[name] / total for name in names])

  def __len__(self) -> int:
    return sys.maxsize // self._size

  def __getitem__(self, number: int) -> dict[str, np.ndarray]:
    sources, places = self._interleaving.span(number * self._size, self._size)
    batch: dict[str, np.ndarray] = {}
    for source in np.unique(sources):
      (rows,) = (sources == source).nonzero()
      dataset = self._datasets[source]
      part = self._sources[source].gather([dataset[place] for place in places[rows].tolist()])
      for name, values in part.items():
        if name not in batch:
          batch[name] = np.empty((self._size, *values.shape[1:]), values.dtype)
        batch[name][rows] = values
    return batch


def batches(
  sources: Mapping[str, ExampleSource],
  *,
  rates: Mapping[str, float],
  bucket_tokens: Sequence[int],
  seed: int,
  batch_size: int,
  rows: slice,
  first_step: int,
) -> Iterator[dict[str, np.ndarray]]:
  """The endless stream of batches from `first_step` on, read ahead by threads.

  A batch holds examples of one bucket of lengths, so it has one of a few static shapes. Within a
  bucket every source is shuffled by a seed of its own and repeated, and the sources are interleaved
  by their rates; the buckets are interleaved by what they hold. Global batch n is a function of
  these arguments and n alone, the same for every number of processes and after every restart.

  Args:
    sources: name -> examples: the pairs of a language, or rows.
    rates: name -> share of the mixture, any positive scale.
    bucket_tokens: the padded lengths L, rising; no sequence is longer than the last.
    seed: of the order.
    batch_size: B, examples of the global batch.
    rows: the contiguous rows of the global batch that this process reads; their number divides
      `batch_size`.
    first_step: the step of the first batch.

  Yields:
    The arrays of `examples.gather`, b = the number of `rows`: `ids` int32 [b, K, L], ...
  """
  size = rows.stop - rows.start
  assert batch_size % size == 0 and rows.start % size == 0
  streams, weights = [], []
  for number, (shorter, longest) in enumerate(itertools.pairwise([0, *bucket_tokens])):
    bucket = {name: source.between(shorter, longest) for name, source in sources.items()}
    bucket = {name: source for name, source in bucket.items() if len(source)}
    shares = {name: rates[name] * len(part) / len(sources[name]) for name, part in bucket.items()}
    if bucket:
      # 1000: the buckets' seeds are further apart than those of the sources within one.
      source = BucketBatches(bucket, shares=shares, seed=seed + 1000 * number, size=size)
      stream = grain.MapDataset.source(source)
      streams.append(stream[rows.start // size :: batch_size // size])
      weights.append(sum(shares.values()))
  mixed = grain.MapDataset.mix(streams, weights=[weight / sum(weights) for weight in weights])
  ahead = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)
  iterator = iter(mixed.to_iter_dataset(ahead))
  iterator.set_state({"next_index": first_step})
  return iterator
