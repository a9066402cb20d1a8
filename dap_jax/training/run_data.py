"""The data of a run: prepared once in its workdir, then read."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from dap_jax.data import cache, loader, manifest, preparation, store, synonyms
from dap_jax.data.cleaning import preview as cleaning_preview
from dap_jax.data.cleaning.corpus import CorpusReader
from dap_jax.data.engines.processes import Processes, Workers
from dap_jax.data.extras import Extra
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.distributed import multihost
from dap_jax.hub import tokenizer_files as hub_tokenizer
from dap_jax.training import initial_weights
from dap_jax.training.config import RunConfig
from dap_jax.training.teacher import teachers
from dap_jax.utils.binding import bind, bind_each, keys_of
from dap_jax.utils.errors import UserError, writing
from dap_jax.utils.locks import exclusive
from dap_jax.utils.prompts import Sides
from dap_jax.workdir.layout import claim

logger = logging.getLogger(__name__)

# What a step's batch is made of the data for; the other keys of the section shape the files.
OF_BATCHES = ("views", "hard_negatives")
OpenSource = Callable[[], initial_weights.WeightSource | None]
Engine = Callable[[epath.Path], Workers]  # a workdir -> those who clean and tokenise


def local_engine(workdir: epath.Path) -> Workers:
  """The cores of this machine."""
  del workdir
  return Processes()


class RunData(NamedTuple):
  """What a run trains on, and the order in which it does.

  Attributes:
    corpus: the prepared data.
    tokenizer: its vocabulary.
    bucket_tokens: the padded lengths of batches, rising.
    seed: of the order.
    batch_size: examples of the global batch.
  """

  corpus: store.Corpus
  tokenizer: Tokenizer
  bucket_tokens: Sequence[int]
  seed: int
  batch_size: int

  def batches(self, *, first_step: int, rows: slice) -> Iterator[dict[str, np.ndarray]]:
    """The endless stream of batches, see `loader.batches`; of each batch only the `rows`."""
    return loader.batches(
      self.corpus.sources,
      rates=self.corpus.rates,
      bucket_tokens=self.bucket_tokens,
      seed=self.seed,
      batch_size=self.batch_size,
      rows=rows,
      first_step=first_step,
    )

  def batch_at(self, step: int) -> dict[str, np.ndarray]:
    """The whole global batch of one step."""
    return next(self.batches(first_step=step, rows=slice(0, self.batch_size)))


def load_or_prepare(
  workdir: str,
  *,
  config: RunConfig,
  source: OpenSource,
  needed: set[str],
  teacher: teachers.Teacher | None,
  held: contextlib.ExitStack,
  engine: Engine,
) -> RunData:
  """Claims the workdir and prepares its data, once; process 0 does it, the others wait.

  Args:
    workdir: where the run lives.
    config: of the run.
    source: opens `init_from`.
    needed: what the objectives need, of `core.objective.NEEDS`.
    teacher: the teacher, where they need one.
    held: lets go of the workdir, which process 0 locks.
    engine: who prepares it.

  Raises:
    UserError: a mistake in the data or its section of the config; the workdir is another run's,
      or another process trains in it; or its data was prepared for other objectives.
  """
  folder, section = epath.Path(workdir), dict(config.data)
  section.pop("bucket_tokens", None)
  section["guard"] = guarded(section.get("guard", ()), config.suites)
  of_batches = {name: section.pop(name) for name in OF_BATCHES if name in section}
  extras = make_extras(needed, data=section, teacher=teacher, prompts=config.sides)
  if multihost.is_first():
    held.enter_context(exclusive(folder))
    claim(folder, config.to_dict())
    if not manifest.complete(folder / "data"):
      fill_workdir(folder, config=config, source=source, data=section, extras=extras, engine=engine)
  multihost.wait("the data is prepared")
  manifest.check_tokenizer(folder)
  tokenizer = Tokenizer.load(folder / "tokenizer", max_tokens=config.max_tokens)
  corpus = bind(store.load, of_batches, where="data", pad_id=tokenizer.pad_id)(folder / "data")
  if absent := needed & {"teacher", "synonyms"} - set(corpus.info["extras"]):
    raise UserError(
      f"{folder / 'data'} was prepared for other objectives, it has nothing of"
      f" {', '.join(sorted(absent))}: use another --workdir"
    )
  if teacher is not None:
    teachers.refuse_other(teacher, corpus.info)
  return RunData(corpus, tokenizer, config.bucket_tokens, config.seed, config.batch_size)


def guarded(guard: Sequence[str], suites: Mapping[str, str]) -> list[str]:
  """`data.guard` as paths: the word eval_suites stands for the folders of the suites."""
  paths = ([*suites.values()] if path == "eval_suites" else [path] for path in guard)
  return list(dict.fromkeys(itertools.chain.from_iterable(paths)))


def fill_workdir(
  folder: epath.Path,
  *,
  config: RunConfig,
  source: OpenSource,
  data: Mapping[str, Any],
  extras: Sequence[Extra],
  engine: Engine,
) -> None:
  """Fills data/ and tokenizer/ of a workdir: from the cache, or from the corpus.

  Args:
    folder: the workdir.
    config, source: as in `load_or_prepare`.
    data: the config's section, without what does not shape the files.
    extras: what else is made of the texts.
    engine: as in `load_or_prepare`.
  """
  if (folder / "tokenizer").exists():  # of a start that failed, perhaps with another source
    (folder / "tokenizer").rmtree()
  weights = source()
  settings = {**data, **config.tokenizer}
  beside: dict[str, Any] = {
    "max_tokens": config.max_tokens,
    "fixed_ids": weights.model["encoder"].get("position_offset", 0) if weights else 0,
    "prompts": config.sides,
  }
  cached = cache.entry_of(
    settings.pop("cache", ""),
    data={**settings, **beside},
    settings={"dictionaries": config.data["dictionaries"], "teacher": config.teacher},
    vocabulary=weights.tokenizer_files if weights else {},
    extras=extras,
  )
  if cache.fetch(cached, folder):
    return
  logger.info("preparing the data, once; it is kept in %s", folder / "data")
  if weights:  # they are of use only with the vocabulary they were trained with
    with writing(folder):
      hub_tokenizer.write_tokenizer(weights.tokenizer_files, folder / "tokenizer")
  make_reader, prepare_files = bind_each(
    [
      CorpusReader,
      functools.partial(
        preparation.prepare,
        tokenizer_directory=folder / "tokenizer",
        extras=extras,
        workers=engine(folder),
        **beside,
      ),
    ],
    settings,
    where="data",
  )
  prepare_files(folder / "data", make_reader())
  cache.keep(folder, cached)


def make_extras(
  needed: set[str], *, data: dict[str, Any], teacher: teachers.Teacher | None, prompts: Sides
) -> list[Extra]:
  """What the objectives need of the texts beside ids; takes its section out of `data`."""
  dictionaries = data.pop("dictionaries")
  extras = [] if teacher is None else [teacher.extra]
  if "synonyms" in needed:
    constants = {"pivot": data["pivot"], "prompts": prompts}
    extras.append(bind(synonyms.Synonyms, dictionaries, where="data.dictionaries", **constants)())
  return extras


def preview(config: RunConfig, *, examples: int) -> Iterator[str]:
  """Lines that show the first pairs of each language before and after cleaning."""
  config.check()
  settings = {key: value for key, value in config.data.items() if key in keys_of(CorpusReader)}
  reader = bind(CorpusReader, settings, where="data")()
  yield from cleaning_preview.preview(reader, examples=examples)
