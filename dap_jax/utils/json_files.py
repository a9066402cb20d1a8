"""JSON files: read with errors that name the file, written whole or not at all."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from etils import epath

from dap_jax.utils.atomic import replacing
from dap_jax.utils.errors import UserError, cause


def read_json(path: epath.Path, kind: type = dict, *, unique_keys: bool = False) -> Any:
  """The JSON object (`kind=dict`) or list of a file.

  Args:
    path: the file.
    kind: what it holds.
    unique_keys: whether a key that an object has twice is an error; else its last value counts.

  Raises:
    UserError: the file cannot be read, or holds something else.
  """
  hook = object_of_unique_keys if unique_keys else None
  try:
    content = json.loads(path.read_text(), object_pairs_hook=hook)
  except (OSError, ValueError, RecursionError) as error:
    raise UserError(f"cannot read {path}: {cause(error)}") from error
  if not isinstance(content, kind):
    raise UserError(f"cannot read {path}: expected a JSON {'object' if kind is dict else 'list'}")
  return content


def object_of_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """The object of its keys and values. Raises ValueError where a key occurs twice."""
  content = dict(pairs)
  if len(content) < len(pairs):
    ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
    raise ValueError(f"the key {key!r} occurs twice")
  return content


def write_json(path: epath.Path, content: Any) -> None:
  """Writes a file whole or not at all. Raises ValueError for NaN and infinity."""
  text = json.dumps(content, indent=2, allow_nan=False) + "\n"
  with replacing(path) as temporary:
    temporary.write_text(text)
