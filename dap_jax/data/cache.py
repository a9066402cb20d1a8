"""Prepared data that runs share: `config.data.cache`, a folder on a local or shared disk.

CACHE/HASH/data/, tokenizer/    copies of these folders of a workdir
CACHE/HASH/depends.json         what the hash was made of

A workdir gets copies, so it stays complete when the cache is removed. The hash covers all that
shapes prepared data: settings, the vocabulary of `init_from`, the code that reads and tokenises and
that of the extras (a teacher's network, say), and the input files. Catalogues in pip packages count
by their content, other files on disk by path, size and modification time. Changes behind a hub id,
a TFDS name or a URL are not seen.
"""

from __future__ import annotations

import glob
import hashlib
import importlib.metadata
import inspect
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from etils import epath

from dap_jax.data import manifest
from dap_jax.data.extras import Extra
from dap_jax.data.readers import formats, gettext_catalogues
from dap_jax.utils.atomic import replacing
from dap_jax.utils.errors import writing
from dap_jax.utils.json_files import write_json

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parents[1]  # of the package dap_jax
PARTS = ("tokenizer", "data")
PACKAGES = ("babel", "numpy", "rensa", "seqio", "tokenizers")


class Entry(NamedTuple):
  """A place in a cache: its folder, which may not exist yet, and what its name is a hash of."""

  folder: Path
  depends: dict[str, Any]


def entry_of(
  cache: str,
  *,
  data: Mapping[str, Any],
  settings: Mapping[str, Any],
  vocabulary: Mapping[str, str],
  extras: Sequence[Extra],
) -> Entry | None:
  """Where the prepared data of a run belongs.

  Args:
    cache: the folder; "" means that there is none.
    data: the config's settings of the data.
    settings: the config's settings of the extras.
    vocabulary: the tokenizer's files where `init_from` gives them, name -> content.
    extras: what else is made of the texts.

  Returns:
    The entry, or None without a cache.

  Raises:
    UserError: the cache cannot be written.
  """
  if not cache:
    return None
  depends = {
    "data": data,
    "settings": settings if extras else {},
    "features": [feature._asdict() for extra in extras for feature in extra.features],
    "vocabulary": {name: digest(text.encode()) for name, text in vocabulary.items()},
    "programs": digest(*(path.read_bytes() for path in source_files(extras))),
    "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    "files": dict(corpus_files(data)) | (dict(files_of(settings)) if extras else {}),
  }
  depends = json.loads(json.dumps(depends, sort_keys=True))
  with writing(f"data.cache={cache}"):
    if "://" in cache:
      raise OSError("it is not on a local or shared disk")
    os.makedirs(cache, exist_ok=True)
  return Entry(Path(cache) / digest(json.dumps(depends).encode()), depends)


def source_files(extras: Sequence[Extra]) -> list[Path]:
  """The Python files that decide what is prepared: those of data/, and those of the extras."""
  folders = {"data"}.union(*(extra.sources for extra in extras))
  files = {path for folder in folders for path in (ROOT / folder).rglob("*.py")}
  return sorted(files | {Path(inspect.getfile(type(extra))) for extra in extras})


def digest(*contents: bytes) -> str:
  """A hash of the contents in their order, 20 hexadecimal digits."""
  sha = hashlib.sha256()
  for content in contents:
    sha.update(hashlib.sha256(content).digest())
  return sha.hexdigest()[:20]


def corpus_files(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  """The corpus's files, each with what shows that it changed: see the module's docstring."""
  yield from files_of(data.get("guard", ()))
  if data["format"] != "gettext":
    yield from files_of(data["arguments"])
    return
  for package in formats.names(data["arguments"].get("packages"), "packages"):
    catalogues = gettext_catalogues.catalogues(package)
    yield package, digest(*(path.read_bytes() for path in catalogues))


def files_of(settings: Any) -> Iterator[tuple[str, list[int]]]:
  """Path -> size and modification time in ns, of every file that a string in settings may mean.

  A string may be a file, a folder of files, a glob pattern, or a path without its extension.
  """
  if isinstance(settings, Mapping):
    settings = list(settings.values())
  if isinstance(settings, list | tuple):
    for value in settings:
      yield from files_of(value)
  elif isinstance(settings, str) and settings:
    for match in sorted({*glob.glob(settings), *glob.glob(f"{glob.escape(settings)}.*")}):
      paths = sorted(Path(match).rglob("*")) if os.path.isdir(match) else [Path(match)]
      for path in paths:
        if path.is_file():
          status = path.stat()
          yield str(path), [status.st_size, status.st_mtime_ns]


def fetch(entry: Entry | None, workdir: epath.Path) -> bool:
  """Copies an entry into a workdir. Returns whether there was a complete one."""
  if entry is None or not manifest.complete(entry.folder / "data"):
    return False
  logger.info("the data comes from %s, where another run prepared it", entry.folder)
  with writing(workdir):
    for part in PARTS:
      copy(epath.Path(entry.folder) / part, workdir / part)
  return True


def copy(source: epath.Path, target: epath.Path) -> None:
  """Copies the files of a folder; info.json last and atomically, since it means completeness."""
  target.mkdir(parents=True, exist_ok=True)
  for path in source.iterdir():
    if path.is_dir():  # the rejected pairs
      copy(path, target / path.name)
    elif path.name != manifest.NAME:
      path.copy(target / path.name, overwrite=True)
  if (source / manifest.NAME).exists():
    with replacing(target / manifest.NAME) as temporary:
      (source / manifest.NAME).copy(temporary, overwrite=True)


def keep(workdir: epath.Path, entry: Entry | None) -> None:
  """Copies the prepared data of a workdir into the cache, whole or not at all.

  If two processes do so at the same time, the second one discards its copy.

  Raises:
    UserError: the cache cannot be written.
  """
  if entry is None:
    return
  # Of this process alone: several hosts may write the same entry.
  temporary = entry.folder.with_name(f".{entry.folder.name}.{os.uname().nodename}.{os.getpid()}")
  try:
    with writing(f"data.cache={entry.folder.parent}"):
      for part in PARTS:
        copy(workdir / part, epath.Path(temporary) / part)
      write_json(epath.Path(temporary) / "depends.json", entry.depends)
      try:
        temporary.rename(entry.folder)
      except OSError:
        if not manifest.complete(entry.folder / "data"):
          raise
  finally:
    shutil.rmtree(temporary, ignore_errors=True)
