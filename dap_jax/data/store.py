"""Prepared data: made of a corpus once, kept in the workdir, and read without SeqIO.

DIRECTORY/info.json        languages, numbers of pairs, rates, how many pairs were rejected and why
DIRECTORY/train.npz        the tokenised pairs of every language
DIRECTORY/heldout.jsonl    the held-out sentences: language -> text
"""

from __future__ import annotations

import io
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from dap_jax.data import rows, tokenizer, tokenizer_training, train_file
from dap_jax.data.cleaning import split
from dap_jax.data.cleaning.corpus import CorpusReader
from dap_jax.data.elements import Feature, Layout
from dap_jax.data.extras import Extra
from dap_jax.data.loader import ExampleSource, PairSource
from dap_jax.utils.atomic import replacing
from dap_jax.utils.binding import bind
from dap_jax.utils.errors import UserError, reading, writing
from dap_jax.utils.quiet import quiet_stderr

logger = logging.getLogger(__name__)
INFO = {  # what is read of info.json
  "pairs": dict,
  "rates": dict,
  "extras": dict,
  "english_ids": list,
  "features": list,
  "max_tokens": int,
}


class Corpus(NamedTuple):
  """Training data in memory, as `load` reads it.

  Attributes:
    sources: language -> its training pairs; with more than two views, one source of rows.
    rates: name of a source -> its share of the mixture; they sum to 1.
    languages: language -> share of the translations in the batches; their order is that of their
      numbers, from 1.
    views, hard_negatives: K and n of the batches.
    heldout: the held-out rows, language -> text, pivot included.
    english_ids: int32 [V_en], the ids of the English side of the training set, sorted.
    info: the content of info.json.
  """

  sources: dict[str, ExampleSource]
  rates: dict[str, float]
  languages: dict[str, float]
  views: int
  hard_negatives: int
  heldout: list[dict[str, str]]
  english_ids: np.ndarray
  info: dict[str, Any]


def prepare(
  directory: epath.PathLike,
  reader: CorpusReader,
  *,
  tokenizer_directory: epath.PathLike,
  vocabulary_size: int,
  sample_texts: int,
  max_tokens: int,
  temperature: float,
  min_pairs: int,
  heldout: Mapping[str, int],
  extras: Sequence[Extra],
) -> None:
  """Turns a corpus into files: reads and cleans it, splits it, tokenises it, and writes the result.

  Args:
    directory: where to write; complete once its info.json is there.
    reader: reads the corpus.
    tokenizer_directory: of the vocabulary; one is trained on the training split if it has none.
    vocabulary_size: number of ids of a vocabulary that is trained.
    sample_texts: on how many different texts at most.
    max_tokens: ids of a sequence, [CLS] and [SEP] included; longer ones are cut.
    temperature: of the languages' shares, see `tasks.register`.
    min_pairs: languages with fewer training pairs are left out.
    heldout: `sentences`, `min_words`, `min_languages` of `split.split_pairs`.
    extras: what else to make of the texts.

  Raises:
    UserError: a mistake in the settings, the corpus or the files of the extras; a directory cannot
      be written.
  """
  for extra in extras:  # first, so that a mistake in their files costs no time
    extra.open()
  corpus = reader.read()
  divide = bind(split.split_pairs, heldout, where="data.heldout", pivot=reader.pivot)
  train, heldout_rows = without_rare_languages(
    divide(corpus.pairs), pivot=reader.pivot, min_pairs=min_pairs
  )
  tokens = tokenizer_training.load_or_train(
    tokenizer_directory,
    (text for pair in train for text in (pair.pivot, pair.translation, *pair.negatives)),
    vocabulary_size=vocabulary_size,
    sample_texts=sample_texts,
    max_tokens=max_tokens,
  )
  arrays, rates, cut = tokenise(train, tokens, temperature=temperature, extras=extras)
  total = sum(rates.values())
  english = np.unique(np.concatenate([arrays[f"{language}/pivot/tokens"] for language in rates]))
  info = {
    "pairs": dict(sorted(Counter(pair.language for pair in train).items())),
    "rates": {language: rate / total for language, rate in sorted(rates.items())},
    "heldout": len(heldout_rows),
    "rejected": dict(corpus.rejected.most_common()),
    "max_tokens": max_tokens,
    "cut_texts": cut,
    "english_ids": english.tolist(),
    "features": [feature._asdict() for extra in extras for feature in extra.features],
    "extras": {name: value for extra in extras for name, value in extra.report().items()},
  }
  write(epath.Path(directory), info=info, arrays=arrays, heldout=heldout_rows)


def without_rare_languages(texts: split.Split, *, pivot: str, min_pairs: int) -> split.Split:
  """Drops languages with fewer than `min_pairs` training pairs; UserError if none remain."""
  counts = Counter(pair.language for pair in texts.train)
  languages = {language for language, count in counts.items() if count >= min_pairs}
  if not languages:
    raise UserError(f"no language has data.min_pairs={min_pairs} training pairs: lower it")
  codes = languages | {pivot}
  return split.Split(
    train=[pair for pair in texts.train if pair.language in languages],
    heldout=[{code: row[code] for code in row if code in codes} for row in texts.heldout],
  )


def tokenise(
  train: Sequence[split.Pair],
  tokens: tokenizer.Tokenizer,
  *,
  temperature: float,
  extras: Sequence[Extra],
) -> tuple[dict[str, np.ndarray], dict[str, float], int]:
  """Tokenises the training pairs.

  Returns:
    The arrays of train.npz; the rate of every language, on any scale; and how many texts of pairs
    are longer than the tokenizer's limit, so that the data has their beginnings only.
  """
  with quiet_stderr():  # imported here: TensorFlow takes seconds that a resumed run need not pay
    from dap_jax.data import tasks

  mixture = tasks.register(train, name="bitext", tokenizer=tokens, temperature=temperature)
  by_language = defaultdict(list)
  for pair in train:
    by_language[pair.language].append(pair)
  languages = tasks.task_names("bitext", by_language)
  arrays: dict[str, np.ndarray] = {}
  rates: dict[str, float] = {}
  cut = 0
  for task in mixture.tasks:
    language = languages[task.name]
    rates[language] = mixture.get_rate(task)
    pairs = by_language[language]
    for side, sequences in tasks.tokenised(task).items():
      arrays |= train_file.ragged_arrays(f"{language}/{side}", sequences)
      cut += tokens.count_cut([getattr(pair, side) for pair in pairs], sequences)
    arrays |= train_file.negative_arrays(language, [pair.negatives for pair in pairs], tokens)
    for extra in extras:
      values = extra.compute(language, [(pair.pivot, pair.translation) for pair in pairs], tokens)
      arrays |= train_file.feature_arrays(language, values, extra.features, pairs=len(pairs))
  for extra in extras:
    arrays |= {train_file.table_path(name): table for name, table in extra.tables().items()}
  return arrays, rates, cut


def write(
  directory: epath.Path,
  *,
  info: Mapping[str, Any],
  arrays: Mapping[str, np.ndarray],
  heldout: Sequence[Mapping[str, str]],
) -> None:
  """Writes the files; info.json last and atomically, so that its presence means completeness."""
  buffer = io.BytesIO()
  np.savez(buffer, **arrays)  # type: ignore[arg-type]  # no array has the name of an option
  lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in heldout]
  with writing(directory):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "train.npz").write_bytes(buffer.getvalue())
    (directory / "heldout.jsonl").write_text("".join(line + "\n" for line in lines))
    with replacing(directory / "info.json") as temporary:
      temporary.write_text(json.dumps(info, indent=1))


def complete(directory: epath.PathLike) -> bool:
  """Whether `prepare` has finished in this folder."""
  return (epath.Path(directory) / "info.json").exists()


def heldout(directory: epath.PathLike) -> list[dict[str, str]]:
  """The held-out rows, language -> text, pivot included."""
  # Only "\n" ends a line: str.splitlines would also cut at characters that occur inside texts.
  path = epath.Path(directory) / "heldout.jsonl"
  with reading(damaged(path)):
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    for number, row in enumerate(rows, 1):
      if not isinstance(row, dict) or not all(isinstance(text, str) for text in row.values()):
        raise ValueError(f"row {number} is no object of texts by language")
  return rows


def damaged(path: epath.Path) -> str:
  """What to say of a file of prepared data that cannot be read; the reason follows."""
  return f"{path} is damaged; remove {path.parent} and the run prepares its data anew"


def read_info(directory: epath.PathLike) -> dict[str, Any]:
  """The content of info.json. Raises UserError where it is not what `write` wrote."""
  path = epath.Path(directory) / "info.json"
  with reading(damaged(path)):
    info = json.loads(path.read_text())
    for key, kind in INFO.items():
      if not isinstance(info, dict) or not isinstance(info.get(key), kind):
        raise ValueError(f"it has no {key}, or another type of it")
  return info


def english_ids(directory: epath.PathLike) -> np.ndarray:
  """int32 [V_en], the ids of the English side of the training set, sorted."""
  return ids_of(read_info(directory), directory)


def ids_of(info: Mapping[str, Any], directory: epath.PathLike) -> np.ndarray:
  """`english_ids` of an info.json that is read; directory: for the message."""
  with reading(damaged(epath.Path(directory) / "info.json")):
    ids = np.asarray(info["english_ids"], np.int32)
    if ids.ndim != 1 or (np.diff(ids) <= 0).any():
      raise ValueError("its english_ids are no rising numbers")
  return ids


def load(
  directory: epath.PathLike, *, pad_id: int, views: int = 2, hard_negatives: int = 0
) -> Corpus:
  """Reads the files that `prepare` wrote.

  Args:
    directory: their folder.
    pad_id: the id of padding.
    views: K of the elements: 2 for pairs, more for rows.
    hard_negatives: n of the elements.

  Raises:
    UserError: no row has so many languages, or no pair so many hard negatives.
  """
  directory = epath.Path(directory)
  info, path = read_info(directory), directory / "train.npz"
  with reading(damaged(directory / "info.json")):
    features = tuple(Feature(**feature) for feature in info["features"])
  with reading(damaged(path)):
    pairs = train_file.load_pairs(path, languages=info["rates"], features=features)
  train_file.check_negatives(pairs, hard_negatives)
  layout = Layout(info["max_tokens"], pad_id, features, hard_negatives)
  rates = languages = info["rates"]
  sources: dict[str, ExampleSource]
  if views == 2:
    sources = {name: PairSource(of_language, layout) for name, of_language in pairs.items()}
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
    english_ids=ids_of(info, directory),
    info=info,
  )
