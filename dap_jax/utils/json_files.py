"""JSON files: read with errors that name the file, written whole or not at all."""

from __future__ import annotations

import json
from typing import Any

from etils import epath

from dap_jax.utils.atomic import replacing
from dap_jax.utils.errors import UserError, cause


def read_json(path: epath.Path, kind: type = dict) -> Any:
  """The JSON object (`kind=dict`) or list of a file.

  Raises:
    UserError: the file cannot be read, or holds something else.
  """
  try:
    content = json.loads(path.read_text())
  except (OSError, ValueError, RecursionError) as error:
    raise UserError(f"cannot read {path}: {cause(error)}") from error
  if not isinstance(content, kind):
    raise UserError(f"cannot read {path}: expected a JSON {'object' if kind is dict else 'list'}")
  return content


def write_json(path: epath.Path, content: Any) -> None:
  """Writes a file whole or not at all. Raises ValueError for NaN and infinity."""
  text = json.dumps(content, indent=2, allow_nan=False) + "\n"
  with replacing(path) as temporary:
    temporary.write_text(text)
