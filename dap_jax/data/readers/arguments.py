"""Arguments that several readers take: lists of names, and the files that paths stand for."""

from __future__ import annotations

import glob
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from etils import epath

from dap_jax.data.texts.text_files import COMPRESSED
from dap_jax.utils.errors import UserError


def names(value: Any, key: str) -> tuple[str, ...]:
  """One string or several -> a tuple. Raises UserError for anything else, and for none."""
  value = (value,) if isinstance(value, str) else value
  if not isinstance(value, Sequence) or not value or not all(isinstance(v, str) for v in value):
    raise UserError(f"data.arguments.{key}={value!r}: expected a list of strings, at least one")
  return tuple(value)


def stem(path: epath.Path) -> str:
  """The file's name without `.gz` or the like and its last extension."""
  return re.sub(r"\.[^.]+$", "", COMPRESSED.sub("", path.name))


def expand(paths: Sequence[str], *, extension: str = "tsv") -> list[epath.Path]:
  """Files, folders (their files of an extension) and glob patterns -> files, each's sorted.

  Raises:
    UserError: one of them matches no file.
  """
  files = []
  for pattern in paths:
    path = epath.Path(pattern)
    if path.is_dir():
      path = path / f"*.{extension}*"
    parts = path.parts
    wild = next((i for i, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts))
    if wild < len(parts):
      matches = matches_of(epath.Path(*parts[:wild]), "/".join(parts[wild:]))
    else:
      matches = [path] if path.exists() else []
    if not matches:
      raise UserError(f"data.arguments.paths: {pattern!r} matches no file")
    files += matches
  return files


def below(paths: Sequence[str], extensions: Sequence[str]) -> list[str]:
  """Paths, with a folder as patterns of its files that have one of the extensions, if any has."""
  patterns = []
  for path in paths:
    found = [f"{path}/*.{extension}*" for extension in extensions] if os.path.isdir(path) else []
    patterns += [pattern for pattern in found if glob.glob(pattern)] or [path]
  return patterns


def matches_of(folder: epath.Path, pattern: str) -> list[epath.Path]:
  """The paths below a folder that a glob pattern matches, sorted.

  `**` is for local folders, and follows no links: a folder may link to itself.
  """
  if "**" not in pattern:
    return sorted(folder.glob(pattern))
  if "://" in str(folder):
    raise UserError(f"data.arguments.paths: {folder}/{pattern}: ** is for local folders alone")
  return [epath.Path(path) for path in sorted(pathlib.Path(folder).glob(pattern))]
