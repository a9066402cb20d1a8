"""A folder or the id of a model on the Hugging Face hub -> a local folder."""

from __future__ import annotations

import re
from pathlib import Path

from etils import epath

from dap_jax.hub.weights import pickled
from dap_jax.utils.errors import UserError

# Only the files that `from_hf` reads; no pickles.
PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model")
LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


def local_folder(name: str) -> epath.Path:
  """The folder itself, or a local snapshot of a hub id: `ORGANISATION/NAME`, or `...@REVISION`.

  The hub, its cache and the token are those of `huggingface_hub`: HF_ENDPOINT, HF_HOME, HF_TOKEN,
  and HF_HUB_OFFLINE to ask nobody. Files are fetched once, and again only where they have changed.

  Raises:
    UserError: the name is neither, or the hub gives no such model and no snapshot is cached.
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
    raise UserError(f"{name} is no folder here, and {refusal(error)}") from error
  if not any(Path(snapshot).rglob("*.safetensors")):  # epath has no rglob
    raise UserError(f"{name} {pickled(hub_id[1], epath.Path(snapshot))}")
  return epath.Path(snapshot)


def refusal(error: Exception, *, what: str = "model") -> str:
  """Why the hub gave no model, or what else was asked for, and what to do about it."""
  from huggingface_hub import constants, errors

  hub = constants.ENDPOINT
  if isinstance(error, errors.GatedRepoError):
    return f"{hub} gives it to those alone who accepted its terms: accept them there, then {LOG_IN}"
  if isinstance(error, errors.RepositoryNotFoundError):
    return f"{hub} has no such {what}, or a private one: check the name, or {LOG_IN}"
  if isinstance(error, errors.RevisionNotFoundError):
    return f"{hub} has that {what}, but not that revision: name a branch, a tag or a commit"
  if isinstance(error, errors.IncompleteSnapshotError):
    reason = "its snapshot in the cache is incomplete, and the hub cannot be asked for the rest"
  elif isinstance(error, errors.LocalEntryNotFoundError):
    reason = f"{hub} cannot be asked"
    if constants.HF_HUB_OFFLINE:
      reason += ", since HF_HUB_OFFLINE is set"
  else:
    reason = f"{hub} failed: {str(error).strip().partition(chr(10))[0] or type(error).__name__}"
  cache = f"it is not in the cache, {constants.HF_HUB_CACHE}"
  return f"{reason}; {cache}: try again, or fetch it elsewhere and give the folder"
