"""A folder or a hub id -> a local folder."""

from __future__ import annotations

import re

from etils import epath

from dap_jax.errors import UserError

# Never pickles: only what `from_hf` reads.
PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model")


def local_folder(name: str) -> epath.Path:
  """The folder itself, or the snapshot of a hub id such as `xlm-roberta-base`.

  Raises:
    UserError: it is neither, or the hub cannot be reached and has left no copy here.
  """
  folder = epath.Path(name)
  if folder.is_dir():
    return folder
  if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
    raise UserError(f"{name} is no folder, and no id of a model hub either")
  from huggingface_hub import snapshot_download

  try:
    return epath.Path(snapshot_download(name, allow_patterns=list(PATTERNS)))
  except Exception as error:  # the hub's client raises many types
    reason = str(error).strip().split("\n")[0]
    raise UserError(
      f"{name} is no folder here, and the hub gave no such model ({reason}):"
      " check the name, or fetch it elsewhere and give the folder"
    ) from error
