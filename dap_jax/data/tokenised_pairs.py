"""Staged pairs -> ids -> train.npz, batch by batch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from etils import epath

from dap_jax.data import mapped_npz, train_file
from dap_jax.data.cleaning import selection as choice
from dap_jax.data.cleaning.pairs import Pair, hash_of
from dap_jax.data.cleaning.stage import Stage, pairs_in
from dap_jax.data.extras import Extra
from dap_jax.data.raw_sequences import RawSequences
from dap_jax.data.texts.normal_forms import key_of
from dap_jax.data.tokenizer import Marked, Tokenizer
from dap_jax.utils.progress import Progress
from dap_jax.utils.quiet import quiet_stderr

SIDES = ("pivot", "translation")
REMEMBERED = 200_000  # pivots


def kept_pairs(stage: Stage, selection: choice.Selection) -> Iterator[list[Pair]]:
  """The pairs to train on, batch by batch; no held-out sentence is among their hard negatives."""
  for batch in stage.batches():
    pairs = pairs_in(batch, selection.places(batch, choice.KEPT))
    if stage.has_negatives:
      pairs = [
        pair._replace(
          negatives=tuple(
            text for text in pair.negatives if hash_of(key_of(text)) not in selection.heldout_keys
          )
        )
        for pair in pairs
      ]
    yield pairs


def texts_of(pairs: Iterable[Pair]) -> Iterator[str]:
  """All texts of some pairs."""
  for pair in pairs:
    yield pair.pivot
    yield pair.translation
    yield from pair.negatives


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


class Encoder:
  """Texts of pairs -> ids. It remembers pivots: many corpora have them again in each language."""

  def __init__(self, tokens: Tokenizer):
    self._tokens = tokens
    self._pivots: dict[str, Marked] = {}

  def encode(self, pairs: Sequence[Pair]) -> dict[str, Marked]:
    """Every text of the pairs, hard negatives included -> its ids."""
    texts = dict.fromkeys(texts_of(pairs))
    encoded = {text: self._pivots[text] for text in texts if text in self._pivots}
    new = [text for text in texts if text not in encoded]
    encoded.update(zip(new, self._tokens.encode_marked(new), strict=True))
    if len(self._pivots) > REMEMBERED:
      self._pivots.clear()
    self._pivots.update({pair.pivot: encoded[pair.pivot] for pair in pairs})
    return encoded


def tokenise(stage: Stage, selection: choice.Selection, tokens: Tokenizer, work: Path) -> Tokenised:
  """Tokenises the pairs to train on, in their order."""
  sequences, counts = RawSequences(work / "sequences"), Counter[str]()
  english, cut, encoder = np.zeros(tokens.size, bool), 0, Encoder(tokens)
  total = int((selection.states == choice.KEPT).sum())
  with Progress("tokenising", total=total, unit="pair") as progress:
    for pairs in kept_pairs(stage, selection):
      encoded = encoder.encode(pairs)
      by_language: dict[str, list[Pair]] = defaultdict(list)
      for pair in pairs:
        by_language[pair.language].append(pair)
        english[encoded[pair.pivot].ids] = True
        cut += encoded[pair.pivot].is_cut + encoded[pair.translation].is_cut
      for language, of_language in by_language.items():
        counts[language] += len(of_language)
        for side in SIDES:
          of_side = [encoded[getattr(pair, side)].ids for pair in of_language]
          sequences.append(f"{language}/{side}", of_side)
        negatives = [encoded[text].ids for pair in of_language for text in pair.negatives]
        sequences.append(f"{language}/negatives", negatives)
        lengths = [np.zeros(len(pair.negatives), np.int32) for pair in of_language]
        sequences.append(f"{language}/negatives/of_pairs", lengths)
      progress.advance(len(pairs))
  return Tokenised(sequences, dict(sorted(counts.items())), english.nonzero()[0].tolist(), cut)


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
  for language, of_language in sorted(texts.items()):
    for extra in extras:
      values = extra.compute(language, of_language, tokens)
      arrays |= train_file.feature_arrays(language, values, extra.features, pairs=len(of_language))
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
