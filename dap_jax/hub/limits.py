"""Where texts of an imported model are cut: the files that may say so, and which of them counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etils import epath

from dap_jax.hub import keys
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json

NO_LIMIT = 1 << 20  # transformers writes 1e30 where a tokenizer has no limit
WITHOUT_TABLE = ("modernbert", "m2m_100")  # transformers computes positions beyond their number
TRANSFORMER_FILES = (  # names of the Transformer's config; the first that says anything counts
  *("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json"),
  *("sentence_camembert_config.json", "sentence_albert_config.json"),
  *("sentence_xlm-roberta_config.json", "sentence_xlnet_config.json"),
)


def max_tokens(folder: epath.Path, encoder: Mapping[str, Any], *, stated: int | None) -> int:
  """Where texts are cut, [CLS] and [SEP] included.

  Args:
    folder: with the tokenizer.
    encoder: the `model.encoder` section.
    stated: by sentence-transformers' files, see `stated_limit`.

  Raises:
    UserError: an encoder without a table of positions is to read longer texts than its config says.
  """
  positions = int(encoder["positions"] - encoder.get("position_offset", 0))
  if stated and stated > positions and encoder["model_type"] in WITHOUT_TABLE:
    raise UserError(
      f"{folder}: texts are cut after {stated} tokens, but max_position_embeddings is {positions}"
    )
  return min(stated or tokenizer_limit(folder) or positions, positions)


def stated_limit(folder: epath.Path) -> int | None:
  """Where the Transformer's own config cuts texts; None where it does not say.

  Raises:
    UserError: an argument of its model, tokenizer or processing that would change vectors.
  """
  path, config = folder, {}
  for path in (folder / name for name in TRANSFORMER_FILES if (folder / name).exists()):
    config = read_json(path)
    if config:
      break
  where = str(path)
  keys.check_keys(config, keys.TRANSFORMER, where=where)

  def part(holder: Mapping[str, Any], name: str, table: keys.Table) -> Mapping[str, Any]:
    content = {} if holder.get(name) is None else holder[name]
    if not isinstance(content, dict):
      raise UserError(f"{where}: {name} is {keys.shown(content)}, expected a JSON object")
    keys.check_keys(content, table, where=f"{where}, {name}")
    return content

  for name in ("model_args", "model_kwargs"):
    part(config, name, keys.MODEL_ARGUMENTS)
  for name in ("config_args", "config_kwargs"):
    part(config, name, keys.CONFIG_ARGUMENTS)
  processing = part(config, "processing_kwargs", keys.PROCESSING)
  limits: dict[str, Any] = {
    "max_seq_length": config.get("max_seq_length")
  }  # each goes before those above it
  name = "tokenizer_args" if "tokenizer_args" in config else "processor_kwargs"
  arguments = part(config, name, keys.TOKENIZER_ARGUMENTS)
  limits[f"{name}.model_max_length"] = arguments.get("model_max_length")
  for name in ("text", "common"):
    of_text = part(processing, name, keys.TEXT_PROCESSING)
    limits[f"processing_kwargs.{name}.max_length"] = of_text.get("max_length")
  limits = {name: limit for name, limit in limits.items() if limit is not None}
  limits = {name: limit for name, limit in limits.items() if limit is not None}
  for name, limit in limits.items():
    check_limit(limit, name, where=where)
  return int(list(limits.values())[-1]) if limits else None


def check_limit(limit: Any, name: str, *, where: str) -> None:
  """Raises UserError for what is no number of tokens that leaves room for one."""
  if isinstance(limit, bool) or not isinstance(limit, int) or limit < 2:
    raise UserError(f"{where}: {name} is {keys.shown(limit)}, expected a number of tokens")


def tokenizer_limit(folder: epath.Path) -> int | None:
  """The tokenizer's model_max_length, `max_len` in old files; None where it has no limit."""
  path = folder / "tokenizer_config.json"
  config = read_json(path) if path.exists() else {}
  name = "model_max_length" if "model_max_length" in config else "max_len"
  limit = config.get(name)
  if limit is None or isinstance(limit, int | float) and limit >= NO_LIMIT:
    return None
  check_limit(limit, name, where=str(path))
  return int(limit)


def check_padding(
  folder: epath.Path, encoder: Mapping[str, Any], *, max_tokens: int, pad_id: int
) -> None:
  """Refuses a folder of the RoBERTa line where transformers has another last position than we do.

  That is where its config's padding id, which is given no position, is another token of the
  tokenizer's, and texts are cut at the last position.

  Args:
    folder: with the encoder's config.json.
    encoder: the `model.encoder` section.
    max_tokens: where texts are cut.
    pad_id: the tokenizer's padding id.
  """
  offset = encoder.get("position_offset", 0)
  if offset and pad_id != offset - 1 and max_tokens == encoder["positions"] - offset:
    raise UserError(
      f"{folder}/config.json: pad_token_id is {offset - 1}, but the tokenizer's is"
      f" {pad_id}: state a max_seq_length below {max_tokens}"
    )
