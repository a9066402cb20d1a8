"""An exported folder -> a repository on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from dap_jax.hub.download import LOG_IN
from dap_jax.utils.errors import UserError

NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def check(name: str) -> None:
  """Raises UserError where a push would fail at once: before the work that comes first."""
  from huggingface_hub import constants, get_token

  if not NAME.fullmatch(name):
    raise UserError(f"--push_to_hub={name}: expected ORGANISATION/NAME")
  if constants.HF_HUB_OFFLINE:
    raise UserError(f"--push_to_hub={name}: HF_HUB_OFFLINE is set, so nobody is asked")
  if get_token() is None:
    raise UserError(f"--push_to_hub={name}: {constants.ENDPOINT} knows nobody here: {LOG_IN}")


def push(folder: Path, name: str, *, public: bool) -> str:
  """Uploads a folder as one commit of a repository, which is made where there is none.

  The hub and the token are those of `huggingface_hub`: HF_ENDPOINT, HF_TOKEN.

  Args:
    folder: what to upload.
    name: ORGANISATION/NAME.
    public: whether all may read a new repository; one that exists stays as it is.

  Returns:
    Its address.

  Raises:
    UserError: the hub refuses; the folder stays as it is.
  """
  from huggingface_hub import HfApi, constants, errors

  try:
    api = HfApi()
    url = api.create_repo(name, private=not public, exist_ok=True)
    api.upload_folder(repo_id=name, folder_path=folder, commit_message="Exported by dap_jax")
  except Exception as error:  # the hub's client raises many types
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.HfHubHTTPError) and status in (401, 403):
      reason = f"your token may not write there: {LOG_IN}"
    else:
      reason = str(error).strip().partition("\n")[0] or type(error).__name__
    raise UserError(
      f"--push_to_hub={name}: {constants.ENDPOINT} refused: {reason}; {folder} is complete, so"
      f" `hf upload {name} {folder}` goes on from here"
    ) from error
  return str(url)
