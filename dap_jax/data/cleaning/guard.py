"""The sentences of evaluation sets, which must not be trained on.

Of whatever layout a set is: every field of every line of its text files counts, fields being
separated by tabs or by `|||`, as texts compare for the held-out split (`normal_forms.key_of`).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence

import numpy as np
from etils import epath

from dap_jax.data.cleaning.pairs import hash_of
from dap_jax.data.texts import text_files
from dap_jax.data.texts.normal_forms import key_of
from dap_jax.utils.errors import UserError

logger = logging.getLogger(__name__)


def sentence_keys(paths: Sequence[str]) -> np.ndarray:
  """uint64, rising: the hashes of the keys of all sentences in some files, and folders of files.

  A file that is no text is passed over with a warning: a set's folder may hold its archive.

  Raises:
    UserError: a path is not there, or no sentence is found in it.
  """
  keys: set[int] = set()
  for path in paths:
    found = {hash_of(key) for file in files_of(path) for key in keys_in(file)}
    if not found:
      raise UserError(f"data.guard: {path} has no sentence; give the folder of an evaluation set")
    keys |= found
  return np.sort(np.fromiter(keys, np.uint64, len(keys)))


def files_of(path: str) -> Iterator[epath.Path]:
  """The file itself, or all files below the folder; links to folders are not followed."""
  if not epath.Path(path).exists():
    raise UserError(f"data.guard: {path} is not there: name files, or folders of evaluation sets")
  if not epath.Path(path).is_dir():
    yield epath.Path(path)
  for folder, folders, names in os.walk(path):
    folders.sort()
    yield from (epath.Path(folder) / name for name in sorted(names) if not name.startswith("."))


def keys_in(file: epath.Path) -> Iterator[str]:
  """The key of each field of each line that has a letter or a digit."""
  try:
    for line in text_files.lines(file):
      keys = (key_of(field) for field in re.split(r"\t|\|\|\|", line))
      yield from filter(None, keys)
  except UserError as error:
    logger.warning("data.guard passes over a file: %s", error)
