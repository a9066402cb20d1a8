"""Prepared data that runs share: `config.data.cache`, a folder on a local or shared disk.

CACHE/HASH/data/, tokenizer/    copies of what a workdir holds under these names
CACHE/HASH/depends.json         what the hash was made of

A workdir gets copies, so it stays whole when the cache is removed. The hash is of all that shapes
prepared data: settings, the vocabulary of `init_from`, the programs that read and tokenise, and
the input files. Of catalogues in pip packages the content counts, of other files on disk path,
size and time of change. Not seen are changes behind a hub id, a TFDS name, or a URL.
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

from dap_jax.data import store
from dap_jax.data.readers import formats, gettext_catalogues
from dap_jax.utils.errors import UserError, writing
from dap_jax.utils.json_files import write_json

logger = logging.getLogger(__name__)

PARTS = ("tokenizer", "data")
PACKAGES = ("babel", "numpy", "seqio", "tokenizers")


class Entry(NamedTuple):
  """A place in a cache: its folder, which may not be there yet, and what its name is a hash of."""

  folder: Path
  depends: dict[str, Any]


def entry(
  cache: str,
  *,
  data: Mapping[str, Any],
  settings: Mapping[str, Any],
  vocabulary: Mapping[str, str],
  extras: Sequence[store.Extra],
) -> Entry | None:
  """Where the prepared data of a run belongs.

  Args:
    cache: the folder; "" is none.
    data: what the config says of the data.
    settings: what it says of the extras.
    vocabulary: the tokenizer's files where `init_from` gives them, name -> content.
    extras: what else is made of the texts.

  Returns:
    None without a cache.

  Raises:
    UserError: the cache cannot be written.
  """
  if not cache:
    return None
  package = Path(__file__).parents[1]
  programs = [*(package / "data").rglob("*.py"), *(inspect.getfile(type(x)) for x in extras)]
  programs += (package / "training" / "teacher").glob("*.py")  # what makes a teacher's features
  depends = {
    "data": data,
    "settings": settings if extras else {},
    "features": [feature._asdict() for extra in extras for feature in extra.features],
    "vocabulary": {name: digest(text.encode()) for name, text in vocabulary.items()},
    "programs": digest(*(Path(path).read_bytes() for path in sorted(map(str, programs)))),
    "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    "files": dict(corpus_files(data)) | (dict(files_of(settings)) if extras else {}),
  }
  depends = json.loads(json.dumps(depends, sort_keys=True))
  try:
    if "://" in cache:
      raise OSError("it is not on a local or shared disk")
    os.makedirs(cache, exist_ok=True)
  except OSError as error:
    raise UserError(f"data.cache={cache} cannot be written: {error}") from error
  return Entry(Path(cache) / digest(json.dumps(depends).encode()), depends)


def digest(*contents: bytes) -> str:
  """A hash of them in their order, 20 hexadecimal digits."""
  sha = hashlib.sha256()
  for content in contents:
    sha.update(hashlib.sha256(content).digest())
  return sha.hexdigest()[:20]


def corpus_files(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  """The corpus's files, and what tells whether they changed."""
  if data["format"] != "gettext":
    yield from files_of(data["arguments"])
    return
  for package in formats.names(data["arguments"].get("packages"), "packages"):
    found = gettext_catalogues.catalogues(package)
    yield package, digest(*(path.read_bytes() for path in found))


def files_of(settings: Any) -> Iterator[tuple[str, list[int]]]:
  """Path -> size and time of change in ns, of every file that a string in some settings may mean.

  It may be a file, a folder of files, a glob pattern, or what stands before an extension.
  """
  if isinstance(settings, Mapping):
    settings = list(settings.values())
  if isinstance(settings, list | tuple):
    for value in settings:
      yield from files_of(value)
  elif isinstance(settings, str) and settings:
    for found in sorted({*glob.glob(settings), *glob.glob(f"{glob.escape(settings)}.*")}):
      inside = sorted(Path(found).rglob("*")) if os.path.isdir(found) else [Path(found)]
      for path in inside:
        if path.is_file():
          status = path.stat()
          yield str(path), [status.st_size, status.st_mtime_ns]


def fetch(kept: Entry | None, workdir: epath.Path) -> bool:
  """Copies an entry into a workdir; False where there is none."""
  if kept is None or not store.complete(kept.folder / "data"):
    return False
  logger.info("the data comes from %s, where another run prepared it", kept.folder)
  with writing(workdir):
    for part in PARTS:
      copy(epath.Path(kept.folder) / part, workdir / part)
  return True


def copy(source: epath.Path, target: epath.Path) -> None:
  """Copies the files of a folder; info.json last and by renaming, since it means completeness."""
  target.mkdir(parents=True, exist_ok=True)
  for path in source.iterdir():
    if path.name != "info.json":
      path.copy(target / path.name, overwrite=True)
  if (source / "info.json").exists():
    (source / "info.json").copy(target / "info.json.tmp", overwrite=True)
    (target / "info.json.tmp").replace(target / "info.json")


def keep(workdir: epath.Path, kept: Entry | None) -> None:
  """Copies what a workdir has prepared into the cache, whole or not at all.

  Of two processes that do so at once the second finds the place taken, and drops its copy.

  Raises:
    UserError: the cache cannot be written.
  """
  if kept is None:
    return
  temporary = kept.folder.with_name(f".{kept.folder.name}.{os.uname().nodename}.{os.getpid()}")
  try:
    for part in PARTS:
      copy(workdir / part, epath.Path(temporary) / part)
    write_json(epath.Path(temporary) / "depends.json", kept.depends)
    try:
      temporary.rename(kept.folder)
    except OSError:
      if not store.complete(kept.folder / "data"):
        raise
  except OSError as error:
    raise UserError(f"data.cache={kept.folder.parent} cannot be written: {error}") from error
  finally:
    shutil.rmtree(temporary, ignore_errors=True)
