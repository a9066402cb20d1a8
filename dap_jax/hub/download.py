"""A folder or the id of a model on the Hugging Face hub -> a local folder."""

from __future__ import annotations

import re

from etils import epath

from dap_jax.hub.weights import pickled
from dap_jax.utils.errors import UserError

# Only the files that `from_hf` reads; no pickles.
PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model")


def local_folder(name: str) -> epath.Path:
  """The folder itself, or a local snapshot of a hub id: `ORGANISATION/NAME`, or `...@REVISION`.

  Raises:
    UserError: the name is neither, or the hub cannot be reached and no snapshot is cached.
  """
  folder = epath.Path(name)
  if "://" in name:
    raise UserError(f"{name} is on another file system: weights are mapped, so copy it here first")
  if folder.is_dir():
    return folder
  hub_id = re.fullmatch(r"([\w-][\w.-]*(?:/[\w.-]+)?)(?:@([\w./-]+))?", name)
  if not hub_id:
    raise UserError(f"{name} is no folder, and no id of a model hub either")
  from huggingface_hub import snapshot_download

  try:
    snapshot = snapshot_download(hub_id[1], revision=hub_id[2], allow_patterns=list(PATTERNS))
  except Exception as error:  # the hub's client raises many types
    reason = str(error).strip().split("\n")[0]
    raise UserError(
      f"{name} is no folder here, and the hub gave no such model ({reason}):"
      " check the name, or fetch it elsewhere and give the folder"
    ) from error
  folder = epath.Path(snapshot)
  if not list(folder.rglob("*.safetensors")):
    raise UserError(f"{name} {pickled(hub_id[1], folder)}")
  return folder
