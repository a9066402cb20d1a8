"""A folder or a hub id -> a local folder."""

from __future__ import annotations

import re

from etils import epath

from dap_jax.hub.weights import pickled
from dap_jax.utils.errors import UserError

# Never pickles: only what `from_hf` reads.
PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model")


def local_folder(name: str) -> epath.Path:
  """The folder itself, or the snapshot of a hub id: `ORGANISATION/NAME`, or `...@REVISION`.

  Raises:
    UserError: it is neither, or the hub cannot be reached and has left no copy here.
  """
  folder = epath.Path(name)
  if "://" in name:
    raise UserError(f"{name} is on another file system: weights are mapped, so copy it here first")
  if folder.is_dir():
    return folder
  found = re.fullmatch(r"([\w-][\w.-]*(?:/[\w.-]+)?)(?:@([\w./-]+))?", name)
  if not found:
    raise UserError(f"{name} is no folder, and no id of a model hub either")
  from huggingface_hub import snapshot_download

  try:
    snapshot = snapshot_download(found[1], revision=found[2], allow_patterns=list(PATTERNS))
  except Exception as error:  # the hub's client raises many types
    reason = str(error).strip().split("\n")[0]
    raise UserError(
      f"{name} is no folder here, and the hub gave no such model ({reason}):"
      " check the name, or fetch it elsewhere and give the folder"
    ) from error
  folder = epath.Path(snapshot)
  if not list(folder.rglob("*.safetensors")):
    raise UserError(f"{name} {pickled(found[1], folder)}")
  return folder
