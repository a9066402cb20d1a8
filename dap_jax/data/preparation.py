"""Corpus -> the files of prepared data; none of its parts has to fit in memory.

read and clean  each pair onto a stage on the disk, by all cores       cleaning/corpus.py
select          no duplicates, the held-out split, rare languages      cleaning/selection.py
tokenise        with a vocabulary trained on a sample, a given one, or a part of it  here
write           train.npz, heldout.jsonl, rejected/, stats.json, and info.json last: with it they
                are complete

Beside these, extras (teachers, synonyms) get the texts of one language after the other.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from etils import epath

from dap_jax.data import (
  cache,
  manifest,
  tokenizer_pruning,
  tokenizer_training,
  vocabulary_sample,
)
from dap_jax.data.cleaning import selection as choice
from dap_jax.data.cleaning.clean import Rejected
from dap_jax.data.cleaning.corpus import CorpusReader
from dap_jax.data.cleaning.guard import sentence_keys
from dap_jax.data.cleaning.rejections import Rejections
from dap_jax.data.cleaning.stage import Stage, pairs_in
from dap_jax.data.engines.processes import Workers
from dap_jax.data.extras import Extra
from dap_jax.data.freed_memory import give_back
from dap_jax.data.pair_encoder import EncoderSettings
from dap_jax.data.tokenised_pairs import (
  Tokenised,
  count_ids,
  feature_arrays,
  rates_of,
  tokenise,
  write_train_file,
)
from dap_jax.utils.atomic import replacing
from dap_jax.utils.binding import bind
from dap_jax.utils.errors import writing
from dap_jax.utils.prompts import Sides

logger = logging.getLogger(__name__)


def prepare(
  directory: epath.PathLike,
  reader: CorpusReader,
  *,
  tokenizer_directory: epath.PathLike,
  vocabulary_size: int,
  sample_texts: int,
  prune: int,
  fixed_ids: int,
  max_tokens: int,
  prompts: Sides,
  temperature: float,
  min_pairs: int,
  guard: Sequence[str],
  heldout: Mapping[str, int],
  extras: Sequence[Extra],
  workers: Workers,
) -> None:
  """Turns a corpus into files: reads and cleans it, splits it, tokenises it, and writes the result.

  Args:
    directory: where to write; complete once its info.json is there.
    reader: reads the corpus.
    tokenizer_directory: of the vocabulary; one is trained on the training split if it has none.
    vocabulary_size, sample_texts: ids of a vocabulary that is trained; on how many texts at most.
    prune, fixed_ids: `at_least` and `fixed_ids` of `prune_vocabulary`; prune=0 keeps all ids.
    max_tokens, prompts: of a sequence; longer ones are cut. What goes before texts.
    temperature: of the languages' shares, see `tasks.register`.
    min_pairs, guard: fewest training pairs of a language; paths of evaluation sets, left out.
    heldout: `sentences`, `min_words`, `min_languages` of `selection.select`.
    extras, workers: what else to make of the texts; who cleans and tokenises.

  Raises:
    UserError: a mistake in the settings, the corpus or the extras' files; a folder is read-only.
  """
  for extra in extras:  # first, so that a mistake in their files costs no time
    extra.open()
  split = {"pivot": reader.pivot, "near_duplicates": reader.near_duplicates}
  split |= {"min_pairs": min_pairs, "guard": sentence_keys(guard)}
  choose = bind(choice.select, heldout, where="data.heldout", **split)
  with writing(directory), ExitStack() as stack:
    folder = local_folder(epath.Path(directory), stack)
    work = folder / "stage"
    stack.callback(shutil.rmtree, work, ignore_errors=True)
    stack.enter_context(workers)
    rejections = stack.enter_context(Rejections(folder / "rejected"))
    stage, selection = read_and_choose(reader, work, rejections, workers, choose)
    if not tokenizer_training.is_there(tokenizer_directory):
      train_vocabulary(tokenizer_directory, stage, selection, vocabulary_size, sample_texts)
    elif prune:
      uncut = EncoderSettings.load(tokenizer_directory, prompts=prompts)
      prune_vocabulary(uncut, stage, selection, prune, fixed_ids, workers)
    encoding = EncoderSettings.load(tokenizer_directory, max_tokens=max_tokens, prompts=prompts)
    tokenised = tokenise(stage, selection, encoding, work=work, workers=workers)
    tokens, train = encoding.tokenizer(), folder / manifest.TRAIN
    write_train_file(train, tokenised, feature_arrays(stage, selection, tokens, extras))
    rates = rates_of(train, tokenised.pairs, tokens, temperature=temperature)
    info = info_of(tokenised, extras) | {"rates": rates, "max_tokens": max_tokens}
    info["heldout"] = write_heldout(folder, selection.heldout)
    finish(folder, epath.Path(directory), info, rejections, tokenizer_directory)


def info_of(tokenised: Tokenised, extras: Sequence[Extra]) -> dict[str, Any]:
  """What info.json says of the pairs and of the extras."""
  return {
    "pairs": tokenised.pairs,
    "cut_texts": tokenised.cut_texts,
    "english_ids": tokenised.english_ids,
    "features": [feature._asdict() for extra in extras for feature in extra.features],
    "extras": {name: value for extra in extras for name, value in extra.report().items()},
  }


def local_folder(directory: epath.Path, stack: ExitStack) -> Path:
  """The directory itself, or, where it is remote, a temporary folder whose content goes there.

  An error leaves nothing of it: what has no info.json is of no use.
  """
  if "://" in str(directory):
    return Path(stack.enter_context(tempfile.TemporaryDirectory()))
  folder = Path(directory)
  folder.mkdir(parents=True, exist_ok=True)

  def remove_if_failed(kind: type[BaseException] | None, *_: object) -> None:
    if kind is not None:
      shutil.rmtree(folder, ignore_errors=True)

  stack.push(remove_if_failed)
  return folder


def fresh(folder: Path) -> Path:
  """A path where nothing is, whatever a killed run left there."""
  shutil.rmtree(folder, ignore_errors=True)
  return folder


def read_stage(reader: CorpusReader, work: Path, rejections: Rejections, workers: Workers) -> Stage:
  """The corpus, read and cleaned; or what a run left that was killed after it had done so."""
  depends = {
    "reader": dataclasses.asdict(reader),
    "programs": cache.digest(*(path.read_bytes() for path in cache.source_files(()))),
    "files": dict(cache.corpus_files({"format": reader.format, "arguments": reader.arguments})),
  }
  key = cache.digest(json.dumps(depends, sort_keys=True).encode())
  if left := Stage.find(work, key):
    stage, statistics = left
    logger.info("a run before read and cleaned the corpus: %s pairs", f"{stage.size:,}")
    rejections.restore(statistics)
    return stage
  rejections.start_anew()
  stage = reader.read(fresh(work), rejections, workers)
  rejections.close()
  stage.keep(key, rejections.statistics())
  return stage


def read_and_choose(
  reader: CorpusReader,
  work: Path,
  rejections: Rejections,
  workers: Workers,
  choose: Callable[[Stage], choice.Selection],
) -> tuple[Stage, choice.Selection]:
  """The corpus, and which pairs of it train; what is left out is among the rejections."""
  stage = read_stage(reader, work, rejections, workers)
  read = stage.size + rejections.counts.total()
  selection = choose(stage)
  rejections.add(left_out(stage, selection))
  reasons = ", ".join(f"{reason} {count:,}" for reason, count in rejections.counts.most_common())
  logger.info(
    "%s pairs read, %s left out%s",
    f"{read:,}",
    f"{rejections.counts.total():,}",
    f": {reasons}; rejected/ beside the data has them" if reasons else "",
  )
  return stage, selection


def left_out(stage: Stage, selection: choice.Selection) -> Iterator[Rejected]:
  """The pairs that repeat one before, or are those of evaluation sets."""
  for batch in stage.batches():
    for state, reason in choice.REASONS.items():
      pairs = pairs_in(batch.pairs, selection.places(batch, state))
      yield from (Rejected.of(pair, reason) for pair in pairs)


def train_vocabulary(
  directory: epath.PathLike, stage: Stage, selection: choice.Selection, size: int, sample_texts: int
) -> None:
  """Trains one of `size` ids on at most so many of the texts to train on."""
  sample, count = vocabulary_sample.sampled_texts(stage, selection, at_most=sample_texts)
  give_back()  # the training is another process
  tokenizer_training.train(sample, of=count, vocabulary_size=size, directory=directory)


def prune_vocabulary(
  encoding: EncoderSettings,
  stage: Stage,
  selection: choice.Selection,
  at_least: int,
  fixed_ids: int,
  workers: Workers,
) -> None:
  """Leaves those ids in a folder's vocabulary that the texts to train on have so many times.

  The first `fixed_ids` keep their numbers. Texts are counted whole, as the settings have to say:
  what is cut off decides, with the rest of its word, which ids come before.
  """
  tokens = encoding.tokenizer()
  counts = count_ids(stage, selection, encoding, workers=workers)
  specials = {number for number in tokens.special_ids if number is not None}
  used = specials.union((counts >= at_least).nonzero()[0].tolist())
  path = epath.Path(encoding.directory) / "tokenizer.json"
  path.write_text(tokenizer_pruning.prune(path.read_text(), used, fixed_ids=fixed_ids))
  left = encoding.tokenizer().size
  logger.info("the vocabulary: %s of %s ids are kept", f"{left:,}", f"{tokens.size:,}")


def write_heldout(folder: Path, heldout: Sequence[Mapping[str, str]]) -> int:
  """Writes heldout.jsonl. Returns how many rows there are."""
  lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in heldout]
  (folder / manifest.HELDOUT).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
  return len(lines)


def finish(
  folder: Path,
  directory: epath.Path,
  info: Mapping[str, Any],
  rejections: Rejections,
  tokenizer_directory: epath.PathLike,
) -> None:
  """Writes the other files; info.json last and atomically: its presence means completeness."""
  info = {
    **info,
    "rejected": dict(rejections.counts.most_common()),
    "files": manifest.checksums(folder, tokenizer_directory),
  }
  statistics = {"rejected": rejections.statistics()}
  (folder / "stats.json").write_text(json.dumps(statistics, indent=1, ensure_ascii=False))
  rejections.close()
  if "://" in str(directory):
    directory.mkdir(parents=True, exist_ok=True)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
      target = directory / path.relative_to(folder)
      target.parent.mkdir(parents=True, exist_ok=True)
      with path.open("rb") as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
  with replacing(directory / manifest.NAME) as temporary:
    temporary.write_text(json.dumps(info, indent=1))
