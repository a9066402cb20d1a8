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

from dap_jax.hub import keys
from dap_jax.utils.errors import UserError, cause, reading
from dap_jax.utils.json_files import read_json

CLASS = "PreTrainedTokenizerFast"
AS_IT_IS = (CLASS, "TokenizersBackend")  # classes that add nothing to tokenizer.json
VOCABULARIES = (
  *("tokenizer.json", "vocab.txt", "vocab.json"),
  *("sentencepiece.bpe.model", "spiece.model", "tokenizer.model"),
)
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
IDS = 1 << 24  # no vocabulary has so many
OPTIONAL_ROLES = {"unk_token", "mask_token"}  # objectives that mask ask for the latter
OF_EXPORTS = {  # what tokenizer_config.json of an exported folder has
  *("tokenizer_class", "clean_up_tokenization_spaces", "model_input_names", "model_max_length"),
  *ROLES,
}


def convert_tokenizer(folder: epath.PathLike) -> dict[str, str]:
  """Reads the tokenizer of a local folder.

  Returns:
    File name -> content: tokenizer.json, tokenizer_config.json, special_tokens_map.json.

  Raises:
    UserError: there is no tokenizer, it is damaged, it has no padding, cls or sep token, or an
      option that dap_jax's does not have.
  """
  folder = epath.Path(folder)
  config = read_settings(folder / "tokenizer_config.json")
  of_specials = read_settings(folder / "special_tokens_map.json")
  roles = {role: content_of(config.get(role)) for role in ROLES}
  named = {role: token for role, token in roles.items() if token}
  backend = None
  if config.keys() <= OF_EXPORTS and of_specials in ({}, named):
    backend = exported_backend(folder, named, config.get("tokenizer_class"))
  if backend is None:
    backend, roles = through_transformers(folder)
  absent = [role for role in ROLES if role not in OPTIONAL_ROLES and not roles[role]]
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


def read_settings(path: epath.Path) -> dict[str, Any]:
  """tokenizer_config.json or special_tokens_map.json; {} where there is none. Raises UserError."""
  content = read_json(path) if path.exists() else {}
  keys.check_tokenizer_keys(content, where=str(path))
  return dict(content)


def exported_backend(folder: epath.Path, roles: dict[str, str], kind: Any) -> str | None:
  """tokenizer.json as it is, where transformers would change nothing in it; else None.

  That is how `export` writes it: all roles are special tokens in it already. It saves the import of
  transformers.

  Args:
    folder: of the model.
    roles: role -> token.
    kind: the tokenizer's class.
  """
  path = folder / "tokenizer.json"
  if kind not in AS_IT_IS or not path.exists() or (folder / "added_tokens.json").exists():
    return None
  if set(ROLES) - roles.keys() - OPTIONAL_ROLES:
    return None
  added = read_json(path).get("added_tokens")
  entries = [entry for entry in added if isinstance(entry, dict)] if isinstance(added, list) else []
  specials = [entry.get("content") for entry in entries if entry.get("special")]
  return read_text(path) if all(token in specials for token in roles.values()) else None


def through_transformers(folder: epath.Path) -> tuple[str, dict[str, str | None]]:
  """The content of tokenizer.json and the special tokens, as transformers loads them."""
  if not (Path(folder) / "config.json").exists():
    raise UserError(f"{folder} has no config.json: give a folder of a model")
  if not any((Path(folder) / name).exists() for name in VOCABULARIES):
    # transformers would silently create an empty one.
    raise UserError(f"{folder} has no tokenizer: expected one of {', '.join(VOCABULARIES)}")
  from transformers import AutoTokenizer  # seconds, so only where it is needed

  with reading(f"{folder}: its tokenizer cannot be read"):
    tokenizer = AutoTokenizer.from_pretrained(
      str(folder), local_files_only=True, trust_remote_code=False
    )
    check_kind(tokenizer, folder)
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= IDS:  # the library would spend minutes and gigabytes on the holes below it
      raise UserError(f"{folder}: its tokenizer has the id {largest}, expected less than {IDS:,}")
    backend = tokenizer.backend_tokenizer.to_str()
    roles = {role: content_of(getattr(tokenizer, role)) for role in ROLES}
    for role, other in (("cls_token", "bos_token"), ("sep_token", "eos_token")):
      roles[role] = roles[role] or content_of(getattr(tokenizer, other))  # as Gemma's is named
  if tokenizer.truncation_side != "right" or tokenizer.padding_side != "right":
    raise UserError(f"{folder}: its tokenizer cuts or pads at the left; dap_jax does at the right")
  return backend, roles


def check_kind(tokenizer: Any, folder: epath.Path) -> None:
  """Raises UserError for a tokenizer in Python alone, or of a language that it does not have."""
  if not tokenizer.is_fast:
    raise UserError(
      f"{folder}: its tokenizer, {type(tokenizer).__name__}, cannot be written as a tokenizer.json;"
      " dap_jax reads no other"
    )
  language = getattr(tokenizer, "src_lang", None)  # NLLB's, whose code stands before each text
  if isinstance(language, str) and language not in tokenizer.get_vocab():
    raise UserError(
      f"{folder}/tokenizer_config.json: src_lang is {language!r}, which is no token of the"
      " vocabulary; expected a code such as eng_Latn"
    )


def read_text(path: epath.Path) -> str:
  """The content of a text file. Raises UserError that names it."""
  try:
    return path.read_text()
  except (OSError, ValueError) as error:
    raise UserError(f"cannot read {path}: {cause(error)}") from error


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
