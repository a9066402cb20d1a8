"""The tokenizer of a Hugging Face folder, as the files that this project reads and exports.

transformers converts it (vocab.txt and sentencepiece models too), so ids are equal to those of
transformers. The result names a tokenizer class that takes tokenizer.json as it is, so that every
version of transformers reads the same tokenizer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from etils import epath

from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json

CLASS = "PreTrainedTokenizerFast"
AS_IT_IS = (CLASS, "TokenizersBackend")  # classes that add nothing to tokenizer.json
VOCABULARIES = (
  *("tokenizer.json", "vocab.txt", "vocab.json"),
  *("sentencepiece.bpe.model", "spiece.model", "tokenizer.model"),
)
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


def convert_tokenizer(folder: epath.PathLike) -> dict[str, str]:
  """Reads the tokenizer of a local folder.

  Returns:
    File name -> content: tokenizer.json, tokenizer_config.json, special_tokens_map.json.

  Raises:
    UserError: there is no tokenizer, it is damaged, or it has no mask, padding, cls or sep token.
  """
  folder = epath.Path(folder)
  path = folder / "tokenizer_config.json"
  config = read_json(path) if path.exists() else {}
  if config.get("truncation_side", "right") != "right":
    raise UserError(f"{path}: truncation_side is 'left'; dap_jax cuts at the right")
  roles = {role: content_of(config.get(role)) for role in ROLES}
  as_it_is = config.get("tokenizer_class") in AS_IT_IS and all(roles.values())
  if as_it_is and (folder / "tokenizer.json").exists():
    backend = read_text(folder / "tokenizer.json")
  else:
    backend, roles = through_transformers(folder)
  absent = [role for role, token in roles.items() if not token and role != "unk_token"]
  if absent:
    raise UserError(f"{folder}: its tokenizer has no {', '.join(absent)}")
  roles = {role: token for role, token in roles.items() if token}
  settings = {
    "tokenizer_class": CLASS,
    "clean_up_tokenization_spaces": False,
    "model_input_names": ["input_ids", "attention_mask"],
    **roles,
  }
  return {
    "tokenizer.json": backend,
    "tokenizer_config.json": json.dumps(settings, indent=1, ensure_ascii=False),
    "special_tokens_map.json": json.dumps(roles, indent=1, ensure_ascii=False),
  }


def through_transformers(folder: epath.Path) -> tuple[str, dict[str, str | None]]:
  """The content of tokenizer.json and the special tokens, as transformers loads them."""
  if not (Path(folder) / "config.json").exists():
    raise UserError(f"{folder} has no config.json: give a folder of a model")
  if not any((Path(folder) / name).exists() for name in VOCABULARIES):
    # transformers would silently create an empty one.
    raise UserError(f"{folder} has no tokenizer: expected one of {', '.join(VOCABULARIES)}")
  from transformers import AutoTokenizer  # seconds, so only where it is needed

  try:
    tokenizer = AutoTokenizer.from_pretrained(
      str(folder), local_files_only=True, trust_remote_code=False
    )
    backend = tokenizer.backend_tokenizer.to_str()
  except Exception as error:  # transformers raises many types for damaged files
    raise UserError(f"{folder}: its tokenizer cannot be read: {error}") from error
  roles = {role: content_of(getattr(tokenizer, role)) for role in ROLES}
  for role, other in (("cls_token", "bos_token"), ("sep_token", "eos_token")):
    roles[role] = roles[role] or content_of(getattr(tokenizer, other))  # as Gemma's is named
  return backend, roles


def read_text(path: epath.Path) -> str:
  """The content of a text file. Raises UserError that names it."""
  try:
    return path.read_text()
  except (OSError, ValueError) as error:
    raise UserError(f"cannot read {path}: {error}") from error


def content_of(token: Any) -> str | None:
  """A special token as text, or None; old files have an object with the text as `content`."""
  token = token.get("content") if isinstance(token, dict) else token
  return token if isinstance(token, str) else None


def write_tokenizer(files: dict[str, str], directory: epath.PathLike) -> None:
  """Writes files, name -> content, as `convert_tokenizer` returns them."""
  directory = epath.Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  for name, content in files.items():
    (directory / name).write_text(content)


def set_limit(path: epath.Path, *, max_tokens: int) -> None:
  """Writes into tokenizer_config.json where transformers is to cut texts."""
  config = json.loads(path.read_text())
  config["model_max_length"] = max_tokens
  path.write_text(json.dumps(config, indent=1, ensure_ascii=False))
