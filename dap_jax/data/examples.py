"""Examples as padded arrays, a whole batch at a time.

b examples, K views (0 the pivot), n hard negatives, S = K + n sequences, L tokens.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from dap_jax.data.elements import Feature, Layout, Pairs, Ragged, Table


def gather(
  pairs: Sequence[Pairs], languages: np.ndarray, indices: np.ndarray, layout: Layout
) -> dict[str, np.ndarray]:
  """The examples of a batch: of each a pivot, and the translation of each of its pairs.

  Args:
    pairs: of some languages.
    languages: int [b, K - 1], the pairs that an example is made of: places in `pairs`.
    indices: int [b, K - 1], which of that language's pairs. All of an example have the same pivot
      text, which the first gives.
    layout: how examples look.

  Returns:
    `ids` int32 [b, S, L], `mask` bool [b, S, L], `text_hash` int32 [b, S], `language` int32 [b, K]
    and the features, [b, K, ...] of views and [b, K - 1, ...] of pairs. The hash is of the ids:
    equal texts have equal ids, and texts that are cut to equal ids are one text for the model too.
    With hard negatives, the last n sequences are the first n different ones among the first n of
    each pair; `has_negative` bool [b, n] says which places hold one. A missing one is [CLS] [SEP],
    since a sequence without a token has no mean.
  """
  places = [(languages[:, k], indices[:, k]) for k in range(languages.shape[1])]
  of_pairs = [("pair", *place) for place in places]
  views = [("pivot", *places[0]), *(("translation", *place) for place in places)]
  numbers = np.array([of_language.language for of_language in pairs], np.int32)[languages]
  made = {"language": np.pad(numbers, ((0, 0), (1, 0)))}
  stored = {side: [getattr(each, side) for each in pairs] for side in ("pivot", "translation")}
  parts = [
    padded(stored[side], *place, length=layout.max_tokens, fill=layout.pad_id)
    for side, *place in views
  ]
  ids, counts = (np.stack(arrays, 1) for arrays in zip(*parts, strict=True))
  if layout.negatives:
    ends = ids[:, 0, 0], ids[np.arange(len(ids)), 0, counts[:, 0] - 1]
    sequences, their_counts, made["has_negative"] = hard_negatives(
      pairs, languages, indices, layout, missing=np.stack(ends, 1)
    )
    ids, counts = np.concatenate([ids, sequences], 1), np.concatenate([counts, their_counts], 1)
  made["ids"], made["text_hash"] = ids, hashes(ids, counts)
  made["mask"] = np.arange(layout.max_tokens) < counts[..., None]
  for feature in layout.features:
    of = of_pairs if feature.of == "pair" else views
    columns = [feature_values(feature, pairs, layout, side, *place) for side, *place in of]
    made[feature.name] = np.stack(columns, 1)
  return made


def padded(
  stored: Sequence[Ragged | Table],
  languages: np.ndarray,
  indices: np.ndarray,
  *,
  length: int,
  fill: int,
  dtype: str = "int32",
  entry: tuple[int, ...] = (),
) -> tuple[np.ndarray, np.ndarray]:
  """Stored sequences of each of some languages, padded or cut to a length.

  Args:
    stored: of the languages.
    languages, indices: int [b], which language's and which of its sequences.
    length, fill, dtype: of the result.
    entry: its entries' shape.

  Returns:
    [b, length, *entry], and int [b], how many entries are no padding.
  """
  values = np.full((len(indices), length, *entry), fill, dtype)
  counts = np.zeros(len(indices), int)
  for number in np.unique(languages):
    (rows,) = (languages == number).nonzero()
    of_language = stored[number]
    if isinstance(of_language, Table):
      part = of_language.values[of_language.rows[indices[rows]]]
      part = part.reshape(len(rows), -1, *entry)[:, :length]
      values[rows, : part.shape[1]], counts[rows] = part, part.shape[1]
      continue
    width = entry[0] if entry else 1
    start, stop = (of_language.offsets[indices[rows] + i] for i in (0, 1))
    counts[rows] = np.minimum((stop - start) // width, length)
    row, column = (np.arange(length) < counts[rows, None]).nonzero()
    first = start[row] + column * width
    if entry:
      first = first[:, None] + np.arange(width)
    values[rows[row], column] = of_language.tokens[first]
  return values, counts


def feature_values(
  feature: Feature,
  pairs: Sequence[Pairs],
  layout: Layout,
  side: str,
  languages: np.ndarray,
  indices: np.ndarray,
) -> np.ndarray:
  """A feature of one side of some pairs, [b, length] or [b, length, columns]."""
  return padded(
    [of_language.extras[side, feature.name] for of_language in pairs],
    *(languages, indices),
    length=layout.max_tokens if feature.length is None else feature.length,
    fill=feature.fill,
    dtype=feature.dtype,
    entry=(feature.columns,) if feature.columns else (),
  )[0]


def hard_negatives(
  pairs: Sequence[Pairs],
  languages: np.ndarray,
  indices: np.ndarray,
  layout: Layout,
  *,
  missing: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The hard negatives of some examples, see `gather`.

  Args:
    pairs, languages, indices, layout: as there.
    missing: int32 [b, 2], the ids that stand where there is none.

  Returns:
    The ids int32 [b, n, L], how many of these are no padding int [b, n], and bool [b, n].
  """
  n = layout.negatives
  sequences: list[np.ndarray] = []
  there = np.zeros((len(indices), n), bool)
  for row, example in enumerate(zip(languages, indices, strict=True)):
    of_pairs = (pairs[number].negatives_of(i)[:n] for number, i in zip(*example, strict=True))
    different = {ids.tobytes(): ids for negatives in of_pairs for ids in negatives}
    chosen = list(different.values())[:n]
    there[row, : len(chosen)] = True
    sequences += chosen + [missing[row]] * (n - len(chosen))
  every = np.arange(len(sequences))
  ids, counts = padded(
    [Ragged.of(sequences)],
    *(np.zeros_like(every), every),
    length=layout.max_tokens,
    fill=layout.pad_id,
  )
  return ids.reshape(len(there), n, -1), counts.reshape(there.shape), there


def hashes(ids: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """The CRC-32 of each sequence's bytes, int32; ids: [..., L], of which `counts` [...] are real."""
  octets = np.ascontiguousarray(ids, "<i4").data.cast("B")
  width = 4 * ids.shape[-1]
  starts = range(0, len(octets), width)
  values = [
    zlib.crc32(octets[start : start + 4 * count])
    for start, count in zip(starts, counts.ravel().tolist(), strict=True)
  ]
  return np.array(values, np.uint32).view(np.int32).reshape(counts.shape)


def blank(layout: Layout, *, views: int) -> dict[str, np.ndarray]:
  """One example of texts of two tokens, for its shapes and dtypes."""
  nothing = Ragged.of([np.zeros(0)])  # one entry without values
  extras = {
    (side, feature.name): nothing
    for feature in layout.features
    for side in (("pair",) if feature.of == "pair" else ("pivot", "translation"))
  }
  text = Ragged.of([np.zeros(2, np.int32)])
  place = np.zeros((1, views - 1), int)
  batch = gather([Pairs(1, text, text, extras)], place, place, layout)
  return {name: values[0] for name, values in batch.items()}
