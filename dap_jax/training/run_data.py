"""The data of a run: prepared once in its workdir, then read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etils import epath

from dap_jax.data import cache, store, synonyms
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.distributed import multihost
from dap_jax.hub import tokenizer_files as hub_tokenizer
from dap_jax.training import initial_weights
from dap_jax.training.teacher import teachers
from dap_jax.utils.binding import bind
from dap_jax.utils.errors import UserError, writing
from dap_jax.workdir.layout import claim

logger = logging.getLogger(__name__)


def prepare(
  folder: str,
  *,
  config: Mapping[str, Any],
  source: Callable[[], initial_weights.Source | None],
  needed: set[str],
  teacher: teachers.Teacher | None,
) -> tuple[store.Corpus, Tokenizer]:
  """Claims the workdir and prepares its data, once; process 0 does it, the others wait.

  Args:
    folder: the workdir.
    config: the whole config.
    source: opens `init_from`.
    needed: what the objectives need, of `objectives.NEEDS`.
    teacher: the teacher, where they need one.

  Raises:
    UserError: a mistake in the data or its section of the config; the workdir is another run's, or
      its data was prepared for other objectives.
  """
  path, data = epath.Path(folder), dict(config["data"])
  data.pop("bucket_tokens", None)
  elements = {name: data.pop(name) for name in ("views", "hard_negatives") if name in data}
  extras = make_extras(needed, data=data, teacher=teacher)
  if multihost.is_first():
    claim(path, config)
    if not store.complete(path / "data"):
      prepare_once(path, config=config, source=source, data=data, extras=extras)
  multihost.wait("the data is prepared")
  tokens = Tokenizer.load(path / "tokenizer", max_tokens=config["max_tokens"])
  load = bind(store.load, elements, where="data", pad_id=tokens.pad_id)
  corpus = load(path / "data")
  if absent := needed & {"teacher", "synonyms"} - set(corpus.info["extras"]):
    raise UserError(
      f"{path / 'data'} was prepared for other objectives, it has nothing of"
      f" {', '.join(sorted(absent))}: use another --workdir"
    )
  if teacher is not None:
    teachers.refuse_other(teacher, corpus.info)
  return corpus, tokens


def prepare_once(
  path: epath.Path,
  *,
  config: Mapping[str, Any],
  source: Callable[[], initial_weights.Source | None],
  data: Mapping[str, Any],
  extras: Sequence[store.Extra],
) -> None:
  """Fills data/ and tokenizer/ of the workdir `path`: from the cache, or from the corpus.

  `data`: the config's section, without what does not shape the files.
  """
  if (path / "tokenizer").exists():  # of a start that failed, perhaps with another source
    (path / "tokenizer").rmtree()
  first, max_tokens = source(), config["max_tokens"]
  settings = {**data, **config["tokenizer"]}
  kept = cache.entry(
    settings.pop("cache", ""),
    data={**settings, "max_tokens": max_tokens},
    settings={"dictionaries": config["data"]["dictionaries"], "teacher": config["teacher"]},
    vocabulary=first.tokenizer_files if first else {},
    extras=extras,
  )
  if cache.fetch(kept, path):
    return
  logger.info("preparing the data, once; it is kept in %s", path / "data")
  if first:  # weights are of use only with the vocabulary they were trained with
    with writing(path):
      hub_tokenizer.write_tokenizer(first.tokenizer_files, path / "tokenizer")
  bind(
    store.prepare,
    settings,
    where="data",
    directory=path / "data",
    tokenizer_directory=path / "tokenizer",
    max_tokens=max_tokens,
    extras=extras,
  )()
  cache.keep(path, kept)


def make_extras(
  needed: set[str], *, data: dict[str, Any], teacher: teachers.Teacher | None
) -> list[store.Extra]:
  """What the objectives need of the texts beside ids; takes its section out of `data`."""
  dictionaries = data.pop("dictionaries")
  extras = [] if teacher is None else [teacher.extra]
  if "synonyms" in needed:
    given = {"where": "data.dictionaries", "pivot": data["pivot"]}
    extras.append(bind(synonyms.Synonyms, dictionaries, **given)())
  return extras
