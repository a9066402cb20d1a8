"""From a corpus to what training reads: prepared once, kept in the workdir, read without SeqIO.

DIRECTORY/info.json        languages, pairs, rates, what was rejected and why
DIRECTORY/train.npz        the tokenised pairs of every language
DIRECTORY/heldout.jsonl    the held-out sentences: language -> text
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from etils import epath

from dap_jax.data import rows, tokenizer, train_file
from dap_jax.data.elements import Feature, Layout, Ragged
from dap_jax.data.loader import PairSource, Source
from dap_jax.data.readers import corpus, split
from dap_jax.utils.binding import bind
from dap_jax.utils.errors import UserError, writing

logger = logging.getLogger(__name__)


class Extra(Protocol):
  """Features that are made of the texts, when the data is prepared.

  It may have `open()`, called first: it reads its files, so that a mistake in them is told before
  the corpus is read. Where values repeat it may have `tables()`, asked last: the name of a feature
  -> its distinct values [N, n], of which `compute` gave the rows.

  Attributes:
    features: what it makes.
  """

  features: tuple[Feature, ...]

  def compute(
    self, language: str, texts: Sequence[tuple[str, str]], tokens: tokenizer.Tokenizer
  ) -> dict[tuple[str, str], list[np.ndarray] | np.ndarray]:
    """(side, name of a feature) -> one flat array a pair, or of one with a table int32 [pairs].

    texts: (pivot, translation).
    """
    ...

  def report(self) -> dict[str, Any]:
    """What is worth knowing of what it made, for info.json."""
    ...


class Corpus(NamedTuple):
  """What `load` gives.

  Attributes:
    sources: language -> its training pairs; with more than two views one source of rows.
    rates: source -> share of the mixture; they sum to 1.
    languages: language -> share of the translations in the batches; numbered in this order, from 1.
    views, hard_negatives: K and n of the batches.
    heldout: the held-out rows, language -> text, pivot included.
    english_ids: int32 [V_en], the ids of the English side of the training set, sorted.
    info: the content of info.json.
  """

  sources: dict[str, Source]
  rates: dict[str, float]
  languages: dict[str, float]
  views: int
  hard_negatives: int
  heldout: list[dict[str, str]]
  english_ids: np.ndarray
  info: dict[str, Any]


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
  """Sends what C++ libraries write to standard error while they load to nowhere."""
  sys.stderr.flush()
  kept = os.dup(2)
  nowhere = os.open(os.devnull, os.O_WRONLY)
  try:
    os.dup2(nowhere, 2)
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
    os.close(nowhere)


def prepare(
  directory: epath.PathLike,
  *,
  tokenizer_directory: epath.PathLike,
  vocabulary_size: int,
  max_tokens: int,
  temperature: float,
  min_pairs: int,
  heldout: Mapping[str, int],
  pivot: str,
  format: str,
  arguments: Mapping[str, Any],
  languages: Sequence[str],
  rules: Sequence[str],
  markup: bool,
  drop_characters: str,
  extras: Sequence[Extra],
) -> None:
  """Reads, cleans, splits, trains the vocabulary on the training split, tokenises, writes.

  Args:
    directory: where to; complete once its info.json is there.
    tokenizer_directory: where the vocabulary goes.
    vocabulary_size: number of ids.
    max_tokens: ids of a sequence, [CLS] and [SEP] included.
    temperature: see `tasks.register`.
    min_pairs: languages with fewer training pairs are left out.
    heldout: `sentences`, `min_words`, `min_languages` of `split.split_pairs`.
    pivot, format, arguments, languages, rules, markup, drop_characters: see `readers.corpus`.
    extras: what else to make of the texts.
  """
  with quiet_stderr():  # TensorFlow: seconds that a resumed run need not pay, and chatter
    from dap_jax.data import tasks

  # First: where an extra lacks what it needs, nothing was done in vain.
  for extra in extras:
    if hasattr(extra, "open"):
      extra.open()
  features = [feature for extra in extras for feature in extra.features]
  rejected = Counter()
  pairs = corpus.read_pairs(
    format=format,
    arguments=arguments,
    pivot=pivot,
    languages=languages,
    rules=rules,
    markup=markup,
    drop_characters=drop_characters,
    rejected=rejected,
  )
  divide = bind(split.split_pairs, heldout, where="data.heldout", pivot=pivot)
  train, held = divide(pairs)
  counts = Counter(pair.language for pair in train)
  train = [pair for pair in train if counts[pair.language] >= min_pairs]
  if not train:
    raise UserError(f"no language has data.min_pairs={min_pairs} training pairs: lower it")
  texts = {text for pair in train for text in (pair.pivot, pair.translation, *pair.negatives)}
  if not (epath.Path(tokenizer_directory) / "tokenizer.json").exists():  # else it came by init_from
    logger.info("training a vocabulary of %d ids on %d texts", vocabulary_size, len(texts))
    tokenizer.train(sorted(texts), vocabulary_size=vocabulary_size, directory=tokenizer_directory)
  tokens = tokenizer.Tokenizer.load(tokenizer_directory, max_tokens=max_tokens)
  mixture = tasks.register(train, name="bitext", tokenizer=tokens, temperature=temperature)

  by_language = defaultdict(list)
  for pair in train:
    by_language[pair.language].append(pair)
  arrays, rates = {}, {}
  for task in mixture.tasks:
    language = task.name.removeprefix("bitext_")
    rates[language] = mixture.get_rate(task)
    for feature, sequences in tasks.tokenised(task, max_tokens=max_tokens).items():
      ragged = Ragged.of(sequences)
      arrays[f"{language}/{feature}/tokens"] = ragged.tokens
      arrays[f"{language}/{feature}/offsets"] = ragged.offsets
    own = by_language[language]
    arrays |= train_file.negatives(own, tokens)
    arrays |= computed(extras, language, [(pair.pivot, pair.translation) for pair in own], tokens)
  for extra in extras:
    tables = extra.tables() if hasattr(extra, "tables") else {}
    arrays |= {f"{name}/values": values for name, values in tables.items()}
  total = sum(rates.values())
  english = np.unique(np.concatenate([arrays[f"{lang}/pivot/tokens"] for lang in rates]))
  trained = {pair.language for pair in train} | {pivot}
  info = {
    "pairs": dict(sorted(Counter(pair.language for pair in train).items())),
    "rates": {language: rate / total for language, rate in sorted(rates.items())},
    "heldout": len(held),
    "rejected": dict(rejected.most_common()),
    "max_tokens": max_tokens,
    "english_ids": english.tolist(),
    "features": [feature._asdict() for feature in features],
    "extras": {name: value for extra in extras for name, value in extra.report().items()},
  }
  held = [{lang: text for lang, text in row.items() if lang in trained} for row in held]
  write(epath.Path(directory), info=info, arrays=arrays, heldout=held)


def computed(
  extras: Sequence[Extra],
  language: str,
  texts: Sequence[tuple[str, str]],
  tokens: tokenizer.Tokenizer,
) -> dict[str, np.ndarray]:
  """What the extras make of a language's pairs, under the names that train.npz gives them."""
  arrays = {}
  for extra in extras:
    for (side, name), values in extra.compute(language, texts, tokens).items():
      assert len(values) == len(texts), f"{name}: {len(values)} for {len(texts)} pairs"
      if isinstance(values, np.ndarray):
        arrays[f"{language}/{side}/{name}/rows"] = values
        continue
      dtype = next(feature.dtype for feature in extra.features if feature.name == name)
      ragged = Ragged.of([np.asarray(value, dtype).reshape(-1) for value in values])
      arrays[f"{language}/{side}/{name}/tokens"] = ragged.tokens
      arrays[f"{language}/{side}/{name}/offsets"] = ragged.offsets
  return arrays


def write(
  directory: epath.Path,
  *,
  info: Mapping[str, Any],
  arrays: Mapping[str, np.ndarray],
  heldout: Sequence[Mapping[str, str]],
) -> None:
  """Writes the files, info.json last and by renaming, so that its presence means completeness."""
  buffer = io.BytesIO()
  np.savez(buffer, **arrays)
  lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in heldout]
  with writing(directory):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "train.npz").write_bytes(buffer.getvalue())
    (directory / "heldout.jsonl").write_text("".join(line + "\n" for line in lines))
    temporary = directory / "info.json.tmp"
    temporary.write_text(json.dumps(info, indent=1))
    temporary.replace(directory / "info.json")


def complete(directory: epath.PathLike) -> bool:
  """Whether `prepare` has finished here."""
  return (epath.Path(directory) / "info.json").exists()


def heldout(directory: epath.PathLike) -> list[dict[str, str]]:
  """The held-out rows, language -> text, pivot included."""
  # Only "\n" ends a line: str.splitlines would also cut at characters that occur inside texts.
  path = epath.Path(directory) / "heldout.jsonl"
  try:
    return [json.loads(line) for line in path.read_text().split("\n") if line]
  except ValueError as error:  # no JSON, or no UTF-8
    raise UserError(f"{path} is damaged ({error}): remove its folder to prepare anew") from error


def english_ids(directory: epath.PathLike) -> np.ndarray:
  """int32 [V_en], the ids of the English side of the training set, sorted."""
  info = json.loads((epath.Path(directory) / "info.json").read_text())
  return np.asarray(info["english_ids"], np.int32)


def load(
  directory: epath.PathLike, *, pad_id: int, views: int = 2, hard_negatives: int = 0
) -> Corpus:
  """Reads what `prepare` wrote.

  Args:
    directory: that it wrote to.
    pad_id: fills up ids.
    views: K of the elements: 2 for pairs, more for rows.
    hard_negatives: n of the elements.

  Raises:
    UserError: no row has so many languages, or no pair so many hard negatives.
  """
  directory = epath.Path(directory)
  info = json.loads((directory / "info.json").read_text())
  features = tuple(Feature(**feature) for feature in info["features"])
  pairs = train_file.read(directory / "train.npz", languages=info["rates"], features=features)
  train_file.check_negatives(pairs, hard_negatives)
  layout = Layout(info["max_tokens"], pad_id, features, hard_negatives)
  rates = languages = info["rates"]
  if views == 2:
    sources = {language: PairSource(own, layout) for language, own in pairs.items()}
  else:
    source = rows.source_of(pairs, layout, rates=rates, views=views)
    sources, rates = {"rows": source}, {"rows": 1.0}
    languages = dict(zip(pairs, source.language_shares().tolist(), strict=True))
  return Corpus(
    sources=sources,
    rates=rates,
    languages=languages,
    views=views,
    hard_negatives=hard_negatives,
    heldout=heldout(directory),
    english_ids=english_ids(directory),
    info=info,
  )
