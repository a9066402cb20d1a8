"""info.json of prepared data: what there is, and the checksums of the other files.

Its `files` has the SHA-256 of heldout.jsonl and of the tokenizer's files, and of train.npz
`mapped_npz.digest`: its arrays have checksums of their own in the archive. Data that was prepared
before there were checksums has no `files`, and is read as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from dap_jax.data import mapped_npz
from dap_jax.data.tokenizer import FILES
from dap_jax.utils.errors import UserError, reading

NAME = "info.json"
TRAIN, HELDOUT = "train.npz", "heldout.jsonl"
INFO = {  # what is read of info.json
  "pairs": dict,
  "rates": dict,
  "extras": dict,
  "english_ids": list,
  "features": list,
  "max_tokens": int,
}


def complete(directory: epath.PathLike) -> bool:
  """Whether `prepare` has finished in this folder."""
  return (epath.Path(directory) / NAME).exists()


def damaged(path: epath.Path, directory: epath.Path | None = None) -> str:
  """What to say of a file that cannot be read; the reason follows.

  Args:
    path: the file.
    directory: of the prepared data, where the file is in another.
  """
  return f"{path} is damaged; remove {directory or path.parent} and the run prepares its data anew"


def read_info(directory: epath.PathLike) -> dict[str, Any]:
  """The content of info.json. Raises UserError where it is not what `prepare` wrote."""
  path = epath.Path(directory) / NAME
  with reading(damaged(path)):
    info = json.loads(path.read_text())
    for key, kind in INFO.items():
      if not isinstance(info, dict) or not isinstance(info.get(key), kind):
        raise ValueError(f"it has no {key}, or another type of it")
    if not isinstance(info.setdefault("files", {}), dict):
      raise ValueError("its files are no object of checksums by name")
  return info


def english_ids(directory: epath.PathLike) -> np.ndarray:
  """int32 [V_en], the ids of the English side of the training set, sorted."""
  return ids_of(read_info(directory), directory)


def ids_of(info: Mapping[str, Any], directory: epath.PathLike) -> np.ndarray:
  """`english_ids` of an info.json that is read; directory: for the message."""
  with reading(damaged(epath.Path(directory) / NAME)):
    ids = np.asarray(info["english_ids"], np.int32)
    if ids.ndim != 1 or (np.diff(ids) <= 0).any():
      raise ValueError("its english_ids are no rising numbers")
  return ids


def checksums(folder: Path, tokenizer_directory: epath.PathLike) -> dict[str, str]:
  """`files` of info.json.

  Args:
    folder: with train.npz and heldout.jsonl.
    tokenizer_directory: of the tokenizer.
  """
  tokenizer = epath.Path(tokenizer_directory)
  return {
    TRAIN: mapped_npz.digest(folder / TRAIN),
    HELDOUT: sha256((folder / HELDOUT).read_bytes()),
    **{name: sha256((tokenizer / name).read_bytes()) for name in FILES},
  }


def sha256(content: bytes) -> str:
  """In hexadecimal digits."""
  return hashlib.sha256(content).hexdigest()


def check_tokenizer(workdir: epath.PathLike) -> None:
  """Raises UserError where a workdir's tokenizer is not the one its data was prepared with.

  Where the data is gone, or has no checksums, nothing is compared.
  """
  folder = epath.Path(workdir)
  if not complete(folder / "data"):
    return
  files = read_info(folder / "data")["files"]
  for name in FILES:
    path = folder / "tokenizer" / name
    if name in files and path.exists() and sha256(path.read_bytes()) != files[name]:
      raise UserError(
        f"{damaged(path, folder / 'data')}: its SHA-256 is not the one in data/{NAME}"
      )
