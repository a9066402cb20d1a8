"""Staged pairs -> ids -> train.npz, batch by batch."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from etils import epath

from dap_jax.data import mapped_npz, train_file
from dap_jax.data.cleaning import selection as choice
from dap_jax.data.cleaning.kept import KEPT
from dap_jax.data.cleaning.pairs import Pair, hash_of
from dap_jax.data.cleaning.stage import Stage, pairs_of_batch
from dap_jax.data.elements import SIDES
from dap_jax.data.engines.processes import Workers
from dap_jax.data.extras import Extra
from dap_jax.data.pair_encoder import EncoderSettings, encoder_of, texts_of
from dap_jax.data.raw_sequences import DTYPE, RawSequences
from dap_jax.data.texts.normal_forms import key_of
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.utils.progress import Progress
from dap_jax.utils.quiet import quiet_stderr


def kept_pairs(stage: Stage, selection: choice.Selection) -> Iterator[list[Pair]]:
  """The pairs to train on, batch by batch; no held-out sentence is among their hard negatives."""
  for part in kept_parts(stage, selection):
    yield pairs_of_part(part)


class Part(NamedTuple):
  """Some pairs, which may be sent to another process.

  Attributes:
    pairs: their columns, see `stage.SCHEMA`.
    heldout_keys: of `Selection`, or nothing where no pair has hard negatives.
  """

  pairs: pa.RecordBatch
  heldout_keys: frozenset[int]


def kept_parts(stage: Stage, selection: choice.Selection) -> Iterator[Part]:
  """The pairs to train on, as one part for each batch that has any."""
  keys = selection.heldout_keys if stage.has_negatives else frozenset()
  for batch in stage.batches():
    places = selection.places(batch, KEPT)
    if len(places):
      yield Part(batch.pairs.take(pa.array(places)), keys)


def pairs_of_part(part: Part) -> list[Pair]:
  """Its pairs; no held-out sentence is among their hard negatives."""
  pairs = pairs_of_batch(part.pairs)
  if not part.heldout_keys:
    return pairs
  return [
    pair._replace(
      negatives=tuple(
        text for text in pair.negatives if hash_of(key_of(text)) not in part.heldout_keys
      )
    )
    for pair in pairs
  ]


class Tokenised(NamedTuple):
  """The tokenised pairs.

  Attributes:
    sequences: by `LANGUAGE/SIDE`, and of the hard negatives, see `train_file`.
    pairs: language -> how many.
    english_ids: the ids of the pivot side, rising.
    cut_texts: how many texts of pairs are longer than the tokenizer's limit.
  """

  sequences: RawSequences
  pairs: dict[str, int]
  english_ids: list[int]
  cut_texts: int


class TokenisedPart(NamedTuple):
  """Of a part: name -> (ids, how many each sequence has); and of `Tokenised` what it adds to it."""

  sequences: dict[str, tuple[np.ndarray, np.ndarray]]
  pairs: Counter[str]
  english_ids: np.ndarray
  cut_texts: int


def tokenise_part(part: Part, *, settings: EncoderSettings) -> TokenisedPart:
  """Tokenises the pairs of a part."""
  encoder = encoder_of(settings)
  pairs = encoder.prompted(pairs_of_part(part))
  encoded = encoder.encode(pairs)
  by_language: dict[str, list[Pair]] = defaultdict(list)
  for pair in pairs:
    by_language[pair.language].append(pair)
  sequences = {}
  for language, of_language in by_language.items():
    for side in SIDES:
      of_side = [encoded[getattr(pair, side)].ids for pair in of_language]
      sequences[f"{language}/{side}"] = joined(of_side)
    negatives = [encoded[text].ids for pair in of_language for text in pair.negatives]
    sequences[f"{language}/negatives"] = joined(negatives)
    lengths = [np.zeros(len(pair.negatives), DTYPE) for pair in of_language]
    sequences[f"{language}/negatives/of_pairs"] = joined(lengths)
  english = [sequences[f"{language}/pivot"][0] for language in by_language]
  return TokenisedPart(
    sequences,
    Counter(pair.language for pair in pairs),
    np.unique(np.concatenate(english)),
    sum(encoded[text].is_cut for pair in pairs for text in (pair.pivot, pair.translation)),
  )


def joined(sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  """Sequences as one, int32, and int32 how many numbers each has."""
  counts = np.fromiter(map(len, sequences), DTYPE, len(sequences))
  return np.concatenate([np.zeros(0, DTYPE), *sequences]), counts


def tokenise(
  stage: Stage,
  selection: choice.Selection,
  settings: EncoderSettings,
  *,
  work: Path,
  workers: Workers,
) -> Tokenised:
  """Tokenises the pairs to train on, in their order.

  Args:
    stage, selection: the pairs.
    settings: how.
    work: a folder for files in between.
    workers: tokenise.
  """
  sequences, counts = RawSequences(work / "sequences"), Counter[str]()
  english, cut = np.zeros(settings.ids, bool), 0
  total = int((selection.states == KEPT).sum())
  tokenise_one = functools.partial(tokenise_part, settings=settings)
  with Progress("tokenising", total=total, unit="pair") as progress:
    for part in workers.map(tokenise_one, kept_parts(stage, selection)):
      for name, (ids, lengths) in part.sequences.items():
        sequences.append(name, ids, lengths)
      counts.update(part.pairs)
      english[part.english_ids] = True
      cut += part.cut_texts
      progress.advance(part.pairs.total())
  return Tokenised(sequences, dict(sorted(counts.items())), english.nonzero()[0].tolist(), cut)


class CountedPart(NamedTuple):
  """Of a part: the ids of its texts, rising, how often each occurs, and how many pairs it has."""

  ids: np.ndarray
  counts: np.ndarray
  pairs: int


def count_part(part: Part, *, settings: EncoderSettings) -> CountedPart:
  """Counts the ids of a part."""
  encoder = encoder_of(settings)
  pairs = encoder.prompted(pairs_of_part(part))
  encoded = encoder.encode(pairs)
  ids = np.concatenate([encoded[text].ids for text in texts_of(pairs)])
  return CountedPart(*np.unique(ids, return_counts=True), len(pairs))


def count_ids(
  stage: Stage, selection: choice.Selection, settings: EncoderSettings, *, workers: Workers
) -> np.ndarray:
  """How often each id occurs in the pairs to train on, hard negatives included: int64 [ids].

  Args:
    stage, selection, settings, workers: as in `tokenise`.
  """
  counts = np.zeros(settings.ids, np.int64)
  total = int((selection.states == choice.KEPT).sum())
  with Progress("counting ids", total=total, unit="pair") as progress:
    count_one = functools.partial(count_part, settings=settings)
    for part in workers.map(count_one, kept_parts(stage, selection)):
      counts[part.ids] += part.counts
      progress.advance(part.pairs)
  return counts


def feature_arrays(
  stage: Stage, selection: choice.Selection, tokens: Tokenizer, extras: Sequence[Extra]
) -> dict[str, np.ndarray]:
  """What the extras make of the texts; these have to fit in memory, as the arrays do."""
  if not extras:
    return {}
  texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
  for pairs in kept_pairs(stage, selection):
    for pair in pairs:
      texts[pair.language].append((pair.pivot, pair.translation))
  arrays: dict[str, np.ndarray] = {}
  total = len(extras) * sum(map(len, texts.values()))
  with Progress("features of the texts", total=total, unit="pair") as progress:
    for language, of_language in sorted(texts.items()):
      for extra in extras:
        values = extra.compute(language, of_language, tokens, advance=progress.advance)
        count = len(of_language)
        arrays |= train_file.feature_arrays(language, values, extra.features, pairs=count)
  for extra in extras:
    arrays |= {train_file.table_path(name): table for name, table in extra.tables().items()}
  return arrays


def write_train_file(path: Path, tokenised: Tokenised, features: Mapping[str, np.ndarray]) -> None:
  """Writes train.npz."""
  parts: dict[str, Iterable[np.ndarray]] = {name: [array] for name, array in features.items()}
  rows = {name: len(array) for name, array in features.items()}
  sequences = tokenised.sequences
  for language in tokenised.pairs:
    for name in (f"{language}/pivot", f"{language}/translation", f"{language}/negatives"):
      ids, count = sequences.size(name)
      parts |= {f"{name}/tokens": sequences.ids(name), f"{name}/offsets": sequences.offsets(name)}
      rows |= {f"{name}/tokens": ids, f"{name}/offsets": count + 1}
    name = f"{language}/negatives/of_pairs"
    parts[name], rows[name] = sequences.offsets(name), sequences.size(name)[1] + 1
  mapped_npz.write(path, parts, rows)


def rates_of(
  path: Path, pairs: Mapping[str, int], tokens: Tokenizer, *, temperature: float
) -> dict[str, float]:
  """The shares of the languages in the mixture; they sum to 1."""
  with quiet_stderr():  # imported here: TensorFlow takes seconds that a resumed run need not pay
    from dap_jax.data import tasks

  stored = train_file.load_pairs(epath.Path(path), languages=pairs, features=())
  mixture = tasks.register(stored, name="bitext", tokenizer=tokens, temperature=temperature)
  names = tasks.task_names("bitext", pairs)
  rates = {names[task.name]: mixture.get_rate(task) for task in mixture.tasks}
  total = sum(rates.values())
  return {language: rate / total for language, rate in sorted(rates.items())}
